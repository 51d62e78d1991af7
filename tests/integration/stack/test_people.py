"""Who somebody is, asked of the real Airflow."""

from __future__ import annotations

import pytest

from learnloop.errors import PermissionDenied, Unavailable
from learnloop_airflow.hooks.people import PeopleHook

pytestmark = pytest.mark.live


def connect(monkeypatch: pytest.MonkeyPatch, stack, role: str) -> None:
    from airflow.models.connection import Connection

    name, password = stack.users[role]
    connection = Connection(conn_id="learnloop_people", conn_type="http", host=stack.url, login=name, password=password)
    monkeypatch.setenv("AIRFLOW_CONN_LEARNLOOP_PEOPLE", connection.as_json())


def test_airflow_says_which_roles_somebody_bears(live_stack, monkeypatch) -> None:
    connect(monkeypatch, live_stack, "admin")
    for role in ("scientist", "annotator"):
        assert PeopleHook().principal(live_stack.users[role][0]).roles == {role}
    with pytest.raises(PermissionDenied, match="nobody who may log in"):
        PeopleHook().principal("../users")
    with pytest.raises(PermissionDenied, match="nobody who may log in"):
        PeopleHook().principal("somebody else")


def test_who_may_not_read_users_cannot_ask(live_stack, monkeypatch) -> None:
    connect(monkeypatch, live_stack, "annotator")
    with pytest.raises(Unavailable, match="403"):
        PeopleHook().principal("admin")
