"""Who may do what: one table and one function, in front of every route.

Airflow's auth manager says who the caller is and which role names they bear; this module says what those
roles may do. A role, resource or action that the table does not name is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from learnloop.errors import PermissionDenied

ROLES = ("admin", "engineer", "scientist", "annotator", "reviewer", "viewer", "service", "scraper")

_VIEW = {
    "batch:read",
    "dataset:read",
    "deployment:read",
    "model:read",
    "round:read",
    "session:read",
    "session:write",
    "storage:read",
}
_ANNOTATE = _VIEW | {"annotation:claim", "annotation:read"}
_REVIEW = _ANNOTATE | {"annotation:export", "annotation:review"}
_SCIENCE = _VIEW | {
    "annotation:export",
    "annotation:import",
    "annotation:read",
    "batch:write",
    "dataset:merge",
    "dataset:write",
    "model:write",
    "pipeline:read",
    "pipeline:run",
    "round:start",
    "workspace:write",
}
_ENGINEER = _SCIENCE | {
    "dataset:delete",
    "deployment:write",
    "metrics:read",
    "model:deploy",
    "pipeline:create",
    "storage:write",
}
_ALL = _ENGINEER | _REVIEW | {"audit:read", "user:write"}

TABLE: dict[str, frozenset[str]] = {
    "admin": frozenset(_ALL),
    "engineer": frozenset(_ENGINEER),
    "scientist": frozenset(_SCIENCE),
    "annotator": frozenset(_ANNOTATE),
    "reviewer": frozenset(_REVIEW),
    "viewer": frozenset(_VIEW),
    # Background parts act under this identity; no person bears it.
    "service": frozenset(_ALL - {"user:write", "annotation:claim", "session:write"}),
    # Who collects metrics: Prometheus, by a token of its own.
    "scraper": frozenset({"metrics:read"}),
}

PERMISSIONS = frozenset(_ALL)

ARCHIVE = "archive:"
"""Begins the name of who owns what somebody left behind. Nobody logs in under it."""
_NOBODYS = ("service:", ARCHIVE)


def is_persons_name(name: str) -> bool:
    """Whether somebody may log in under ``name``: some are the platform's own."""
    return not name.startswith(_NOBODYS)


@dataclass(frozen=True)
class Principal:
    """Somebody who acts: a person that Airflow authenticated, or a background part."""

    name: str
    roles: frozenset[str]

    @property
    def permissions(self) -> frozenset[str]:
        return frozenset().union(*(TABLE.get(role.lower(), frozenset()) for role in self.roles))


SERVICE = Principal("service:learnloop", frozenset({"service"}))
SCRAPER = Principal("service:metrics", frozenset({"scraper"}))


def authorize(principal: Principal, permission: str, *, owner: str | None = None) -> None:
    """Let ``principal`` do ``permission`` (``resource:action``), or raise.

    Args:
        owner: the owner of a thing that is private to them; None for what is shared. Only its owner,
            an admin, or the service identity may touch a private thing.

    Raises:
        PermissionDenied: the roles do not grant it, or it belongs to somebody else.
        ValueError: no such permission exists (a programming error; it never grants anything).
    """
    if permission not in PERMISSIONS:
        raise ValueError(f"unknown permission {permission!r}")
    if permission not in principal.permissions:
        roles = ", ".join(sorted(principal.roles)) or "none"
        raise PermissionDenied(
            f"{principal.name} may not {permission}: it needs a role that grants it (roles: {roles})"
        )
    if owner is not None and owner != principal.name and not principal.roles & {"admin", "Admin", "service"}:
        raise PermissionDenied(f"{principal.name} may not {permission} here: it belongs to {owner}")
