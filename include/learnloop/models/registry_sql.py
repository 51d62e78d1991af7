"""Reading MLflow's registry by SQL, where its database is ours: no import of MLflow, one statement a question."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Row, Text, bindparam, cast, column, select, table

from learnloop.database.engine import engine, reading
from learnloop.errors import NotFound
from learnloop.models.registered import KEY_TAG, RegisteredVersion, split_tags

_WORKSPACE = "default"  # MLflow's own name for having none

_versions = table(
    "model_versions", *map(column, ("name", "version", "source", "creation_time", "current_stage", "workspace"))
)
_tags = table("model_version_tags", *map(column, ("name", "version", "key", "value", "workspace")))
_aliases = table("registered_model_aliases", *map(column, ("name", "alias", "version", "workspace")))
_OF_MODEL = {
    kind: select(of).where(of.c.name == bindparam("name"), of.c.workspace == _WORKSPACE)
    for kind, of in {"versions": _versions, "tags": _tags, "aliases": _aliases}.items()
}
_OF_VERSION = {kind: of.where(of.selected_columns.version == bindparam("version")) for kind, of in _OF_MODEL.items()}
_LIVE = (_versions.c.current_stage != "Deleted_Internal", _versions.c.workspace == _WORKSPACE)
# A page of versions, the newest first; then what is said of those between its first and its last.
_PAGE = (
    select(_versions)
    .where(_versions.c.name == bindparam("name"), _versions.c.version < bindparam("before"), *_LIVE)
    .order_by(_versions.c.version.desc())
    .limit(bindparam("limit"))
)
_BETWEEN = {
    kind: of.where(of.selected_columns.version.between(bindparam("last"), bindparam("first")))
    for kind, of in _OF_MODEL.items()
    if kind != "versions"
}


def names(url: str, *, after: str, limit: int | None) -> list[str]:
    name = cast(_versions.c.name, Text).collate("C")  # the order that "after" means, whatever the database's is
    wanted = select(name).where(*_LIVE, name > after).distinct().order_by(name).limit(limit)
    with engine(url).connect() as connection:
        return list(connection.scalars(wanted))


def version_of(url: str, name: str, alias: str) -> int | None:
    with engine(url).connect() as connection:
        found = connection.scalar(
            select(_aliases.c.version).where(
                _aliases.c.name == name, _aliases.c.alias == alias, _aliases.c.workspace == _WORKSPACE
            )
        )
    return None if found is None else int(found)


def source_of(url: str, name: str, version: int) -> Path:
    with engine(url).connect() as connection:
        source = connection.scalar(
            select(_versions.c.source).where(_versions.c.name == name, _versions.c.version == version, *_LIVE)
        )
    if source is None:
        raise NotFound(f"there is no version {version} of model {name!r}")
    return Path(str(source))


def find(url: str, name: str, idempotency_key: str) -> int | None:
    there = select(_versions.c.version).where(_versions.c.name == name, *_LIVE)
    with engine(url).connect() as connection:
        found = connection.scalar(
            select(_tags.c.version).where(
                _tags.c.name == name,
                _tags.c.key == KEY_TAG,
                _tags.c.value == idempotency_key,
                _tags.c.workspace == _WORKSPACE,
                _tags.c.version.in_(there),
            )
        )
    return None if found is None else int(found)


def versions(url: str, name: str, *, before: int, limit: int | None) -> list[RegisteredVersion]:
    with reading(url) as db:
        rows = db.execute(_PAGE, {"name": name, "before": before, "limit": limit}).all()
        if not rows:
            return []
        between = {"name": name, "first": rows[0].version, "last": rows[-1].version}
        return _versions_of(rows, *(db.execute(_BETWEEN[of], between).all() for of in ("tags", "aliases")))


def version(url: str, name: str, version: int) -> RegisteredVersion | None:
    with reading(url) as db:
        rows, tags, aliases = (
            db.execute(_OF_VERSION[of], {"name": name, "version": version}).all()
            for of in ("versions", "tags", "aliases")
        )
    found = _versions_of([row for row in rows if row.current_stage != "Deleted_Internal"], tags, aliases)
    return found[0] if found else None


def _versions_of(
    rows: Sequence[Row[Any]], tags: Sequence[Row[Any]], aliases: Sequence[Row[Any]]
) -> list[RegisteredVersion]:
    """What the tables say of versions, in the order of ``rows``."""
    said: dict[int, dict[str, str]] = {}
    for tag in tags:
        said.setdefault(int(tag.version), {})[tag.key] = tag.value
    return [
        RegisteredVersion(
            name=row.name,
            version=int(row.version),
            source=Path(row.source),
            aliases=tuple(sorted(alias.alias for alias in aliases if alias.version == row.version)),
            created_at=datetime.fromtimestamp(row.creation_time / 1000, UTC),
            **split_tags(said.get(int(row.version), {})),
        )
        for row in rows
    ]
