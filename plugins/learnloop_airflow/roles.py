"""Learnloop's roles in Airflow's FAB auth manager, and users that bear them.

Airflow's own rights decide what of Airflow a role sees; what it may do in Learnloop is `learnloop.permissions`.

`python -m learnloop_airflow.roles` reads ``[{"name": ..., "role": ..., "reset": bool}, ...]`` from standard input and
answers with ``{name: new password}`` for every user it created or reset: the only time a password is shown. Another auth
manager's users and roles are its own: then the answer is ``null``.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from typing import Any

_PLUGINS = [("can_read", "Plugins"), ("menu_access", "Plugins")]
_HITL = [("menu_access", "HITL Detail"), ("can_edit", "HITL Detail")]
_ANNOTATE = [
    ("can_read", "Website"),
    *[(action, thing) for thing in ("My Password", "My Profile") for action in ("can_read", "can_edit")],
]

AIRFLOW_RIGHTS: dict[str, tuple[str | None, list[tuple[str, str]]]] = {
    # role: (Airflow's role whose rights it starts from, what it gets besides)
    "admin": ("Admin", []),
    "engineer": ("Op", [*_PLUGINS, *_HITL]),
    "scientist": ("User", [*_PLUGINS, *_HITL]),
    "reviewer": ("Viewer", [*_PLUGINS, *_HITL]),
    "viewer": ("Viewer", [*_PLUGINS]),
    "annotator": (None, [*_ANNOTATE, *_PLUGINS]),
}


def create_roles(security: Any) -> None:
    """Create Learnloop's roles, or give existing ones the rights they lack."""
    for role, (parent, extra) in AIRFLOW_RIGHTS.items():
        made = security.add_role(role)
        inherited = list(security.find_role(parent).permissions) if parent else []
        wanted = [*inherited, *(security.create_permission(action, thing) for action, thing in extra)]
        present = set(made.permissions)
        for permission in wanted:
            if permission not in present:
                security.add_permission_to_role(made, permission)


def ensure_user(security: Any, name: str, role: str, *, reset: bool) -> str | None:
    """Create the user; returns a new password when one was made or asked for."""
    password = secrets.token_urlsafe(12)
    found = security.find_user(username=name)
    if found is None:
        made = security.add_user(
            name, name.capitalize(), "Learnloop", f"{name}@learnloop.invalid", security.find_role(role), password
        )
        if not made:
            raise RuntimeError(f"Airflow did not create the user {name!r}; its log says why")
        return password
    if not reset:
        return None
    if not security.reset_password(found.id, password):
        raise RuntimeError(f"Airflow did not reset the password of {name!r}; its log says why")
    return password


def main() -> None:
    from airflow.configuration import conf
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from airflow.utils.providers_configuration_loader import providers_configuration_loaded

    # Airflow logs to standard output, also when it ends (such as what OpenTelemetry could not send): that goes to standard
    # error, and this command's answer is alone where it is read.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    wanted = json.load(sys.stdin)
    if not conf.get("core", "auth_manager").endswith("FabAuthManager"):
        print(json.dumps(None), file=answer, flush=True)  # users and roles are this manager's own
        return

    @providers_configuration_loaded  # type: ignore[untyped-decorator]
    def apply() -> dict[str, str]:
        with get_application_builder() as builder:
            create_roles(builder.sm)
            made = {
                user["name"]: ensure_user(builder.sm, user["name"], user["role"], reset=user.get("reset", False))
                for user in wanted
            }
        return {name: password for name, password in made.items() if password}

    print(json.dumps(apply()), file=answer, flush=True)


if __name__ == "__main__":
    main()
