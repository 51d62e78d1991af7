"""The platform's DAGs as Airflow takes them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from learnloop_airflow.retries import RETRIED

DAGS = Path("dags")
ASKS_FOR_LONGER = {("pipeline_incremental_training", "start")}
"""It waits for a DAG that appears a moment later."""


@pytest.fixture(scope="module")
def dags() -> dict[str, Any]:
    from airflow.dag_processing.dagbag import BundleDagBag

    bag = BundleDagBag(dag_folder=DAGS, bundle_path=DAGS, bundle_name="dags-folder")
    assert bag.import_errors == {}
    return {dag.dag_id: dag for dag in bag.dags.values() if "example" not in dag.tags}


def test_airflow_takes_all_of_them(dags: dict[str, Any]) -> None:
    assert set(dags) == {path.stem for path in DAGS.glob("*.py")}
    assert all("learnloop" in dag.tags for dag in dags.values())


def test_every_task_is_tried_again_for_what_passes(dags: dict[str, Any]) -> None:
    tasks = {(dag.dag_id, task.task_id): task for dag in dags.values() for task in dag.tasks}
    assert {name for name, task in tasks.items() if task.retries != RETRIED["retries"]} == ASKS_FOR_LONGER
    assert all(task.retry_policy is RETRIED["retry_policy"] for task in tasks.values())
