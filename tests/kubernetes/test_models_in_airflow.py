"""Models as pods in a real Airflow: a good model is served, a bad one is taken back, and no hand leaves half a state."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import pytest
from airflow_runs import Airflow, airflow_with
from model_pods import ALSO_GOOD, DAMAGED, GOOD, SLOW, Models, asking, no_node
from sqlalchemy import update
from waits import eventually

from learnloop.database import Dataset, session
from learnloop.models import registry
from learnloop.settings import settings

pytestmark = [pytest.mark.timeout(3000), pytest.mark.long]

DAGS = """
from airflow.sdk import DAG, task
from learnloop_airflow.operators.canary import CanaryOperator
from learnloop_airflow.operators.deploy import DeployOperator
from learnloop_airflow.operators.maintenance import FollowDeploymentsOperator

@task
def accepted(params):
    return {"accepted": True, "dataset": "digits", "model_name": "digits", "model_version": params["version"]}

LONG = 600
with DAG("deploy", schedule=None, params={"version": 0}):
    DeployOperator(task_id="deploy", gate=accepted(), alias="realtime", timeout_seconds=LONG)
with DAG("canary_then_deploy", schedule=None, params={"version": 0}):
    gate = accepted()
    # As incremental_training has it.
    canary = CanaryOperator(task_id="canary", gate=gate, alias="realtime", as_dataset_says=True, timeout_seconds=LONG)
    # The first version of all has nothing to stand beside: then the canary is skipped.
    canary >> DeployOperator(task_id="deploy", gate=gate, alias="realtime", trigger_rule="none_failed", timeout_seconds=LONG)
with DAG("sweep", schedule=None):
    FollowDeploymentsOperator(task_id="follow_deployments")
"""


LOOP = {"classes": ["0"], "canary": {"percent": 30, "seconds": 120.0, "requests": 15}}


@pytest.fixture
def airflow(deployed: Models, postgres: str) -> Iterator[Airflow]:
    ours = {
        "database_url": deployed.database_url,
        "mlflow_url": settings().mlflow_url,
        "models": str(settings().models),
        "serving_runner": "kubernetes",
        "serving_template": settings().serving_template,
    }
    with session(deployed.database_url) as db:
        db.execute(update(Dataset).values(loop=LOOP))
    connection = os.environ["AIRFLOW_CONN_KUBERNETES_DEFAULT"]
    with airflow_with(DAGS, "sweep", postgres, connection, **ours) as made:
        yield made


def served(models: Models) -> dict[str, tuple[int, int | None]]:
    return {row.alias: (row.model_version, row.canary_version) for row in models.rows()}


def whole(models: Models, version: int) -> bool:
    """Whether rows, registry, Deployments and their pods say that one version, and no canary, is served."""
    rows = served(models) == {"realtime": (version, None), "current": (version, None)}
    names = [registry.version_of("digits", alias) for alias in ("realtime", "current")] == [version, version]
    found = json.loads(models.cluster.kubectl("get", "deployment", "-o", "json"))["items"]
    made = [(one["metadata"]["name"], one["metadata"]["labels"]["learnloop/version"]) for one in found]
    pods = models.versions_of_pods()
    return rows and names and made == [("digits-realtime", str(version))] and set(pods) == {str(version)}


def test_runs_deploy_what_is_good_and_take_back_what_is_bad(airflow: Airflow, deployed: Models) -> None:
    run_id = airflow.start("canary_then_deploy", version=GOOD)
    assert airflow.wait("canary_then_deploy", run_id) == "success", airflow.log("canary_then_deploy", run_id, "deploy")
    assert airflow.tasks("canary_then_deploy", run_id)["canary"] == "skipped"
    eventually(lambda: whole(deployed, GOOD), 300)
    deployed.answers("realtime")

    with asking(deployed.url("realtime"), callers=8) as asked:
        run_id = airflow.start("deploy", version=DAMAGED)
        assert airflow.wait("deploy", run_id) == "failed"
        assert "digits:realtime version 3 was not deployed (version 1 goes on being served): Corrupted" in airflow.log(
            "deploy", run_id, "deploy"
        )
        eventually(lambda: whole(deployed, GOOD), 300)

        run_id = airflow.start("canary_then_deploy", version=SLOW)
        assert airflow.wait("canary_then_deploy", run_id) == "failed"
        assert airflow.tasks("canary_then_deploy", run_id) == {
            "accepted": "success",
            "canary": "failed",
            "deploy": "upstream_failed",
        }
        log = airflow.log("canary_then_deploy", run_id, "canary")
        (ended,) = set(re.findall(r"version 5 was a canary, and was ended: [^\"\\]*", log)) or {log[-4000:]}
        assert "95 % of" in ended
        eventually(lambda: whole(deployed, GOOD), 300)

        run_id = airflow.start("canary_then_deploy", version=ALSO_GOOD)
        assert airflow.wait("canary_then_deploy", run_id) == "success"
        assert "requests of version 2 failed (beside it" in airflow.log("canary_then_deploy", run_id, "canary")
        eventually(lambda: whole(deployed, ALSO_GOOD), 300)
    assert asked.failed == []
    assert set(asked.answered) == {GOOD, ALSO_GOOD, SLOW}


def test_a_task_that_is_marked_or_cleared_in_the_middle_leaves_no_half_state(
    airflow: Airflow, deployed: Models
) -> None:
    assert airflow.wait("deploy", airflow.start("deploy", version=GOOD)) == "success"
    deployed.answers("realtime")
    with asking(deployed.url("realtime")) as asked:
        with no_node(deployed):
            run_id = airflow.start("deploy", version=ALSO_GOOD)
            eventually(lambda: str(ALSO_GOOD) in deployed.versions_of_pods(), 300)  # in the middle of the rollout
            airflow.mark_failed("deploy", run_id, "deploy")
            eventually(lambda: served(deployed) == {"realtime": (GOOD, None), "current": (GOOD, None)}, 200)
            eventually(lambda: str(ALSO_GOOD) not in deployed.versions_of_pods(), 200)
        assert airflow.wait("sweep", airflow.start("sweep")) == "success"
        eventually(lambda: whole(deployed, GOOD), 300)

        with no_node(deployed):
            run_id = airflow.start("deploy", version=ALSO_GOOD)
            eventually(lambda: str(ALSO_GOOD) in deployed.versions_of_pods(), 300)
        airflow.clear("deploy", run_id, "deploy")
        assert airflow.wait("deploy", run_id) == "success"
        eventually(lambda: whole(deployed, ALSO_GOOD), 300)

        run_id = airflow.start("canary_then_deploy", version=GOOD)
        eventually(lambda: airflow.tasks("canary_then_deploy", run_id).get("canary") == "deferred", 400)
        airflow.mark_failed("canary_then_deploy", run_id, "canary")
        eventually(lambda: served(deployed)["realtime"] == (ALSO_GOOD, None), 200)
        assert airflow.wait("sweep", airflow.start("sweep")) == "success"
        eventually(lambda: whole(deployed, ALSO_GOOD), 300)
    assert asked.failed == []
