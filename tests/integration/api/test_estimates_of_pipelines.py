"""What a pipeline's mounts would cost, before it runs: over the API, on a terminal, on a run's page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from sqlalchemy.orm import Session
from starlette.testclient import TestClient
from test_data_cli import run  # noqa: F401 - fixture
from test_mounts_api import NEED, sold  # noqa: F401 - fixture

from learnloop.events.progress import TaskName
from learnloop.mounts.made import Scope
from learnloop.mounts.plan import choose, parse_mounts
from learnloop.mounts.plans import store
from learnloop.mounts.table import load_table
from learnloop.permissions import Principal
from learnloop_airflow.api import auth
from learnloop_airflow.views import loop as loop_view
from learnloop_airflow.views.app import create_views
from learnloop_airflow.views.runs import questions

COST = pytest.approx(10 * 0.08 * 12 / 365.25)
SAID = "scratch (10Gi, read_write, fast, run): ssd"
SHARED = {"name": "shared", "path": "/mnt/shared", "size": "1Gi", "lifetime": "user", "claim": "theirs"}


def declared(name: str, *mounts: dict[str, Any]) -> str:
    """JSON: as YAML it would have anchors, which are not taken."""
    stages = {stage: {"module": "x.y", "mounts": list(mounts)} for stage in ("a", "b")}
    return json.dumps({"name": name, "stages": stages})


def applied(client: Any, text: str, **fields: Any) -> Any:
    answer = client.post("/pipelines", json={"declaration": text, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()["mounts"]


def test_it_is_told_when_a_pipeline_is_checked_applied_and_shown(sold: Path, as_user: Any) -> None:  # noqa: F811
    engineer = as_user("eng", "engineer")
    for ahead in (
        applied(engineer, declared("dear", NEED), dry_run=True),
        applied(engineer, declared("dear", NEED)),
        engineer.get("/pipelines/dear").json()["mounts"],
    ):
        assert ahead["cannot"] is None
        assert ahead["estimate"]["cost"] == COST  # the two stages share it
        assert SAID in ahead["estimate"]["explanation"][1]
    assert applied(engineer, declared("plain")) == {"estimate": None, "cannot": None}
    with_claim = applied(engineer, declared("claims", NEED, SHARED))
    assert [one["mount"] for one in with_claim["estimate"]["choices"]] == ["scratch"]


def test_what_the_deployment_has_no_longer_is_told_and_hides_nothing_else(
    sold: Path,  # noqa: F811
    as_user: Any,
) -> None:
    engineer = as_user("eng", "engineer")
    applied(engineer, declared("dear", NEED))
    classes = yaml.safe_load(sold.read_text())
    del classes["classes"]["ssd"], classes["classes"]["nvme"]
    sold.write_text(yaml.safe_dump(classes))
    shown = engineer.get("/pipelines/dear").json()
    assert shown["mounts"]["estimate"] is None
    assert "no storage class of this deployment meets the needs" in shown["mounts"]["cannot"]
    assert shown["stages"] == ["a", "b"]


def test_a_terminal_says_it(
    sold: Path,  # noqa: F811
    app: Any,
    run: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    file = tmp_path / "dear.yaml"
    file.write_text(declared("dear", NEED))
    for arguments in (["--dry-run"], []):
        assert SAID in run("eng", "pipeline", "apply", file, *arguments).output
    assert f"#   {SAID}" in run("eng", "pipeline", "show", "dear").output
    file.write_text(declared("plain"))
    assert "estimated" not in run("eng", "pipeline", "apply", file, "--dry-run").output


@pytest.fixture
def see(as_user: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page of a run, as somebody with these roles sees it; of what Airflow knows: that it is about no dataset."""
    monkeypatch.setattr(loop_view, "dataset_of", lambda dag_id, run_id: None)
    views: FastAPI = create_views()
    views.dependency_overrides[questions] = lambda: []

    def page(dag_id: str, name: str, *roles: str) -> str:
        views.dependency_overrides[auth.principal] = lambda: Principal(name, frozenset(roles))
        answer = TestClient(views).get("/run", params={"dag_id": dag_id, "run_id": "manual__1"})
        assert answer.status_code == 200
        return answer.text

    return page


def test_the_page_of_a_run_says_it_before_the_run_has_chosen_and_then_what_it_chose(
    sold: Path,  # noqa: F811
    as_user: Any,
    see: Any,
    db: Session,
) -> None:
    applied(as_user("eng", "engineer"), declared("dear", NEED))
    assert SAID in see("pipeline.dear", "sam", "scientist")
    assert "Storage, estimated" not in see("pipeline.dear", "ben", "annotator")
    assert "Storage, estimated" not in see("pipeline.other", "sam", "scientist")
    plan = choose(parse_mounts([NEED | {"size": "20Gi"}]), load_table(str(sold), "kubernetes"))
    scope = Scope(user="sam", dag_id="pipeline.dear", run_id="manual__1", pipeline="pipeline.dear")
    store(db, plan, scope, TaskName("pipeline.dear", "manual__1", "make_mounts", -1))
    db.commit()
    page = see("pipeline.dear", "sam", "scientist")
    assert "scratch (20Gi, read_write, fast, run): ssd" in page
    assert SAID not in page
