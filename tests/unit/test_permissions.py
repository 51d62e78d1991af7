"""Who may do what: the table, line by line."""

from __future__ import annotations

import pytest

from learnloop.errors import PermissionDenied
from learnloop.permissions import PERMISSIONS, ROLES, SERVICE, TABLE, Principal, authorize


def person(*roles: str, name: str = "ada") -> Principal:
    return Principal(name, frozenset(roles))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("permission", sorted(PERMISSIONS))
def test_a_role_may_do_just_what_the_table_says(role: str, permission: str) -> None:
    if permission in TABLE[role]:
        authorize(person(role), permission)
    else:
        with pytest.raises(PermissionDenied, match=permission):
            authorize(person(role), permission)


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
