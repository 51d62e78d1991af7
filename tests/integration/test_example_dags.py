"""The examples as Airflow takes them in. They are run to their end by tests/integration/stack/live/test_dag_runs.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path("dags/examples")


@pytest.fixture(scope="module")
def dags() -> dict[str, Any]:
    from airflow.dag_processing.dagbag import BundleDagBag

    bag = BundleDagBag(dag_folder=EXAMPLES, bundle_path=EXAMPLES, bundle_name="dags-folder")
    assert bag.import_errors == {}
    return dict(bag.dags)


def test_airflow_takes_all_of_them(dags: dict[str, Any]) -> None:
    assert set(dags) == {path.stem for path in EXAMPLES.glob("*.py")}
    assert all({"learnloop", "example"} <= dag.tags for dag in dags.values())


def test_what_a_run_holds_is_given_back_however_it_ends(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        setups = {task.task_id for task in dag.tasks if task.is_setup}
        (teardown,) = (task for task in dag.tasks if task.is_teardown)
        assert setups <= teardown.upstream_task_ids, dag.dag_id


def test_the_sweep_is_a_mapped_job_and_a_failed_trial_is_left_out(dags: dict[str, Any]) -> None:
    sweep = dags["hyperparameter_sweep"]
    assert sweep.get_task("trial").is_mapped
    assert sweep.get_task("best").trigger_rule == "all_done_min_one_success"
    assert dags["batch_inference"].get_task("predict").is_mapped
