"""Each alert's expression finds its fault, which is made here, in what a real Prometheus collected of real parts.

How long a fault must last is tested with promtool (deploy/prometheus/tests).
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.jobs.job import Job
from airflow.models.errors import ParseImportError
from prometheus_server import alerts
from sqlalchemy import text
from sqlalchemy.orm import Session

from learnloop.annotation.answers import submit
from learnloop.annotation.queue import claim
from learnloop.capacity.amounts import Amounts
from learnloop.capacity.reservations import Holder, Wanted, ask
from learnloop.database import (
    AnnotationTask,
    Dataset,
    EventDelivery,
    Lock,
    LockRequest,
    MergeRequest,
    NotificationSettings,
    OutboxMessage,
    Reservation,
    Round,
    ScoringRun,
    engine,
    session,
)
from learnloop.datasets.locks import acquire_write
from learnloop.datasets.waiting import request_write
from learnloop.events.delivery import TRIES, deliver
from learnloop.events.log import tell
from learnloop.loop.decisions import record_decision
from learnloop.loop.rounds import start_round

RULES = alerts()
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
def model_rolled_back(watched: Any) -> dict[str, str]:
    labels = made(watched, "erring")
    with session() as db:
        record_decision(
            db, dataset_name="erring", kind="rollback", run_id="r", accepted=False, reason="it erred", owner="ada",
        )  # fmt: skip
    return labels


@fault
def drift(watched: Any) -> dict[str, str]:
    labels = made(watched, "moved", tasks=1)
    watched.deploy("moved", 1)
    with session() as db:
        batch = db.query(AnnotationTask).join(Dataset).filter(Dataset.name == "moved").one().batch
        for number, seen in enumerate(([190, 10], [20, 180])):
            told = {"confidence": [*seen, 0, 0, 0, 0, 0, 0, 0, 0], "predicted": seen}
            db.add(
                ScoringRun(
                    dataset_id=batch.dataset_id,
                    batch_id=batch.id,
                    run_id=f"score-{number}",
                    model_name="moved",
                    model_version=1,
                    predictions="",
                    strategy="random",
                    scored=200,
                    chosen=0,
                    summary={"distribution": told},
                    owner="ada",
                )
            )
    return {**labels, "source": "predictions"}


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


def served(watched: Any, name: str) -> None:
    """A model that answers."""
    made(watched, name)
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


@fault
def api_errors(watched: Any) -> Iterator[dict[str, str]]:
    with session() as db:
        db.execute(text("ALTER TABLE pipelines RENAME TO mislaid"))
    with again_and_again(lambda: watched.get("/pipelines")):
        yield {}
    with session() as db:
        db.execute(text("ALTER TABLE mislaid RENAME TO pipelines"))


@fault
def api_slow(watched: Any) -> Iterator[dict[str, str]]:
    """Somebody has locked a table again and again."""
    stop = threading.Event()

    def hold() -> None:
        while not stop.is_set():
            with session() as db:
                db.execute(text("LOCK TABLE workspaces IN ACCESS EXCLUSIVE MODE"))
                stop.wait(2.5)

    holding = threading.Thread(target=hold)
    holding.start()
    with again_and_again(lambda: watched.get("/workspaces"), at_once=8):
        yield {"route": "/workspaces"}
        stop.set()
    holding.join()


@fault
def queue_starving(watched: Any) -> dict[str, str]:
    with session() as db:
        holder = Holder("incremental_training", "round-pets-1", "train", -1, 1)
        ask(db, Wanted("local", "ann", "key", Amounts(99_000, 2**30, 0), 3600, -5, None, holder))
    watched.ago(Reservation, hours=3)
    return {"priority": "low", "runner": "local"}


@fault
def disk_nearly_full(watched: Any) -> Iterator[dict[str, str]]:
    """The store is on a disk of 64 MiB, and somebody fills it."""
    from learnloop.settings import settings

    store = settings().store
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", store], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        (store / "large").write_bytes(bytes(60 * 2**20))
        yield {"place": "store"}
    finally:
        subprocess.run(["umount", store], check=True)


def of_airflow(watched: Any, row: Any) -> None:
    with Session(watched.airflow) as db, db.begin():
        db.add(row)


@fault
def airflow_component_silent(watched: Any) -> dict[str, str]:
    """A triggerer that was killed: its row stays as it was. The scheduler lives."""
    now = datetime.now(UTC)
    for kind, seen in (("SchedulerJob", now + timedelta(hours=1)), ("TriggererJob", now - timedelta(minutes=5))):
        of_airflow(watched, Job(job_type=kind, state="running", latest_heartbeat=seen))
    return {"component": "triggerer"}


@fault
def dag_files_broken(watched: Any) -> dict[str, str]:
    of_airflow(watched, ParseImportError(filename="broken.py", bundle_name="dags-folder", stacktrace="SyntaxError"))
    return {}


@fault
def tasks_queued_long(watched: Any) -> dict[str, str]:
    queued(watched.airflow)
    return {}


def queued(airflow: Any) -> None:
    """A task of Airflow's that has been queued for an hour."""
    past = datetime.now(UTC) - timedelta(hours=1)
    with airflow.begin() as connection:
        connection.execute(text("SET session_replication_role = replica"))  # its run and version need not be there
        columns = connection.execute(
            text(
                "SELECT column_name, data_type FROM information_schema.columns"
                " WHERE table_name = 'task_instance' AND is_nullable = 'NO' AND column_default IS NULL"
            )
        ).all()
        nothing = {"integer": 0, "uuid": "00000000-0000-0000-0000-000000000000", "bytea": b"", "json": "{}"}
        values = {name: nothing.get(kind, "x") for name, kind in columns}
        values |= {"state": "queued", "queued_dttm": past}
        names = ", ".join(values)
        connection.execute(
            text(f"INSERT INTO task_instance ({names}) VALUES ({', '.join(':' + name for name in values)})"), values
        )
        connection.execute(text("SET session_replication_role = DEFAULT"))


@fault
def database_away(watched: Any) -> Iterator[dict[str, str]]:
    """Airflow's database takes no connection any more."""
    name = watched.airflow.url.database
    watched.airflow.dispose()
    with session() as db:
        db.execute(text(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false'))
    with session() as db:
        db.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": name})
    yield {"database": "airflow"}
    with session() as db:
        db.execute(text(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true'))


@fault
def api_down(watched: Any) -> dict[str, str]:
    watched.stop_second_api()
    return {"job": "learnloop-api"}


@fault
def model_server_down(watched: Any) -> dict[str, str]:
    watched.models["second"].stop()
    return {"instance": watched.models["second"].url.removeprefix("http://")}


@fault
def no_model_server(watched: Any) -> dict[str, str]:
    watched.models["first"].stop()
    return {}


@fault
def loop_figures_missing(watched: Any) -> dict[str, str]:
    """The scraper's token is another one from now on."""
    (watched.folder / "configuration" / "token").write_text("yesterday's")
    return {}


@pytest.mark.parametrize("alert", FAULTS)
def test_an_alert_finds_its_fault(alert: str, watched: Any) -> None:
    expression = RULES[alert]["expr"]
    watched.fires('learnloop_database_up{database="learnloop"} == 1')
    before = watched.results(expression)
    doing = FAULTS[alert](watched)
    labels = doing if isinstance(doing, dict) else next(doing)
    try:
        watched.fires(expression, but=before, **labels)
    finally:
        if not isinstance(doing, dict):
            next(doing, None)


def test_every_alert_has_its_fault() -> None:
    assert set(FAULTS) == set(RULES)
