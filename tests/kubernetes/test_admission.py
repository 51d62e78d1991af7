"""Jobs that wait for their turn on a real cluster, whose one GPU only the scheduler believes in.

Nobody else asks for it, so whatever runs beside these tests is in nobody's way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from cluster_tools import ROOT
from job_sources import FAIL, spec
from job_tasks import Task
from sqlalchemy import select
from sqlalchemy.orm import Session
from waits import eventually

from learnloop.database import JobProgress, Reservation
from learnloop.errors import JobFailed
from learnloop.settings import settings

RIGHTS = ROOT / "deploy" / "kubernetes"
GPU = "/status/capacity/nvidia.com~1gpu"


@pytest.fixture
def gpu(cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LEARNLOOP_ADMISSION", "reservation")
    monkeypatch.setenv("LEARNLOOP_ADMISSION_SHARE", "360000")  # the few seconds of a job count for minutes
    settings.cache_clear()
    node = cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    patch = ("patch", "node", node, "--subresource=status", "--type=json", "-p")
    cluster.kubectl(*patch, json.dumps([{"op": "add", "path": GPU, "value": "1"}]))
    eventually(
        lambda: "1" in cluster.kubectl("get", "node", node, "-o", r"jsonpath={.status.allocatable.nvidia\.com/gpu}")
    )
    yield
    cluster.kubectl(*patch, json.dumps([{"op": "remove", "path": GPU}]))


def waits_for_gpu(
    name: str, user: str = "ann", seconds: float = 0, code: str | None = None, **arguments: object
) -> Task:
    resources = {"cpu": 0.3, "memory": "64Mi", "gpu": 1}
    fields = {"user": user, "resources": resources, "params": {"seconds": seconds, "name": name}}
    job = spec(**fields) if code is None else spec(code, outputs=[], **fields)
    return Task(job, task_id=name, **arguments)


def states(db: Session) -> dict[str, str]:
    db.rollback()
    return {row.task_id: row.state for row in db.scalars(select(Reservation).execution_options(populate_existing=True))}


def identities(db: Session) -> list[tuple[str, int]]:
    return [tuple(row) for row in db.execute(select(Reservation.task_id, Reservation.id).order_by(Reservation.id))]


def shown(db: Session, task: Task) -> str:
    """What the task's progress says, to whom asks our API."""
    db.rollback()
    line = db.scalar(select(JobProgress.line).where(JobProgress.task_id == task.task_id))
    return str((line or {}).get("reason", ""))


def pods(cluster) -> list[str]:
    return [pod["metadata"]["labels"]["learnloop/task"] for pod in cluster.pods()]


def test_jobs_wait_without_a_pod_and_are_admitted_in_the_policys_order(cluster, gpu, db) -> None:
    first, second, other = (waits_for_gpu("a", seconds=6), waits_for_gpu("b"), waits_for_gpu("c", user="ben"))
    running = first.start()
    eventually(lambda: pods(cluster) == ["a"])
    later = second.start()
    eventually(lambda: "place 1 of 1 in line: it needs" in shown(db, second))
    before = other.start()  # of a person who has nothing yet
    eventually(lambda: "place 1 of 2 in line" in shown(db, other) and "place 2 of 2 in line" in shown(db, second))
    assert pods(cluster) == ["a"]
    assert first.end(running.join()) is not None
    assert other.end(before.join()) is not None
    assert second.end(later.join()) is not None
    order = select(Reservation.task_id).order_by(Reservation.admitted_at)
    assert list(db.scalars(order)) == ["a", "c", "b"]
    assert set(states(db).values()) == {"released"}
    assert cluster.pods() == []


def test_the_end_of_a_triggerer_loses_no_place_and_no_reservation(cluster, gpu, db) -> None:
    holder, waiter = waits_for_gpu("a", seconds=5), waits_for_gpu("b")
    running = holder.start()
    eventually(lambda: pods(cluster) == ["a"])
    waiting = waiter.start()
    eventually(lambda: "place 1 of 1" in shown(db, waiter))
    numbers = identities(db)
    running.vanish()
    waiting.vanish()
    assert states(db) == {"a": "begun", "b": "waiting"}
    waiting = waiter.in_background()  # nobody follows the running pod meanwhile; its room is kept
    assert holder.end(holder.wait()) is not None
    assert waiter.end(waiting.join()) is not None
    db.rollback()
    assert identities(db) == numbers
    assert set(states(db).values()) == {"released"}


def test_a_failure_and_an_end_by_hand_release_what_was_held_or_waited_for(cluster, gpu, db) -> None:
    failing = waits_for_gpu("a", code=f"import time; time.sleep(4); {FAIL}")
    running = failing.start()
    eventually(lambda: pods(cluster) == ["a"])
    ended, last = waits_for_gpu("b", seconds=60), waits_for_gpu("c", seconds=60)
    waiting = ended.start()
    eventually(lambda: "place 1 of 1" in shown(db, ended))
    waiting.kill()
    assert states(db)["b"] == "released"
    with pytest.raises(JobFailed, match="exit code 3"):
        failing.end(running.join())
    assert states(db)["a"] == "released"
    held = last.start()
    eventually(lambda: pods(cluster) == ["c"])
    held.kill()
    assert states(db)["c"] == "released"
    eventually(lambda: cluster.pods() == [], 90)


def test_the_time_limit_of_a_task_counts_from_admission(cluster, gpu, db) -> None:
    running = waits_for_gpu("a", seconds=10)
    first = running.start()
    eventually(lambda: pods(cluster) == ["a"])
    late = waits_for_gpu("b", execution_timeout=timedelta(seconds=10))
    waiting = late.start()
    assert running.end(first.join()) is not None
    assert late.end(waiting.join()) is not None  # it has waited for longer than it may run
    asked, admitted = db.execute(
        select(Reservation.created_at, Reservation.admitted_at).where(Reservation.task_id == "b")
    ).one()
    assert admitted - asked > timedelta(seconds=10)
    over = waits_for_gpu("c", seconds=60, execution_timeout=timedelta(seconds=3))
    with pytest.raises(JobFailed, match="the task's execution_timeout is over"):
        over.run()
    assert states(db)["c"] == "released"


def test_the_rights_we_ship_are_enough_and_without_them_the_reason_is_said(cluster, gpu, monkeypatch) -> None:
    cluster.kubectl("apply", "-f", str(RIGHTS / "rbac.yaml"))
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", cluster.connection_of_service_account())
    with pytest.raises(JobFailed, match=r"403: nodes is forbidden: .* cannot list .*need the rights of deploy/kub"):
        Task(spec()).run()
    more = (
        (RIGHTS / "rbac-admission.yaml")
        .read_text()
        .replace("namespace: learnloop}", f"namespace: {cluster.namespace}}}")
    )
    cluster.kubectl("apply", "-f", "-", stdin=more)
    try:
        assert Task(spec()).run()["result"]["resumed"] is False
    finally:
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", "learnloop-capacity")


def test_a_job_that_fits_nowhere_is_told_so_and_makes_no_pod(cluster, gpu, db) -> None:
    task = Task(spec(resources={"cpu": 0.1, "memory": "64Mi", "gpu": 8}))
    waiting = task.start()
    eventually(lambda: "8 GPUs, and no node is that large: the largest has" in shown(db, task))
    assert cluster.pods() == []
    waiting.kill()
