"""What operators tell of versions, as Airflow's OpenLineage provider writes it down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dataset_folders import write_dataset
from sqlalchemy.orm import Session
from test_gate_operators import airflow, context, gate_of  # noqa: F401 - airflow is a fixture

from learnloop import settings
from learnloop.database.engine import engine
from learnloop_airflow.operators.gate import GateOperator
from learnloop_airflow.operators.snapshot import PreprocessOperator, SnapshotOperator
from learnloop_airflow.operators.train import TrainOperator

RUN = "0190a1b2-0000-7000-8000-000000000001"


@pytest.fixture
def told(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``told(operator)``: the inputs and outputs of the event of a task that ran it, from the file it was written to."""
    from airflow.providers.openlineage.extractors.manager import ExtractorManager
    from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
    from airflow.utils.state import TaskInstanceState
    from openlineage.client import OpenLineageClient
    from openlineage.client.transport.file import FileConfig, FileTransport

    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    settings.settings.cache_clear()
    engine.cache_clear()
    written = tmp_path / "events"
    transport = FileTransport(FileConfig(log_file_path=str(written), append=True))
    adapter = OpenLineageAdapter(client=OpenLineageClient(transport=transport))

    def tell(operator: Any) -> tuple[dict[str, str], dict[str, str]]:
        run = SimpleNamespace(run_id="r1")
        found = ExtractorManager().extract_metadata(run, operator, TaskInstanceState.SUCCESS, SimpleNamespace())
        adapter.complete_task(
            run_id=RUN,
            job_name=f"base_model_training.{operator.task_id}",
            end_time="2026-05-02T00:00:00+00:00",
            task=found,
            nominal_start_time=None,
            nominal_end_time=None,
            owners=None,
            tags=None,
            job_description=None,
        )
        event = json.loads(written.read_text().splitlines()[-1])
        assert event["eventType"] == "COMPLETE"
        return named(event["inputs"]), named(event["outputs"])

    yield tell
    engine().dispose()
    engine.cache_clear()
    settings.settings.cache_clear()


def named(things: list[dict[str, Any]]) -> dict[str, str]:
    return {
        f"{thing['namespace']} {thing['name']}": thing["facets"].get("version", {}).get("datasetVersion", "")
        for thing in things
    }


CONTEXT = {"dag_run": SimpleNamespace(triggering_user_name="ana"), "run_id": "r1"}


def test_versions_are_told_from_the_folder_to_what_is_trained_on(told: Any, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "lamps", samples=6)
    snapshot = SnapshotOperator(task_id="snapshot", path=str(folder))
    first = snapshot.execute(CONTEXT)
    assert told(snapshot) == ({f"file {folder}": ""}, {"learnloop datasets/lamps": first["version"]})
    preprocess = PreprocessOperator(task_id="preprocess", version=first["version"])
    second = preprocess.execute(CONTEXT)
    assert told(preprocess) == (
        {"learnloop datasets/lamps": first["version"]},
        {"learnloop datasets/lamps": second["version"]},
    )
    train = TrainOperator(task_id="train", pin={**second, "parent_model_version": 3})
    train.build_spec(CONTEXT)
    assert told(train) == ({"learnloop datasets/lamps": second["version"], "learnloop models/lamps": "3"}, {})


def test_a_gate_makes_a_version_of_the_model(told: Any, airflow: None, db: Session, tmp_path: Path) -> None:  # noqa: F811
    gate, _ = gate_of(db, tmp_path)
    gate.pin["parent_model_version"] = 4
    gate.execute(context())
    assert told(gate) == (
        {"learnloop datasets/pets": "pets_v1.1", "learnloop models/pets": "4"},
        {"learnloop models/pets": "1"},
    )


def test_a_task_that_did_nothing_tells_of_nothing(told: Any) -> None:
    gate = GateOperator(task_id="gate", pin={}, trained={}, evaluated={})
    assert told(gate) == ({}, {})
