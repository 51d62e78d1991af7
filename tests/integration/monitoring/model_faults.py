"""Faults of models and of those who serve them, which join those of `alert_faults`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import ceil
from typing import Any

from alert_faults import answer, fault, made
from sqlalchemy import func, select
from waits import eventually

from learnloop.database import LiveWindow, session
from learnloop.loop.decisions import record_decision
from learnloop.loop.drift import SMALLEST
from learnloop.models.deployment import set_canary


@fault
def accuracy_dropped(watched: Any) -> dict[str, str]:
    labels = made(watched, "worse", tasks=40)
    watched.deploy("worse", 1)
    compared = {"candidate": {"accuracy": 0.95}}
    with session() as db:
        record_decision(
            db, dataset_name="worse", kind="gate", run_id="r", accepted=True, reason="", owner="ada",
            comparison=compared, model_name="worse", model_version=1,
        )  # fmt: skip
    answer("worse", 20)
    answer("worse", 20, "dog")  # the model said cat
    return {**labels, "alias": "current"}


@fault
def model_rolled_back(watched: Any) -> Iterator[dict[str, str]]:
    """A canary errs at requests that the version beside it answers, and the model servers end it."""
    served(watched, "erring")
    with session() as db:
        set_canary(db, model_name="erring", alias="current", version=3, percent=50, owner="ada")
    with again_and_again(lambda: watched.infer("erring", 7)):
        yield {"dataset": "erring"}


@fault
def drift(watched: Any) -> dict[str, str]:
    """What the model is asked, and so what it answers, is something else than it was some hours ago."""
    moved(watched, "moved")
    return {"dataset": "moved", "source": "live_answers"}


def moved(watched: Any, name: str) -> None:
    """A model that counts its requests, and that is asked about one end of the data first, about the other now."""
    served(watched, name, live={"record": 1.0})
    for value, hours in ((-9.0, 3), (9.0, 0)):
        asked(watched, name, value)
        with session() as db:
            window = db.query(LiveWindow).filter_by(model_name=name).order_by(LiveWindow.id.desc()).limit(1).one()
        watched.ago(LiveWindow, "started_at", LiveWindow.id == window.id, hours=hours)


def asked(watched: Any, name: str, value: float) -> None:
    """Ask about as many rows as drift is told of, until the server has written all of them down."""

    def counted() -> int:
        with session() as db:
            of_model = select(func.coalesce(func.sum(LiveWindow.rows), 0)).where(LiveWindow.model_name == name)
            return int(db.scalar(of_model) or 0)

    before, rows = counted(), 9
    for _ in range(ceil(SMALLEST / rows)):
        assert watched.infer(name, rows, value) == 200
    eventually(lambda: counted() >= before + SMALLEST)


@fault
def model_load_failed(watched: Any) -> dict[str, str]:
    labels = made(watched, "broken")
    watched.deploy("broken", 2)  # a file that ends too early
    return {**labels, "alias": "current"}


@fault
def model_not_served(watched: Any) -> dict[str, str]:
    labels = made(watched, "unserved")
    watched.deploy("unserved", 2, alias="realtime")
    return {**labels, "alias": "realtime"}


def served(watched: Any, name: str, **values: Any) -> None:
    """A model that answers."""
    made(watched, name, **values)
    watched.deploy(name, 1)
    watched.fires(f'learnloop_deployment_ready_replicas{{dataset="{name}"}} > 0')


@fault
def inference_errors(watched: Any) -> Iterator[dict[str, str]]:
    served(watched, "errs")
    with again_and_again(lambda: watched.infer("errs", 10)):
        yield {"model": "errs"}


@fault
def inference_slow(watched: Any) -> Iterator[dict[str, str]]:
    served(watched, "slow")
    with again_and_again(lambda: watched.infer("slow", 5)):
        yield {"model": "slow"}


@contextmanager
def again_and_again(do: Callable[[], object], at_once: int = 1) -> Iterator[None]:
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            do()

    with ThreadPoolExecutor(at_once) as pool:
        running = [pool.submit(go_on) for _ in range(at_once)]
        try:
            yield
        finally:
            stop.set()
        for one in running:
            one.result()
