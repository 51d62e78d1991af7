"""A stack is stopped in the middle of a round, the new version migrates the schema of the one before: the round ends.

There is one version of the code; the older one is played by the schema, which goes one revision back while nothing runs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest
from campaign.login import Login
from campaign.loop import Loop
from campaign.people import Annotator
from campaign.promises import at_rest, broken
from campaign.seen import Seen
from campaign.world import World
from sqlalchemy import create_engine, text
from waits import eventually

from learnloop.database.migrate import downgrade, revisions
from learnloop.stack import postgres

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]
PEOPLE = 4


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close(keep=False)


def test_a_round_that_was_under_way_at_the_upgrade_ends(world: World) -> None:
    world.up()
    passwords = world.users(*((f"ann{n}", "annotator") for n in range(PEOPLE)), ("ada", "admin"))
    url = world.url
    seen, end = Seen(), threading.Event()
    logins = {name: Login(url, name, word, seen) for name, word in passwords.items()}
    loop = Loop(url, logins["ada"], world.data, seen, end)
    loop.begin()
    people = [Annotator(url, logins[f"ann{n}"], lambda: loop.dataset, loop.truth, n, seen, end) for n in range(PEOPLE)]
    for person in people:
        person.start()
    going = threading.Thread(target=loop._round)
    going.start()
    eventually(lambda: state(world) == "running", 300)

    world.down()
    handle = postgres.start(world.home / "postgres")
    database = postgres.url(handle, "learnloop")
    downgrade(database, revisions()[-2])
    assert revision(database) == revisions()[-2]
    postgres.stop(world.home / "postgres")
    (world.home / "initialised").unlink()  # another version's code has another stamp
    world.up()

    assert revision(world.settings.database_url) == revisions()[-1]
    going.join(900)
    assert not going.is_alive()
    end.set()
    for person in people:
        person.join()
    assert state(world) in ("accepted", "rejected")
    stack = world.stack(logins["ada"].token)
    eventually(lambda: at_rest(stack), 600)
    assert broken(stack, seen, calm=True) == []


def state(world: World) -> str:
    """The state of the first round after the base model's."""
    with psycopg.connect(world.settings.database_url.replace("+psycopg", "")) as connection:
        found = connection.execute("SELECT state FROM rounds WHERE number = 1").fetchone()
    return "" if found is None else str(found[0])


def revision(url: str) -> str:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = str(connection.scalar(text("SELECT version_num FROM learnloop_alembic_version")))
    engine.dispose()
    return found
