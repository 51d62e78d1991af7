"""An alias and `current` move together: both or none, also when who waits for it is ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy.orm import Session

from learnloop.database import Deployment, session
from learnloop.errors import Unavailable
from learnloop.models.promotion import move_aliases

ALIASES = ("realtime", "current")


def move(database_url: str, dataset_id: int, version: int, after: int | None = None) -> None:
    """Moves both, with no server to serve them; interrupted while it waits when the database was asked ``after`` times."""
    asked = 0

    @contextmanager
    def sessions() -> Iterator[Session]:
        nonlocal asked
        asked += 1
        if asked == after:
            raise KeyboardInterrupt
        with session(database_url) as db:
            yield db

    timeout = 0.2 if after is None else 30  # who is interrupted must not have given up before, on a slow machine
    move_aliases(sessions, dataset_id, "digits", ALIASES, version, by="ann", timeout=timeout)


def rows(db: Session) -> dict[str, int]:
    db.rollback()
    return {row.alias: row.model_version for row in db.query(Deployment)}


def test_who_is_ended_while_waiting_leads_both_back(
    database_url: str, dataset_id: int, deploy_digits: Callable[..., Any], db: Session
) -> None:
    with pytest.raises(KeyboardInterrupt):
        move(database_url, dataset_id, 1, after=3)
    assert rows(db) == {}  # nothing was served before
    for alias in ALIASES:
        deploy_digits(1, alias)
    with pytest.raises(KeyboardInterrupt):
        move(database_url, dataset_id, 2, after=3)
    assert rows(db) == {"realtime": 1, "current": 1}
    with pytest.raises(KeyboardInterrupt):
        move(database_url, dataset_id, 1, after=3)  # what was so before stays
    assert rows(db) == {"realtime": 1, "current": 1}


def test_of_two_only_what_was_changed_is_led_back(
    database_url: str, dataset_id: int, deploy_digits: Callable[..., Any], db: Session
) -> None:
    for version, alias in ((1, "realtime"), (1, "current"), (2, "current")):
        deploy_digits(version, alias)
    with pytest.raises(KeyboardInterrupt):
        move(database_url, dataset_id, 2, after=3)
    assert rows(db) == {"realtime": 1, "current": 2}


def test_where_servers_only_take_too_long_they_go_on_trying(database_url: str, dataset_id: int, db: Session) -> None:
    with pytest.raises(Unavailable, match="no model server is running"):
        move(database_url, dataset_id, 1)
    assert rows(db) == {"realtime": 1, "current": 1}
