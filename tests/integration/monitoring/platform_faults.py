"""Faults of the platform: the API, databases, disks, Airflow. The last of them stop what is watched."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.jobs.job import Job
from alert_faults import fault
from backups_taken import backup, backup_that_fails
from model_faults import again_and_again
from sqlalchemy import delete, text
from sqlalchemy.orm import Session

from learnloop.capacity.amounts import Amounts
from learnloop.capacity.machine import machine
from learnloop.capacity.reservations import Holder, Wanted
from learnloop.capacity.turn import Turn
from learnloop.database import BackupRun, Reservation, session
from learnloop.events.log import tell


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
    """A job asks for more cores than the machine has: admission looks at it, and leaves it in line."""
    holder = Holder("incremental_training", "round-pets-1", "train", -1, 1)
    turn = Turn(Wanted("local", "ann", "key", Amounts(99_000, 2**30, 0), 3600, -5, None, holder))
    assert "place 1 of 1 in line" in str(turn.take_a_look(lambda: machine("cpu=4,memory=8Gi")))
    watched.ago(Reservation, hours=3)
    return {"priority": "low", "runner": "local"}


@fault
def job_nears_memory_limit(watched: Any) -> dict[str, str]:
    """As who follows a job's pod tells it (`learnloop_airflow.pods.follow`).

    A pod would have to fill its memory for that: one does on a cluster (test_a_job_that_nears_its_limit_is_warned_of).
    """
    run = {"dag_id": "incremental_training", "run_id": "round-pets-1"}
    tell("ann", "warning", "train: the job uses 240Mi of the 256Mi of memory it may have", key="warned", **run)
    return {"dag": "incremental_training"}


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


@fault
def backup_too_old(watched: Any) -> dict[str, str]:
    """The last good one is old; one that failed since does not count."""
    backup(watched.folder)
    watched.fires("time() - learnloop_backup_last_success_timestamp_seconds < 3600")
    watched.ago(BackupRun, "finished_at", BackupRun.finished_at.is_not(None), days=3)
    backup_that_fails(watched.folder)
    return {}


@fault
def backup_never(watched: Any) -> dict[str, str]:
    """One had been begun (`watched` has it), and now there is none, as where nobody ever began one."""
    with session() as db:
        db.execute(delete(BackupRun))
    return {"database": "learnloop"}


def of_airflow(watched: Any, row: Any) -> None:
    with Session(watched.airflow) as db, db.begin():
        db.add(row)


@fault
def airflow_component_silent(watched: Any) -> dict[str, str]:
    """A triggerer that was killed: its row stays as it was. The scheduler lives.

    Rows, since Airflow's processes take minutes: a real one hangs on the live stack
    (test_a_triggerer_that_hangs_is_noticed).
    """
    now = datetime.now(UTC)
    for kind, seen in (("SchedulerJob", now + timedelta(hours=1)), ("TriggererJob", now - timedelta(minutes=5))):
        of_airflow(watched, Job(job_type=kind, state="running", latest_heartbeat=seen))
    return {"component": "triggerer"}


@fault
def dag_files_broken(watched: Any) -> dict[str, str]:
    """Airflow's own parser reads a file that does not load, and writes down that it does not."""
    folder = watched.folder / "dags"
    folder.mkdir()
    (folder / "broken.py").write_text("from airflow.sdk import DAG\n\nDAG(")
    read = DagBag(folder, bundle_path=folder, bundle_name="dags-folder", known_pools=set())
    assert "SyntaxError" in read.import_errors["broken.py"]
    with Session(watched.airflow) as db, db.begin():
        sync_bag_to_db(read, "dags-folder", None, session=db)
    return {}


@fault
def tasks_queued_long(watched: Any) -> dict[str, str]:
    """A row: a scheduler and a run of a DAG, which would queue a task that no worker takes, take minutes."""
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
