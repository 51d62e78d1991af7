"""DeployOperator, CanaryOperator and promotion by hand, with models as pods: a real registry, rows, and few rights."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from cluster_tools import ROOT
from model_pods import ALSO_GOOD, DAMAGED, ERRING, GOOD, Models, asking, dataset, serving_template
from sqlalchemy import create_engine, make_url, select, text

from learnloop.database import Decision, Deployment, session
from learnloop.database.engine import engine
from learnloop.errors import Conflict
from learnloop.models import registry
from learnloop.models.promotion import promote, roll_back, take_away
from learnloop.settings import settings
from learnloop_airflow.operators.canary import CanaryOperator
from learnloop_airflow.operators.deploy import DeployOperator
from learnloop_airflow.operators.maintenance import FollowDeploymentsOperator

pytestmark = pytest.mark.timeout(300)
RBAC = ROOT / "deploy" / "kubernetes" / "rbac-serving.yaml"
CONTEXT: Any = {"dag_run": SimpleNamespace(triggering_user_name="ann"), "run_id": "round-digits-7"}


@pytest.fixture
def deployed(models: Models, postgres: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Models]:
    """The four versions registered, and operators with the rights that we ship, and no others."""
    name = f"mlflow_{uuid.uuid4().hex[:12]}"
    maintenance = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(postgres).set(database=name).render_as_string(hide_password=False)
    home, cluster = models.cluster.home, models.cluster
    template = serving_template(home / "registered", cluster.namespace, models.template.container["image"])
    (home / "serving-template.yaml").write_text(yaml.safe_dump(template))
    cluster.kubectl("apply", "-f", str(RBAC))
    for setting, value in {
        "LEARNLOOP_HOME": str(home),
        "LEARNLOOP_DATABASE_URL": models.database_url,
        "LEARNLOOP_MLFLOW_URL": url,
        "LEARNLOOP_MODELS": str(home / "registered"),
        "LEARNLOOP_SERVING_RUNNER": "kubernetes",
        "LEARNLOOP_SERVING_TEMPLATE": str(home / "serving-template.yaml"),
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": cluster.connection_of_service_account(),
    }.items():
        monkeypatch.setenv(setting, value)
    settings.cache_clear()
    registry.prepare()
    for version in (GOOD, ALSO_GOOD, DAMAGED, ERRING):
        made = registry.register(
            "digits",
            home / "models" / "digits" / str(version if version != DAMAGED else GOOD),
            models_root=home / "registered",
            tags={},
            metrics={},
            idempotency_key=str(version),
        )
        assert made == version
    damaged = registry.source_of("digits", DAMAGED) / "model.skops"  # by its disk, after its registration
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with session() as db:
        dataset(db)
    yield models
    settings.cache_clear()
    engine(url).dispose()
    with maintenance.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    maintenance.dispose()


def gate(version: int) -> dict[str, Any]:
    return {"accepted": True, "dataset": "digits", "model_name": "digits", "model_version": version}


def deploy(version: int) -> dict[str, Any]:
    return DeployOperator(task_id="deploy", gate=gate(version), alias="realtime").execute(CONTEXT)


def rows(models: Models) -> dict[str, tuple[int, int | None]]:
    return {row.alias: (row.model_version, row.canary_version) for row in models.rows()}


def test_a_version_is_deployed_and_a_broken_one_is_taken_back_everywhere(deployed: Models) -> None:
    assert deploy(GOOD)["model_version"] == GOOD
    assert rows(deployed) == {"realtime": (GOOD, None), "current": (GOOD, None)}
    assert deployed.answers("realtime") == GOOD
    generations = {row.alias: row.generation for row in deployed.rows()}
    assert deploy(GOOD)["model_version"] == GOOD  # a retry
    assert {row.alias: row.generation for row in deployed.rows()} == generations

    with asking(deployed.url("realtime")) as asked:
        asked.wait_for_more(20)
        said = (
            r"digits:realtime version 3 was not deployed \(version 1 goes on being served\): Corrupted: .*model\.skops"
        )
        with pytest.raises(Conflict, match=said):
            deploy(DAMAGED)
        asked.wait_for_more(20)
    assert (asked.failed, set(asked.answered)) == ([], {GOOD})
    assert rows(deployed) == {"realtime": (GOOD, None), "current": (GOOD, None)}
    assert registry.version_of("digits", "realtime") == registry.version_of("digits", "current") == GOOD

    deployed.cluster.kubectl("delete", "pdb", "digits-realtime")
    deployed.cluster.kubectl("scale", "deployment", "digits-realtime", "--replicas=1")
    follow = FollowDeploymentsOperator(task_id="follow_deployments")
    changed = {"digits": ["Deployment/digits-realtime", "PodDisruptionBudget/digits-realtime"]}
    assert follow.execute(CONTEXT) == changed
    assert follow.execute(CONTEXT) == {}


def test_a_first_version_that_is_broken_leaves_nothing(deployed: Models) -> None:
    with pytest.raises(Conflict, match=r"was not deployed \(nothing was served before\): Corrupted"):
        deploy(DAMAGED)
    assert rows(deployed) == {}
    for kind in ("service", "deployment", "pdb"):
        assert deployed.names(kind) == []


def test_a_person_promotes_rolls_back_and_takes_away(deployed: Models) -> None:
    promote(session, "digits", "realtime", GOOD, by="eva")
    promote(session, "digits", "realtime", ALSO_GOOD, by="eva")
    assert deployed.answers("current") == ALSO_GOOD
    (moved, _) = roll_back(session, "digits", "realtime", by="eva", reason="slow")
    assert (moved.version, moved.previous) == (GOOD, ALSO_GOOD)
    assert deployed.answers("realtime") == deployed.answers("current") == GOOD
    with session() as db:
        take_away(db, "digits", "realtime", by="eva")
    FollowDeploymentsOperator(task_id="follow_deployments").execute(CONTEXT)
    assert deployed.names("deployment") == ["digits-current"]


def test_a_canary_that_errs_is_ended_by_its_task_with_the_reason(deployed: Models) -> None:
    deploy(GOOD)
    deployed.answers("realtime")
    rules = {"seconds": 60, "requests": 30}
    task = CanaryOperator(task_id="try", gate=gate(ERRING), alias="realtime", percent=20, rules=rules)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(CONTEXT)
    assert rows(deployed)["realtime"] == (GOOD, ERRING)
    where, arguments = deferred.value.trigger.serialize()
    assert where.endswith("CanaryTrigger")
    again = type(deferred.value.trigger)(**json.loads(json.dumps(arguments)))  # as the triggerer makes it

    async def fired() -> dict[str, Any]:
        async for event in again.run():
            return dict(event.payload)
        raise AssertionError("the trigger ended without an event")

    with asking(deployed.url("realtime")):
        event = asyncio.run(fired())
    with pytest.raises(
        AirflowFailException, match=r"version 4 was a canary, and was ended: .* requests of version 4 failed"
    ):
        task.judged(CONTEXT, event)
    assert rows(deployed)["realtime"] == (GOOD, None)
    assert deployed.names("deployment") == ["digits-realtime"]
    with session() as db:
        (said, *_) = db.scalars(select(Decision.reason).order_by(Decision.id.desc()))
        assert "requests of version 4 failed" in said
        assert db.scalar(select(Deployment.model_version).where(Deployment.alias == "realtime")) == GOOD
