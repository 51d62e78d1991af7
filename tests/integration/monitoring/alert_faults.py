"""What makes the faults that alerts are about: of a dataset's loop, of models and those who serve them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from learnloop.annotation.answers import submit
from learnloop.annotation.queue import claim
from learnloop.database import (
    AnnotationTask,
    Dataset,
    EventDelivery,
    Lock,
    LockRequest,
    MergeRequest,
    NotificationSettings,
    OutboxMessage,
    Round,
    engine,
    session,
)
from learnloop.datasets.locks import acquire_write
from learnloop.datasets.waiting import request_write
from learnloop.events.delivery import TRIES, deliver
from learnloop.events.log import tell
from learnloop.loop.rounds import start_round

Fault = Callable[[Any], dict[str, str]]
FAULTS: dict[str, Fault] = {}
"""What makes an alert's fault, by the alert's name; each returns labels of the alert. A generator ends its fault, too."""


def fault(function: Any) -> Any:
    """The alert's name is the function's, without underscores."""
    name = "".join(word.capitalize() for word in function.__name__.split("_"))
    FAULTS[name] = function
    return function


def answer(name: str, count: int, label: str = "cat") -> None:
    """Somebody confirms labels."""
    for _ in range(count):
        with session() as db:
            dataset = db.query(Dataset).filter_by(name=name).one()
            submit(db, claim(db, dataset.id, "ben", lease_seconds=60).id, "ben", label)


def made(watched: Any, name: str, **values: Any) -> dict[str, str]:
    watched.dataset(name, **values)
    return {"dataset": name}


@fault
def round_not_started(watched: Any) -> dict[str, str]:
    labels = made(watched, "unstarted", tasks=3, labels=2)
    answer("unstarted", 2)
    watched.ago(Round, minutes=11)
    return labels


@fault
def round_stuck(watched: Any) -> dict[str, str]:
    labels = made(watched, "stuck", tasks=3, labels=2)
    answer("stuck", 2)
    with session() as db:
        start_round(db, "round-stuck-0")
    watched.ago(Round, "created_at", Round.state == "running", hours=7)
    return labels


@fault
def labels_waiting(watched: Any) -> dict[str, str]:
    labels = made(watched, "waiting", tasks=3, labels=1000)
    answer("waiting", 3)
    with session() as db:  # the policy is made easier, and nobody looks again
        db.query(Dataset).filter_by(name="waiting").one().loop = {"policy": {"labels": 2}}
    return labels


@fault
def questions_unanswered(watched: Any) -> dict[str, str]:
    labels = made(watched, "unanswered", tasks=1)
    with session() as db:
        dataset = db.query(Dataset).filter_by(name="unanswered").one()
    watched.ago(AnnotationTask, "created_at", AnnotationTask.dataset_id == dataset.id, days=4)
    return labels


@fault
def reviews_waiting(watched: Any) -> dict[str, str]:
    labels = made(watched, "reviews", tasks=1, quality={"check": "review"})
    answer("reviews", 1)
    watched.ago(AnnotationTask, "created_at", AnnotationTask.state == "review", days=3)
    return labels


@fault
def merge_unanswered(watched: Any) -> dict[str, str]:
    from dataset_folders import write_dataset
    from merges import changed

    from learnloop.datasets.merge.requests import open_merge
    from learnloop.datasets.snapshot import snapshot
    from learnloop.datasets.store import Store
    from learnloop.settings import settings

    store = Store(settings().store)
    folder = write_dataset(watched.folder / "lamps", samples=6)
    with Session(engine()) as db:
        first = snapshot(db, store, folder, owner="ada", message="the first")
        changed(db, store, first, records={"s001": {"label": "dark"}})
        theirs = changed(db, store, first, records={"s001": {"label": None}}, user="ada")
        open_merge(db, store, theirs, owner="ada")
        name = first.dataset.name
        db.commit()
    watched.ago(MergeRequest, days=2)
    return {"dataset": name}


@fault
def lock_held_long(watched: Any) -> dict[str, str]:
    labels = made(watched, "held")
    with session() as db:
        acquire_write(db, db.query(Dataset).filter_by(name="held").one(), "ada", timedelta(days=1))
    watched.ago(Lock, hours=13)
    return labels


@fault
def lock_wait_long(watched: Any) -> dict[str, str]:
    labels = made(watched, "wanted")
    with session() as db:
        dataset = db.query(Dataset).filter_by(name="wanted").one()
        acquire_write(db, dataset, "ada", timedelta(days=1))
        request_write(db, dataset, "ben", timedelta(hours=1), key="k", patience=timedelta(hours=9))
    watched.ago(LockRequest, hours=2)
    return labels


@fault
def outbox_stuck(watched: Any) -> dict[str, str]:
    made(watched, "untold", tasks=2, labels=1)
    answer("untold", 1)  # nobody listens: no triggerer runs
    watched.ago(OutboxMessage, hours=1)
    return {}


@fault
def notifications_given_up(watched: Any) -> dict[str, str]:
    def refuses(event: Any, address: str) -> None:
        raise ConnectionRefusedError(address)

    with session() as db:
        db.add(NotificationSettings(owner="ada", mail="ada@example.org", kinds={"failed": True}))
    tell("ada", "failed", "a run failed", key="k")
    for _ in range(TRIES):
        deliver({"mail": refuses})
        watched.ago(EventDelivery, "next_try_at", EventDelivery.next_try_at.is_not(None), minutes=1)
    return {"channel": "mail"}
