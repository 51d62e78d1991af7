"""A stack is backed up while people answer, destroyed, restored elsewhere, and goes on with the next round."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from campaign.login import Login
from campaign.loop import Loop
from campaign.people import Annotator
from campaign.promises import at_rest, broken
from campaign.seen import Seen
from campaign.stack import Stack
from campaign.world import World
from sqlalchemy import Text, create_engine, inspect, text
from waits import eventually

from learnloop.backup.sealing import make_key
from learnloop.client import LearnloopClient
from learnloop.datasets.store import Store
from learnloop.settings import Settings

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]
PEOPLE = 4


@pytest.fixture
def second_place() -> Iterator[dict[str, str]]:
    folder = Path(tempfile.mkdtemp(prefix="ll-second-", dir="/tmp"))
    make_key(folder / "key")
    yield {"LEARNLOOP_BACKUP_REMOTE": str(folder / "backups"), "LEARNLOOP_BACKUP_KEY_FILE": str(folder / "key")}
    shutil.rmtree(folder)


@pytest.fixture
def worlds() -> Iterator[tuple[World, World]]:
    made = World(), World()
    yield made
    for world in made:
        world.close(keep=False)


def test_what_was_confirmed_is_there_after_a_restore_and_the_next_round_runs(
    worlds: tuple[World, World], second_place: dict[str, str]
) -> None:
    first, other = worlds
    first.up()
    passwords = first.users(*((f"ann{n}", "annotator") for n in range(PEOPLE)), ("ada", "admin"))
    loop, seen, end = begin(first, passwords)
    people = annotators(first, passwords, loop, seen, end)

    # While people answer, and the policy starts a round:
    rounds = threading.Thread(target=loop._round)
    rounds.start()
    while len(seen.accepted) < 15:
        time.sleep(0.1)
    before = dict(seen.accepted)
    taken = [take(first, second_place)]
    rounds.join()
    assert not seen.faults
    # and again, with what came since:
    taken.append(take(first, second_place))
    end.set()
    for person in people:
        person.join()
    loop._ended("structure_optimization", f"structure-{loop.dataset}-1")  # its trials register models, too
    taken.append(take(first, second_place))
    for head in taken:
        verified = first.command("backup", "verify", head["name"], "--deep", **second_place)
        assert verified.returncode == 0, verified.stderr
    print([(head["objects"], head["size"], head["new_bytes"]) for head in taken])
    # The databases are dumped whole each time; the third has nothing else that is new, the second a round's work.
    first_time, second_time, dumped = (head["new_bytes"] for head in taken)
    assert second_time - dumped < (first_time - dumped) / 2
    was = state(first.settings)
    first.down()
    shutil.rmtree(first.home)

    # The last has everything.
    restored = other.command("restore", "--json", **second_place)
    assert restored.returncode == 0, restored.stderr
    print(json.loads(restored.stdout)["relocated"])
    other.up()
    restored_state = state(other.settings)
    for kind, found in was.items():
        assert restored_state[kind] == found, kind
    assert rows_that_name(other.settings, str(first.home)) == []
    for tree in was["versions"].values():
        store = Store(other.settings.store)
        store.verify(tree)
        for md5 in store.read_tree(tree).values():
            store.verify(md5)

    # People log in with their passwords, and go on.
    seen.accepted.clear()
    seen.accepted.update({(task, owner): label for task, owner, label in was["annotations"]})
    seen.holds.clear()
    end = threading.Event()
    after = Loop(other.url, Login(other.url, "ada", passwords["ada"], seen), other.data, seen, end)
    after.go_on_from(loop)
    people = annotators(other, passwords, after, seen, end)
    after._round()
    end.set()
    for person in people:
        person.join()
    eventually(lambda: at_rest(stack_of(other, passwords)), 600)
    assert broken(stack_of(other, passwords), seen, calm=True) == []

    # The first backup has what was acknowledged before it began.
    other.down()
    shutil.rmtree(other.home)
    other.home.mkdir()
    restored = other.command("restore", taken[0]["name"], "--json", **second_place)
    assert restored.returncode == 0, restored.stderr
    other.up()
    early = {(task, owner): label for task, owner, label in state(other.settings)["annotations"]}
    assert before.items() <= early.items()


def begin(world: World, passwords: dict[str, str]) -> tuple[Loop, Seen, threading.Event]:
    seen, end = Seen(), threading.Event()
    loop = Loop(world.url, Login(world.url, "ada", passwords["ada"], seen), world.data, seen, end)
    loop.begin()
    return loop, seen, end


def annotators(
    world: World, passwords: dict[str, str], loop: Loop, seen: Seen, end: threading.Event
) -> list[Annotator]:
    url = world.url
    logins = [Login(url, f"ann{n}", passwords[f"ann{n}"], seen) for n in range(PEOPLE)]
    made = [Annotator(url, login, lambda: loop.dataset, loop.truth, n, seen, end) for n, login in enumerate(logins)]
    for person in made:
        person.start()
    return made


def take(world: World, place: dict[str, str]) -> dict[str, Any]:
    done = world.command("backup", "take", "--json", **place)
    assert done.returncode == 0, done.stderr
    head: dict[str, Any] = json.loads(done.stdout)
    assert head["lacking"] == 0
    assert head["notes"] == []
    return head


def stack_of(world: World, passwords: dict[str, str]) -> Stack:
    return world.stack(str(LearnloopClient.login(world.url, "ada", passwords["ada"]).token))


def state(settings: Settings) -> dict[str, Any]:
    """What may not be lost: labels, answers, versions, rounds, models with the checksums of their files."""
    asked = {
        "confirmed": "SELECT dataset_id, number, sample_id, label, confirmed_by FROM confirmed_annotations ORDER BY 1, 2",
        "annotations": "SELECT task_id, owner, label FROM annotations ORDER BY 1, 2",
        "rounds": "SELECT dataset_id, number, state, model_version, version_id FROM rounds ORDER BY 1, 2",
        "deployments": "SELECT model_name, alias, model_version FROM deployments ORDER BY 1, 2",
    }
    learnloop, mlflow = create_engine(settings.database_url), create_engine(settings.mlflow_url)
    with learnloop.connect() as connection:
        found: dict[str, Any] = {
            name: [tuple(row) for row in connection.execute(text(query))] for name, query in asked.items()
        }
        found["versions"] = dict(connection.execute(text("SELECT name, tree FROM dataset_versions")).all())
    with mlflow.connect() as connection:
        models = connection.execute(text("SELECT name, version, source FROM model_versions ORDER BY 1, 2")).all()
    found["models"] = [
        (name, version, file.name, hashlib.sha256(file.read_bytes()).hexdigest())
        for name, version, source in models
        for file in sorted(Path(source).rglob("*"))
        if file.is_file()
    ]
    learnloop.dispose()
    mlflow.dispose()
    return found


def rows_that_name(settings: Settings, path: str) -> list[str]:
    """Columns of Learnloop's and MLflow's databases in which the path is said, but for what tells of the past."""
    told = {"audit_events", "events", "backups", "outbox", "job_progress", "idempotent_requests"}
    found = []
    for url in (settings.database_url, settings.mlflow_url):
        engine = create_engine(url)
        with engine.connect() as connection:
            look = inspect(connection)
            for table in set(look.get_table_names()) - told:
                for column in look.get_columns(table):
                    if (
                        isinstance(column["type"], Text)
                        or "CHAR" in str(column["type"])
                        or "JSON" in str(column["type"])
                    ):
                        query = f'SELECT count(*) FROM "{table}" WHERE "{column["name"]}"::text LIKE :path'
                        if connection.scalar(text(query), {"path": f"%{path}%"}):
                            found.append(f"{table}.{column['name']}")
        engine.dispose()
    return found
