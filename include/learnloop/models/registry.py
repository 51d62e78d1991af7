"""Registered models: MLflow's registry for names, versions, tags and aliases; a folder of ours for the files.

What changes the registry goes through MLflow's client, imported late: that import takes seconds. What only reads is
one SQL statement on MLflow's tables, so that model servers and pages never import MLflow at all.

    python -m learnloop.models.registry prepare     makes MLflow's tables, once, at set-up
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, Text, bindparam, cast, column, select, table

from learnloop.database.engine import engine, reading
from learnloop.errors import InvalidInput, NotFound, Unavailable
from learnloop.jobs.checksums import files_below, fsync_file, fsync_folder, write_manifest
from learnloop.jobs.namespace import key_folder
from learnloop.settings import settings
from learnloop.training.quiet import quieten_mlflow

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

KEY_TAG = "idempotency_key"
METRIC_PREFIX = "metric."
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
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
LAST_VERSION = 2**31 - 1
"""MLflow's version numbers are 32 bits wide."""


@dataclass(frozen=True)
class RegisteredVersion:
    """One version of a registered model."""

    name: str
    version: int
    source: Path
    aliases: tuple[str, ...]
    tags: dict[str, str]
    metrics: dict[str, float]
    created_at: datetime


def prepare(url: str | None = None) -> None:
    """Make or upgrade MLflow's tables. Run it once before anything else uses the registry."""
    _client(url).search_registered_models(max_results=1)


def register(
    name: str,
    folder: Path,
    *,
    models_root: Path,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    idempotency_key: str,
    files: Mapping[str, str] = MappingProxyType({}),
    url: str | None = None,
) -> int:
    """Copy the model folder below ``models_root`` and register it as the next version of ``name``.

    The same ``idempotency_key`` again returns the version that the first call made, and changes nothing.

    Args:
        files: name and text of what is kept beside the model, such as its report.

    Raises:
        InvalidInput: the name cannot be, or ``folder`` is no model.
    """
    _check_name(name)
    if not (folder / "MLmodel").is_file():
        raise InvalidInput(f"{folder} is not a model folder: it has no file MLmodel")
    with _only_writer_of(models_root / name):
        made = _find(name, idempotency_key, url)
        if made is not None:
            return made
        # No version names this folder yet: what an earlier try left is replaced.
        source = _copy(folder, models_root / name / key_folder(idempotency_key), files)
        return _create(name, source, tags, metrics, idempotency_key, url)


def check(folder: Path) -> None:
    """Load the model folder as a model server would, and ask it something.

    Raises:
        InvalidInput: a format or a type that may not be loaded, features that are not those of its ``dataset.yaml``, or
            answers that are no probabilities.
        Corrupted: a file is cut short or was changed since its checksum was taken.
        NotFound: there is no model.
    """
    from learnloop.serving.models import ModelSet
    from learnloop.training.models import load

    ModelSet(lambda name, version: folder, load).load(folder.name, 1)


def set_alias(name: str, alias: str, version: int, url: str | None = None) -> None:
    """Point ``{name}@{alias}`` at a version.

    Raises:
        NotFound: there is no such version.
    """
    source_of(name, version, url)
    _client(url).set_registered_model_alias(name, alias, str(version))


def remove_alias(name: str, alias: str, url: str | None = None) -> None:
    """Have ``{name}@{alias}`` point at nothing; again, it changes nothing."""
    if version_of(name, alias, url) is not None:
        _client(url).delete_registered_model_alias(name, alias)


def set_tags(name: str, version: int, tags: Mapping[str, str], url: str | None = None) -> None:
    """Say something of a version; what was said under the same names before is replaced.

    Raises:
        NotFound: there is no such version.
    """
    source_of(name, version, url)
    client = _client(url)
    for key, value in tags.items():
        client.set_model_version_tag(name, str(version), key, value)


def version_of(name: str, alias: str, url: str | None = None) -> int | None:
    """The version that ``{name}@{alias}`` points at; None when nothing does."""
    with engine(_url(url)).connect() as connection:
        found = connection.scalar(
            select(_aliases.c.version).where(
                _aliases.c.name == name, _aliases.c.alias == alias, _aliases.c.workspace == _WORKSPACE
            )
        )
    return None if found is None else int(found)


def source_of(name: str, version: int, url: str | None = None) -> Path:
    """The folder of a version; ``manifest.json`` in it holds its checksums.

    Raises:
        NotFound: there is no such version.
    """
    with engine(_url(url)).connect() as connection:
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


def file_of(name: str, version: int, file: str, url: str | None = None) -> str:
    """The text of what was registered with a version.

    Raises:
        NotFound: there is no such version, or it has no such file.
    """
    try:
        return (source_of(name, version, url) / file).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"version {version} of model {name!r} has no {file}: it was registered without") from error


def names(*, after: str = "", limit: int | None = None, url: str | None = None) -> list[str]:
    """The names of the registered models that have a version, by name: those after ``after``, at most ``limit``."""
    name = cast(_versions.c.name, Text).collate("C")  # the order that "after" means, whatever the database's is
    wanted = select(name).where(*_LIVE, name > after).distinct().order_by(name).limit(limit)
    with engine(_url(url)).connect() as connection:
        return list(connection.scalars(wanted))


def get_version(name: str, version: int, url: str | None = None) -> RegisteredVersion:
    """One version.

    Raises:
        NotFound: there is no such version.
    """
    with reading(_url(url)) as db:
        rows, tags, aliases = (
            db.execute(_OF_VERSION[of], {"name": name, "version": version}).all()
            for of in ("versions", "tags", "aliases")
        )
    found = _versions_of([row for row in rows if row.current_stage != "Deleted_Internal"], tags, aliases)
    if not found:
        raise NotFound(f"there is no version {version} of model {name!r}")
    return found[0]


def list_versions(
    name: str, url: str | None = None, *, before: int | None = None, limit: int | None = None
) -> list[RegisteredVersion]:
    """Versions of a model, the newest first: those before ``before``, at most ``limit``. None when it has none."""
    with reading(_url(url)) as db:
        rows = db.execute(
            _PAGE, {"name": name, "before": LAST_VERSION if before is None else before, "limit": limit}
        ).all()
        if not rows:
            return []
        between = {"name": name, "first": rows[0].version, "last": rows[-1].version}
        return _versions_of(rows, *(db.execute(_BETWEEN[of], between).all() for of in ("tags", "aliases")))


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
            tags={key: value for key, value in of_row.items() if not key.startswith(METRIC_PREFIX)},
            metrics={
                key.removeprefix(METRIC_PREFIX): float(value)
                for key, value in of_row.items()
                if key.startswith(METRIC_PREFIX)
            },
            created_at=datetime.fromtimestamp(row.creation_time / 1000, UTC),
        )
        for row in rows
        for of_row in (said.get(int(row.version), {}),)
    ]


def _find(name: str, idempotency_key: str, url: str | None) -> int | None:
    with engine(_url(url)).connect() as connection:
        found = connection.scalar(
            select(_tags.c.version).where(
                _tags.c.name == name,
                _tags.c.key == KEY_TAG,
                _tags.c.value == idempotency_key,
                _tags.c.workspace == _WORKSPACE,
            )
        )
    return None if found is None else int(found)


def _create(
    name: str, source: Path, tags: Mapping[str, str], metrics: Mapping[str, float], key: str, url: str | None
) -> int:
    client = _client(url)
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # Version and tags are one transaction of MLflow's, so a version without its key cannot be.
    made = client.create_model_version(
        name,
        str(source),
        tags={
            **tags,
            **{METRIC_PREFIX + metric: repr(float(value)) for metric, value in metrics.items()},
            KEY_TAG: key,
        },
    )
    return int(made.version)


def _copy(folder: Path, target: Path, files: Mapping[str, str]) -> Path:
    temporary = target.with_name(f".{target.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(folder, temporary)
    for name, text in files.items():
        (temporary / name).write_text(text, encoding="utf-8")
    write_manifest(temporary)
    for path in files_below(temporary):
        fsync_file(path)
        fsync_folder(path.parent)
    if target.exists():
        shutil.rmtree(target)
    temporary.rename(target)
    fsync_folder(target.parent)
    return target


@contextmanager
def _only_writer_of(folder: Path) -> Iterator[None]:
    """One process at a time registers versions of one model; the kernel lets go when a process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _client(url: str | None) -> MlflowClient:
    quieten_mlflow()
    from mlflow.tracking import MlflowClient

    quieten_mlflow()  # again: importing MLflow sets its own log level
    return MlflowClient(tracking_uri=_url(url), registry_uri=_url(url))


def _url(url: str | None) -> str:
    chosen = url or settings().mlflow_url
    if not chosen.startswith("postgresql"):
        raise Unavailable(
            "the model registry is not configured: LEARNLOOP_MLFLOW_URL must be the PostgreSQL URL of MLflow's database"
            " (postgresql+psycopg://user@host/mlflow). Is the stack up? `make up` sets it."
        )
    return chosen


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"model name {name!r} cannot be: it needs a letter or digit, then letters, digits, '_', '.' or '-', at most 200"
        )


def main(arguments: list[str]) -> int:
    if arguments != ["prepare"]:
        print(__doc__, file=sys.stderr)  # noqa: T201
        return 2
    prepare()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
