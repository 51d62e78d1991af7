"""Reading MLflow's registry by SQL, where its database is ours: no import of MLflow, one statement a question."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import bindparam, column, select, table

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


def names(url: str) -> list[str]:
    wanted = select(_versions.c.name).where(
        _versions.c.current_stage != "Deleted_Internal", _versions.c.workspace == _WORKSPACE
    )
    with engine(url).connect() as connection:
        return sorted(connection.scalars(wanted.distinct()))


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
            select(_versions.c.source).where(
                _versions.c.name == name,
                _versions.c.version == version,
                _versions.c.current_stage != "Deleted_Internal",
                _versions.c.workspace == _WORKSPACE,
            )
        )
    if source is None:
        raise NotFound(f"there is no version {version} of model {name!r}")
    return Path(str(source))


def find(url: str, name: str, idempotency_key: str) -> int | None:
    there = select(_versions.c.version).where(
        _versions.c.name == name,
        _versions.c.current_stage != "Deleted_Internal",
        _versions.c.workspace == _WORKSPACE,
    )
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


def versions(url: str, name: str, version: int | None = None) -> list[RegisteredVersion]:
    with reading(url) as db:
        rows, tag_rows, alias_rows = (
            db.execute(_OF_MODEL[of] if version is None else _OF_VERSION[of], {"name": name, "version": version}).all()
            for of in ("versions", "tags", "aliases")
        )
    tags: dict[int, dict[str, str]] = {}
    for row in tag_rows:
        tags.setdefault(int(row.version), {})[row.key] = row.value
    return [
        RegisteredVersion(
            name=name,
            version=int(row.version),
            source=Path(row.source),
            aliases=tuple(sorted(alias.alias for alias in alias_rows if alias.version == row.version)),
            created_at=datetime.fromtimestamp(row.creation_time / 1000, UTC),
            **split_tags(tags.get(int(row.version), {})),
        )
        for row in sorted(rows, key=lambda row: -int(row.version))
        if row.current_stage != "Deleted_Internal"
    ]
