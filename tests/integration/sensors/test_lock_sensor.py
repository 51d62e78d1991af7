"""The lock sensor: its trigger against a real PostgreSQL, and a real run of a DAG."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from dataset_folders import description
from sqlalchemy import func, select, update

from learnloop import settings as settings_module
from learnloop.database import Lock, LockRequest, engine, session
from learnloop.datasets import locks
from learnloop.datasets.schema import DatasetConfig
from learnloop.datasets.versions import create_dataset, get_dataset
from learnloop.datasets.waiting import Place, line_of, request_write, withdraw

MINUTE = timedelta(minutes=1)


@pytest.fixture
def dataset(db):
    made = create_dataset(db, DatasetConfig.model_validate(description()), "ana")
    db.commit()
    return made


@pytest.fixture
def configured(database_url, monkeypatch):
    """The settings name the test's database, as they do where triggers and tasks run."""
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    settings_module.settings.cache_clear()
    yield
    engine(None).dispose()
    engine.cache_clear()
    settings_module.settings.cache_clear()


def ask(db, dataset, owner, **options):
    got = request_write(db, dataset, owner, MINUTE, key="task", **options)
    db.commit()
    return got


def until_it_fires(trigger, *, then):
    """The trigger's event; ``then`` is done once it listens."""

    async def wait():
        events = trigger.run()
        firing = asyncio.ensure_future(anext(events))
        looked = asyncio.Event()
        look = trigger._look

        def look_and_tell():
            place = look()
            loop.call_soon_threadsafe(looked.set)
            return place

        loop = asyncio.get_running_loop()
        trigger._look = look_and_tell
        listening = asyncio.ensure_future(looked.wait())
        await asyncio.wait({firing, listening}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.to_thread(then)
        event = await asyncio.wait_for(firing, 60)
        listening.cancel()
        await events.aclose()
        return event.payload

    return asyncio.run(wait())


def make_trigger(place, poll_seconds):
    from learnloop_airflow.triggers.lock import LockTrigger

    path, arguments = LockTrigger(dataset="lamps", request_id=place.request_id, poll_seconds=poll_seconds).serialize()
    assert path == "learnloop_airflow.triggers.lock.LockTrigger"
    return LockTrigger(**arguments)


def test_a_release_wakes_the_trigger_at_once(db, dataset, configured):
    token = ask(db, dataset, "ana").token
    place = ask(db, dataset, "ben")

    def release():
        locks.release(db, dataset, token)
        db.commit()

    # Looking without being told would take ten minutes: the test would end by its time-out.
    assert until_it_fires(make_trigger(place, 600.0), then=release) == {"status": "due"}
    assert isinstance(ask(db, dataset, "cy"), Place)  # the turn is kept for who resumes
    assert isinstance(ask(db, dataset, "ben"), Lock)


def test_the_trigger_finds_by_itself_what_nobody_tells(db, dataset, configured):
    ask(db, dataset, "ana")
    place = ask(db, dataset, "ben")

    def expire():
        db.execute(update(Lock).values(expires_at=func.clock_timestamp()))
        db.commit()

    assert until_it_fires(make_trigger(place, 0.1), then=expire) == {"status": "due"}


def test_the_trigger_says_when_the_place_is_lost(db, dataset, configured):
    ask(db, dataset, "ana")
    place = ask(db, dataset, "ben")

    def leave():
        withdraw(db, place.request_id)
        db.commit()

    assert until_it_fires(make_trigger(place, 600.0), then=leave) == {"status": "lost"}


DAG = """
import sys
from datetime import timedelta
from airflow.sdk import DAG, task
from learnloop_airflow.operators.lock import ReleaseLockOperator
from learnloop_airflow.sensors.lock import LockSensor

with DAG("writes", schedule=None) as dag:
    lock = LockSensor(
        task_id="lock", dataset="lamps", ttl=timedelta(minutes=5), purpose="a test", lock_priority=7, deferrable=%s,
        poke_interval=0.2,
    )

    @task
    def write(lock):
        from learnloop.database import session
        from learnloop.datasets.locks import check
        from learnloop.datasets.versions import get_dataset

        with session() as db:
            assert check(db, get_dataset(db, "lamps"), lock["token"]).purpose == "a test"

    unlock = ReleaseLockOperator(task_id="unlock", dataset="lamps", lock=lock.output)
    lock >> write(lock.output) >> unlock.as_teardown(setups=lock)

if __name__ == "__main__":
    run = dag.test()
    states = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
    print("STATES", __import__("json").dumps(states), flush=True)
"""


@pytest.fixture(scope="module")
def airflow_home(tmp_path_factory):
    """A folder of Airflow's own with an empty metadata database."""
    home = tmp_path_factory.mktemp("airflow")
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"], env=environment(home), check=True, capture_output=True
    )
    return home


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEARNLOOP_", "AIRFLOW"))}
    return {
        **kept,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "PYTHONPATH": os.pathsep.join(str(Path(name).resolve()) for name in ("include", "plugins")),
        **more,
    }


@pytest.mark.timeout(900)
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_dag_waits_takes_the_lock_and_gives_it_back(db, dataset, database_url, airflow_home, deferrable):
    held = ask(db, dataset, "ana")
    (airflow_home / "dags").mkdir(exist_ok=True)
    file = airflow_home / "dags" / "writes.py"
    file.write_text(DAG % deferrable)
    with (airflow_home / "log").open("w+") as log:
        running = subprocess.Popen(
            [sys.executable, str(file)],
            env=environment(airflow_home, LEARNLOOP_DATABASE_URL=database_url),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + 120
            while not line_of_now(database_url) and running.poll() is None:
                assert time.monotonic() < deadline, "the task did not ask for the lock"
                with contextlib.suppress(subprocess.TimeoutExpired):
                    running.wait(0.1)
            (place,) = line_of_now(database_url) or pytest.fail((airflow_home / "log").read_text()[-3000:])
            assert (place.priority, place.purpose, place.held_by) == (7, "a test", "ana")
            locks.release(db, dataset, held.token)
            db.commit()
            assert running.wait(120) == 0
        finally:
            running.kill()
            running.wait()
    said = (airflow_home / "log").read_text()
    states = next(line for line in said.splitlines() if line.startswith("STATES "))
    assert json.loads(states.removeprefix("STATES ")) == dict.fromkeys(("lock", "write", "unlock"), "success"), said
    assert db.scalar(select(func.count(Lock.id))) == db.scalar(select(func.count(LockRequest.id))) == 0


def line_of_now(url):
    with session(url) as db:
        return line_of(db, get_dataset(db, "lamps"))
