"""Admission in a real Airflow: no worker's slot is needed for a turn, and what nobody released is found.

The node is held by the reservation of a task that is not there any more, as after the end of everything that knew of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from pod_stack import PodStack, running_stack
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from waits import eventually

from learnloop.database import Reservation
from learnloop.stack.demo import digits

pytestmark = pytest.mark.timeout(600)
MAINTENANCE = "platform_maintenance"
POOL = "/pools/default_pool?update_mask=slots"


@pytest.fixture(scope="module")
def stack(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodStack]:
    with running_stack(image, tmp_path_factory.mktemp("digits"), ADMISSION="reservation") as made:
        # Its first run releases what no task holds, as it should; in a paused DAG it would stop half-way.
        runs = f"/dags/{MAINTENANCE}/dagRuns?state=running&state=queued"
        eventually(lambda: made.get(runs).json()["dag_runs"] == [], 120)
        patch(made, f"/dags/{MAINTENANCE}", {"is_paused": True})
        yield made


@pytest.fixture
def db(stack: PodStack) -> Iterator[Session]:
    made = create_engine(json.loads((stack.cluster.home / "stack.json").read_text())["database_url"])
    with Session(made) as session:
        yield session
    made.dispose()


def patch(stack: PodStack, path: str, body: dict) -> None:
    httpx.patch(f"{stack.url}/api/v2{path}", json=body, headers=stack.bearing, timeout=30).raise_for_status()


def hold_the_node(db: Session) -> Reservation:
    gone = {"dag_id": "gone", "run_id": "gone", "task_id": "gone", "try_number": 1}
    row = Reservation(runner="kubernetes", owner="eve", key="lost", **gone)
    row.cpu, row.memory, row.seconds, row.state, row.node = 10**9, 0, 3600, "begun", "localhost"
    row.seen_at = row.admitted_at = row.begun_at = datetime.now(UTC)
    db.add(row)
    db.commit()
    return row


def start(stack: PodStack, name: str) -> str:
    """A run that comes to where its job waits in line."""
    folder = digits.write(stack.data / name, name, budget=20).dataset
    run_id = stack.airflow.trigger("base_model_training", {"path": str(folder), "message": "queue"})
    eventually(lambda: stack.state_of(run_id) == "deferred", 120)
    eventually(lambda: "place 1 of 1 in line: it needs" in stack.log_of(run_id))
    assert stack.cluster.pods() == []
    return run_id


def test_a_turn_and_the_jobs_end_need_no_slot_of_a_pool(stack: PodStack, db: Session) -> None:
    row = hold_the_node(db)
    run_id = start(stack, "full")
    patch(stack, POOL, {"slots": 0})
    row.state, row.released_at = "released", row.seen_at
    db.commit()
    eventually(lambda: stack.pods_of(run_id), 60)
    eventually(lambda: states(db, run_id) == ["released"], 90)  # the pod has ended, and its room is others'
    assert stack.state_of(run_id) in ("deferred", "scheduled")  # nobody had a slot to look at it yet
    patch(stack, POOL, {"slots": 128})
    stack.airflow.wait("base_model_training", run_id)
    assert stack.cluster.pods() == []


def test_maintenance_finds_what_nobody_released(stack: PodStack, db: Session) -> None:
    hold_the_node(db)
    run_id = start(stack, "lost")
    patch(stack, f"/dags/{MAINTENANCE}", {"is_paused": False})
    stack.airflow.run(MAINTENANCE, {})
    stack.airflow.wait("base_model_training", run_id)
    assert set(states(db, run_id)) == {"released"}
    assert set(states(db, "gone")) == {"released"}


def states(db: Session, run_id: str) -> list[str]:
    db.rollback()
    return list(db.scalars(select(Reservation.state).where(Reservation.run_id == run_id)))
