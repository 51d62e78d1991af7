"""DeployOperator, CanaryOperator and promotion by hand, with models as pods: a real registry, rows, and few rights."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from model_pods import ALSO_GOOD, DAMAGED, ERRING, GOOD, SLOW, Models, asking, dataset, no_node
from sqlalchemy import func, select, update
from waits import eventually

from learnloop.database import Decision, Deployment, session
from learnloop.errors import Conflict
from learnloop.models import registry
from learnloop.models.deployment import deploy as move
from learnloop.models.deployment import set_canary
from learnloop.models.promotion import promote, roll_back, take_away
from learnloop_airflow.operators.canary import CanaryOperator
from learnloop_airflow.operators.deploy import DeployOperator
from learnloop_airflow.operators.maintenance import FollowDeploymentsOperator

pytestmark = pytest.mark.timeout(900)
CONTEXT: Any = {"dag_run": SimpleNamespace(triggering_user_name="ann"), "run_id": "round-digits-7"}


def gate(version: int) -> dict[str, Any]:
    return {"accepted": True, "dataset": "digits", "model_name": "digits", "model_version": version}


def deploy(version: int) -> dict[str, Any]:
    return DeployOperator(task_id="deploy", gate=gate(version), alias="realtime").execute(CONTEXT)


def rows(models: Models) -> dict[str, tuple[int, int | None]]:
    return {row.alias: (row.model_version, row.canary_version) for row in models.rows()}


def test_a_version_is_deployed_and_a_broken_one_is_taken_back_everywhere(deployed: Models) -> None:
    assert deploy(GOOD)["model_version"] == GOOD
    assert rows(deployed) == {"realtime": (GOOD, None), "current": (GOOD, None)}
    deployed.leads_to("realtime", GOOD)
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


def test_who_asks_for_what_is_current_is_answered_all_the_while(deployed: Models) -> None:
    """`current` follows its alias: between the two, it has pods of its own, and is led to them when they are ready."""
    deploy(GOOD)
    deployed.answers("current")
    with asking(deployed.url("current")) as asked:
        for version in (ALSO_GOOD, GOOD):
            asked.wait_for_more(50)
            deploy(version)
        asked.wait_for_more(50)
    assert (asked.failed, set(asked.answered)) == ([], {GOOD, ALSO_GOOD})
    assert deployed.names("deployment") == ["digits-realtime"]


def test_maintenance_takes_back_what_pods_refuse_when_its_task_was_killed(deployed: Models) -> None:
    """Killed after its rows were written, and before it heard of the refusal: for a canary and for a version."""
    deploy(GOOD)
    follow = FollowDeploymentsOperator(task_id="follow_deployments")
    with session() as db:
        set_canary(db, model_name="digits", alias="realtime", version=DAMAGED, percent=20, owner="ann")
    assert "Deployment/digits-realtime-canary" in follow.execute(CONTEXT)["digits"]
    with session() as db:
        move(db, dataset_id=dataset(db), model_name="digits", alias="current", version=DAMAGED, owner="ann")

    def refuses(*labels: str) -> bool:
        states = deployed.cluster.kubectl("get", "pods", "-l", ",".join(labels), "-o", "json")
        return '"exitCode": 78' in states

    follow.execute(CONTEXT)
    eventually(lambda: refuses("learnloop/track=canary"), 120)
    eventually(lambda: refuses("learnloop/alias=current"), 120)
    follow.execute(CONTEXT)
    assert rows(deployed) == {"realtime": (GOOD, DAMAGED), "current": (DAMAGED, None)}  # its task may still see to it
    with session() as db:
        db.execute(update(Deployment).values(updated_at=func.now() - timedelta(minutes=3)))
    follow.execute(CONTEXT)
    assert rows(deployed) == {"realtime": (GOOD, None), "current": (GOOD, None)}
    assert deployed.names("deployment") == ["digits-realtime"]
    deployed.leads_to("current", GOOD)


def test_a_deployment_that_is_ended_from_outside_is_undone(deployed: Models) -> None:
    """As Airflow ends a task that is marked failed or cleared: SIGTERM, whose handler calls `on_kill`."""
    deploy(GOOD)
    with no_node(deployed):
        task = DeployOperator(task_id="deploy", gate=gate(ALSO_GOOD), alias="realtime")
        before = signal.signal(signal.SIGTERM, lambda *_: task.on_kill())

        def end() -> None:
            eventually(lambda: str(ALSO_GOOD) in deployed.versions_of_pods(), 100)
            os.kill(os.getpid(), signal.SIGTERM)

        try:
            with ThreadPoolExecutor(1) as pool:
                ending = pool.submit(end)
                with pytest.raises(AirflowException, match="ended from outside"):
                    task.execute(CONTEXT)
                ending.result()
        finally:
            signal.signal(signal.SIGTERM, before)
    assert rows(deployed) == {"realtime": (GOOD, None), "current": (GOOD, None)}
    assert registry.version_of("digits", "realtime") == registry.version_of("digits", "current") == GOOD
    eventually(lambda: str(ALSO_GOOD) not in deployed.versions_of_pods(), 60)
    deployed.leads_to("current", GOOD)
    task.on_kill()  # afterwards there is nothing to be undone


def test_a_first_version_that_is_broken_leaves_nothing(deployed: Models) -> None:
    with pytest.raises(Conflict, match=r"was not deployed \(nothing was served before\): Corrupted"):
        deploy(DAMAGED)
    assert rows(deployed) == {}
    for kind in ("service", "deployment", "pdb"):
        assert deployed.names(kind) == []


def test_a_person_promotes_rolls_back_and_takes_away(deployed: Models) -> None:
    promote(session, "digits", "realtime", GOOD, by="eva")
    promote(session, "digits", "realtime", ALSO_GOOD, by="eva")
    deployed.leads_to("current", ALSO_GOOD)
    (moved, _) = roll_back(session, "digits", "realtime", by="eva", reason="slow")
    assert (moved.version, moved.previous) == (GOOD, ALSO_GOOD)
    deployed.leads_to("realtime", GOOD)
    deployed.leads_to("current", GOOD)
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


def test_a_canary_that_a_person_opened_is_ended_by_maintenance_when_it_is_slow(deployed: Models) -> None:
    """Nobody waits for it: what its pods counted is read at each pass, and kept until the next."""
    deploy(GOOD)
    deployed.answers("realtime")
    follow = FollowDeploymentsOperator(task_id="follow_deployments")
    with session() as db:
        about = {"version": SLOW, "percent": 30, "owner": "ann", "rules": {"requests": 20}}
        set_canary(db, model_name="digits", alias="realtime", **about)
    assert "Deployment/digits-realtime-canary" in follow.execute(CONTEXT)["digits"]
    deployed.cluster.kubectl("wait", "--for=condition=available", "deployment/digits-realtime-canary", "--timeout=55s")

    def ended() -> bool:
        follow.execute(CONTEXT)
        return rows(deployed)["realtime"] == (GOOD, None)

    with asking(deployed.url("realtime"), callers=6) as asked:
        eventually(ended, 200)
        asked.wait_for_more(20)
    assert asked.failed == []
    assert SLOW in asked.answered
    assert deployed.names("deployment") == ["digits-realtime"]
    with session() as db:
        (reason,) = db.scalars(select(Decision.reason).where(Decision.kind == "canary"))
    assert "realtime: ended: 95 % of " in reason
