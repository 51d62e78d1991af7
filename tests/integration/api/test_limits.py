"""Limits of requests and of jobs: one count for all server processes, by the database's clock."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sent_statements import counted
from sqlalchemy import select, text

from learnloop import limits, settings
from learnloop.client import LearnloopClient
from learnloop.database import AuditEvent, Dataset, RateLimit
from learnloop.errors import Conflict, TooManyRequests
from learnloop.jobs.spec import parse_spec
from learnloop.limits import forget_idle, give_back, running_job, take
from learnloop.permissions import SERVICE
from learnloop_airflow.api.routing import kind_of
from learnloop_airflow.operators.job import JobOperator


def many(key: str, per_minute: int, times: int) -> int:
    """How many of ``times`` requests were let in."""

    def one(_: int) -> bool:
        try:
            take(key, per_minute)
        except TooManyRequests:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(one, range(times)))


def later(db, seconds: float) -> None:
    """As if ``seconds`` had gone by."""
    db.execute(text("UPDATE rate_limits SET paid_until = paid_until - make_interval(secs => :s)"), {"s": seconds})
    db.commit()


@pytest.fixture
def limit(app, monkeypatch):
    def to(**values: int) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"LEARNLOOP_{name.upper()}", str(value))
        settings.settings.cache_clear()

    return to


def test_a_sixth_of_a_minutes_worth_comes_at_once_and_the_rest_with_time(app, db) -> None:
    assert many("read ann", 6, 5) == 1
    assert many("read bo", 60, 20) == 10  # each has their own
    later(db, 3)
    assert many("read bo", 60, 20) == 3
    later(db, 3600)
    assert many("read bo", 60, 20) == 10  # what was not used is not saved up
    assert many("read cy", 0, 50) == 50


def test_the_wait_that_is_told_is_enough_and_not_too_long(app, db) -> None:
    many("read bo", 60, 10)
    with pytest.raises(TooManyRequests, match="60 requests a minute") as refused:
        take("read bo", 60)
    assert 0.5 < refused.value.retry_after <= 1
    later(db, refused.value.retry_after)
    take("read bo", 60)


def test_being_refused_costs_nothing(app, db) -> None:
    many("read bo", 6, 50)
    later(db, 10)
    assert many("read bo", 6, 5) == 1


@pytest.mark.parametrize(("back", "let_in"), [(30, 0), (300, 1), (86400, 1)])
def test_nobody_is_shut_out_when_the_databases_clock_was_set_back(app, db, back: int, let_in: int) -> None:
    assert many("read bo", 6, 5) == 1
    later(db, -back)  # paid until then, by a clock that has been set back since
    assert many("read bo", 6, 5) == let_in  # and the limit holds as ever


def test_what_is_given_back_is_free_again(app) -> None:
    for _ in range(30):
        take("login bo", 6)
        give_back("login bo", 6)
    take("login bo", 6)
    with pytest.raises(TooManyRequests):
        take("login bo", 6)


def _in_a_process(url: str, results) -> None:
    os.environ["LEARNLOOP_DATABASE_URL"] = url
    settings.settings.cache_clear()
    results.put(many("write bo", 600, 100))


def test_all_server_processes_share_one_count(app, database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_in_a_process, args=(database_url, results)) for _ in range(2)]
    for process in processes:
        process.start()
    started = time.monotonic()
    let_in = sum(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    assert 100 <= let_in <= 100 + 10 * (time.monotonic() - started)  # ten a second come free meanwhile


def test_of_a_large_limit_several_are_paid_for_at_once_and_never_more_let_in(app, db) -> None:
    with counted() as sent:
        assert many("read bo", 30_000, 300) == 300
    assert 10 <= len(sent) <= 30  # of 30 each; threads that pay at one moment pay apart
    started = time.monotonic()
    let_in = many("read cy", 6_000, 3_000)
    assert 1_000 <= let_in <= 1_000 + 100 * (time.monotonic() - started)


def test_what_was_paid_for_and_not_used_is_forgotten(app, db, monkeypatch) -> None:
    monkeypatch.setattr(limits, "_KEPT_SECONDS", -1.0)
    with counted() as sent:
        assert many("read bo", 30_000, 20) == 20
    assert len(sent) == 20


def test_a_request_too_many_is_refused_with_when_to_come_again(as_user, db, limit) -> None:
    limit(rate_write=6)
    client = as_user("eng", "engineer")
    assert client.delete("/datasets/pets/lock/1").status_code == 404
    answer = client.delete("/datasets/pets/lock/1")
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:learnloop:problem:too-many-requests"
    assert 1 <= int(answer.headers["retry-after"]) <= 10
    assert client.get("/datasets").status_code == 200  # reading is counted apart
    assert as_user("bo", "engineer").delete("/datasets/pets/lock/1").status_code == 404
    assert [row.status for row in db.scalars(select(AuditEvent).order_by(AuditEvent.id))] == [404, 429, 404]


def test_who_may_not_is_counted_too(as_user, limit) -> None:
    limit(rate_write=6)
    client = as_user("vic", "viewer")
    assert [client.post("/datasets/pets/lock").status_code for _ in range(2)] == [403, 429]


@pytest.mark.parametrize(
    ("method", "permission", "kind"),
    [
        ("GET", "dataset:read", "read"),
        ("GET", "annotation:claim", "read"),
        ("POST", "annotation:claim", "claim"),
        ("POST", "dataset:write", "write"),
        ("DELETE", "user:write", "write"),
    ],
)
def test_each_route_has_its_kind(method: str, permission: str, kind: str) -> None:
    assert kind_of(method, permission) == kind


def test_strangers_cannot_fill_the_audit_log(as_user, db, limit) -> None:
    limit(rate_login=6)  # sixty a minute for what nobody is named in, ten of them at once
    client = as_user(None)
    assert {client.get("/datasets").status_code for _ in range(40)} == {401}
    assert 10 <= len(list(db.scalars(select(AuditEvent)))) < 20


def test_rows_that_say_nothing_are_deleted(app, db) -> None:
    take("read ann", 60)
    later(db, 60)
    take("read bo", 6)
    forget_idle(db)
    assert [row.key for row in db.scalars(select(RateLimit))] == ["read bo"]


def test_the_client_waits_as_it_is_told(app, as_user, db, limit, monkeypatch) -> None:
    from fastapi import FastAPI
    from test_client import serving

    from learnloop import client as module

    db.add(Dataset(name="pets", task_type="image_classification", loop={}, owner="ada"))
    db.commit()
    as_user("vic", "viewer")
    limit(rate_read=60)
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        later(db, seconds)

    monkeypatch.setattr(module.time, "sleep", wait)
    host = FastAPI()
    host.mount("/learnloop/api/v1", app)
    with serving(host) as url, LearnloopClient(url, "x") as client:
        for _ in range(15):
            assert [found.name for found in client.datasets()] == ["pets"]
    assert waits
    assert set(waits) == {1.0}


def test_a_person_runs_so_many_jobs_at_once(app) -> None:
    with running_job("ann", 2), running_job("ann", 2):
        with pytest.raises(Conflict, match="ann runs 2 jobs"), running_job("ann", 2):
            pass
        with running_job("bo", 1), running_job(SERVICE.name, 0), running_job(SERVICE.name, 0):
            pass
    with running_job("ann", 1):
        pass


def test_a_task_that_runs_a_job_takes_a_place(app, limit) -> None:
    limit(jobs_per_user=1)
    fields = {"user": "ann", "idempotency_key": "k", "module": "learnloop.training.train"}
    operator = JobOperator(task_id="t")
    with running_job("ann", 1), pytest.raises(Conflict, match="jobs_per_user"):
        operator.run_job(parse_spec(fields), {})
    assert not settings.settings().namespaces.exists()  # refused before anything was done


def _hold(url: str, held) -> None:
    os.environ["LEARNLOOP_DATABASE_URL"] = url
    settings.settings.cache_clear()
    with running_job("ann", 1):
        held.set()
        signal.pause()


def test_a_killed_job_gives_its_place_back(app, database_url: str, db) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=_hold, args=(database_url, held))
    process.start()
    assert held.wait(60)
    with pytest.raises(Conflict), running_job("ann", 1):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    gone = text("SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory'")
    while not db.scalar(gone):  # the server notices at once that its client has gone, but not before
        db.rollback()
    with running_job("ann", 1):
        pass
