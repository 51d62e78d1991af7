"""Who may do what: the table, line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from learnloop.errors import PermissionDenied
from learnloop.permissions import PERMISSIONS, ROLES, SERVICE, TABLE, Principal, authorize, is_persons_name


def person(*roles: str, name: str = "ada") -> Principal:
    return Principal(name, frozenset(roles))


# Written out by hand, so that a change of what anybody may do is a change here that somebody reads.
#                       admin  engineer  scientist  annotator  reviewer  viewer  service scraper
WHO_MAY = """
    annotation:claim      x       .         .          x          x        .       .       .
    annotation:export     x       x         x          .          x        .       x       .
    annotation:import     x       x         x          .          .        .       x       .
    annotation:read       x       x         x          x          x        .       x       .
    annotation:review     x       .         .          .          x        .       x       .
    audit:read            x       .         .          .          .        .       x       .
    batch:read            x       x         x          x          x        x       x       .
    batch:write           x       x         x          .          .        .       x       .
    dataset:delete        x       x         .          .          .        .       x       .
    dataset:merge         x       x         x          .          .        .       x       .
    dataset:read          x       x         x          x          x        x       x       .
    dataset:write         x       x         x          .          .        .       x       .
    deployment:read       x       x         x          x          x        x       x       .
    deployment:write      x       x         .          .          .        .       x       .
    metrics:read          x       x         .          .          .        .       x       x
    model:deploy          x       x         .          .          .        .       x       .
    model:read            x       x         x          x          x        x       x       .
    model:write           x       x         x          .          .        .       x       .
    pipeline:create       x       x         .          .          .        .       x       .
    pipeline:read         x       x         x          .          .        .       x       .
    pipeline:run          x       x         x          .          .        .       x       .
    round:read            x       x         x          x          x        x       x       .
    round:start           x       x         x          .          .        .       x       .
    session:read          x       x         x          x          x        x       x       .
    session:write         x       x         x          x          x        x       .       .
    storage:read          x       x         x          x          x        x       x       .
    storage:write         x       x         .          .          .        .       x       .
    user:write            x       .         .          .          .        .       .       .
    workspace:write       x       x         x          .          .        .       x       .
"""
COLUMNS = ("admin", "engineer", "scientist", "annotator", "reviewer", "viewer", "service", "scraper")
LINES = {
    line.split()[0]: dict(zip(COLUMNS, line.split()[1:], strict=True)) for line in WHO_MAY.split("\n") if line.strip()
}


def test_the_table_here_is_complete() -> None:
    assert set(LINES) == PERMISSIONS
    assert set(COLUMNS) == set(ROLES) == set(TABLE)


@pytest.mark.parametrize("role", COLUMNS)
@pytest.mark.parametrize("permission", sorted(LINES))
def test_a_role_may_do_just_what_the_table_says(role: str, permission: str) -> None:
    if LINES[permission][role] == "x":
        authorize(person(role), permission)
    else:
        with pytest.raises(PermissionDenied, match=permission):
            authorize(person(role), permission)


def test_roles_add_up() -> None:
    both = person("annotator", "scientist").permissions
    assert both == TABLE["annotator"] | TABLE["scientist"]


@pytest.mark.parametrize("role", [role for role in COLUMNS if role not in ("admin", "service")])
@pytest.mark.parametrize("permission", sorted(LINES))
def test_what_is_somebodys_alone_is_so_for_every_permission(role: str, permission: str) -> None:
    with pytest.raises(PermissionDenied):
        authorize(person(role), permission, owner="ben")
    if LINES[permission][role] == "x":
        authorize(person(role), permission, owner="ada")


def test_nobody_without_a_role_may_do_anything() -> None:
    for permission in PERMISSIONS:
        with pytest.raises(PermissionDenied):
            authorize(person(), permission)
        with pytest.raises(PermissionDenied):
            authorize(person("made-up"), permission)


def test_a_permission_that_does_not_exist_is_never_granted() -> None:
    with pytest.raises(ValueError, match="unknown permission"):
        authorize(person("admin"), "dataset:explode")


def test_a_private_thing_is_its_owners() -> None:
    authorize(person("scientist"), "dataset:write", owner="ada")
    with pytest.raises(PermissionDenied, match="belongs to ben"):
        authorize(person("scientist"), "dataset:write", owner="ben")
    authorize(person("admin"), "dataset:write", owner="ben")
    authorize(SERVICE, "dataset:write", owner="ben")


def test_airflows_own_admin_role_counts_as_ours() -> None:
    authorize(person("Admin"), "dataset:delete", owner="ben")


def test_the_documentation_says_what_the_table_says() -> None:
    text = (Path(__file__).parents[2] / "docs" / "identity.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    start = next(number for number, row in enumerate(rows) if row[0] == "permission")
    shown = {
        row[0]: dict(zip(rows[start][1:], row[1:], strict=True)) for row in rows[start + 2 : start + 2 + len(LINES)]
    }
    people = [role for role in COLUMNS if role not in ("service", "scraper")]
    wanted = {name: {role: LINES[name][role].strip(".") for role in people} for name in LINES}
    assert shown == wanted


@pytest.mark.parametrize(
    ("name", "person"), [("ann", True), ("service:learnloop", False), ("archive:ann", False), ("services", True)]
)
def test_some_names_are_nobodys(name: str, person: bool) -> None:
    assert is_persons_name(name) is person
