"""Registered models: MLflow's registry for names, versions, tags and aliases; a folder of ours for the files.

What changes the registry goes through MLflow's client, imported late: that import takes seconds. What only reads is
one SQL statement on MLflow's tables (`registry_sql`), so that model servers and pages never import MLflow at all. Where
LEARNLOOP_MLFLOW_URL is the address of an MLflow server, it is asked instead (`registry_server`).

    python -m learnloop.models.registry prepare     makes MLflow's tables, once, at set-up
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from learnloop.errors import Conflict, InvalidInput, NotFound, Unavailable
from learnloop.jobs.checksums import files_below, fsync_file, fsync_folder, write_manifest
from learnloop.jobs.namespace import key_folder
from learnloop.models import registry_server, registry_sql
from learnloop.models.registered import LAST_VERSION, NAME, Reads, RegisteredVersion, joined_tags
from learnloop.settings import settings
from learnloop.training.onnx_files import FILE as ONNX_FILE

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def prepare(url: str | None = None) -> None:
    """Make or upgrade MLflow's tables. Run it once before anything else uses the registry."""
    with _changing(url) as client:
        client.search_registered_models(max_results=1)


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

    A folder with ``model.onnx`` and no MLmodel gets one, so that MLflow knows what it is. The same ``idempotency_key``
    again returns the version that the first call made, and changes nothing.

    Args:
        files: name and text of what is kept beside the model, such as its report.

    Raises:
        InvalidInput: the name cannot be, or ``folder`` is no model.
    """
    _check_name(name)
    if not (folder / "MLmodel").is_file() and not (folder / ONNX_FILE).is_file():
        raise InvalidInput(f"{folder} is not a model folder: it has neither a file MLmodel nor {ONNX_FILE}")
    with _only_writer_of(models_root / name):
        made = _reads(url).find(_url(url), name, idempotency_key)
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
    with _changing(url) as client:
        client.set_registered_model_alias(name, alias, str(version))


def remove_alias(name: str, alias: str, url: str | None = None) -> None:
    """Have ``{name}@{alias}`` point at nothing; again, it changes nothing."""
    if version_of(name, alias, url) is not None:
        with _changing(url) as client:
            client.delete_registered_model_alias(name, alias)


def set_tags(name: str, version: int, tags: Mapping[str, str], url: str | None = None) -> None:
    """Say something of a version; what was said under the same names before is replaced.

    Raises:
        NotFound: there is no such version.
    """
    source_of(name, version, url)
    with _changing(url) as client:
        for key, value in tags.items():
            client.set_model_version_tag(name, str(version), key, value)


def remove_tag(name: str, version: int, key: str, url: str | None = None) -> None:
    """Say no more under ``key`` of a version; again, it changes nothing.

    Raises:
        NotFound: there is no such version.
    """
    if key in get_version(name, version, url).tags:
        with _changing(url) as client:
            client.delete_model_version_tag(name, str(version), key)


def remove(name: str, version: int, url: str | None = None) -> None:
    """Take a version away for good. Its files go first, so that a call that was killed is simply made again.

    Raises:
        NotFound: there is no such version.
        Conflict: an alias points at it.
    """
    found = get_version(name, version, url)
    if found.aliases:
        raise Conflict(f"{name} version {version} is {', '.join(found.aliases)}: move the alias first")
    shutil.rmtree(found.source, ignore_errors=not found.source.exists())
    with _changing(url) as client:
        if _is_server(_url(url)) and (run := client.get_model_version(name, str(version)).run_id):
            client.delete_run(run)
        client.delete_model_version(name, str(version))


def version_of(name: str, alias: str, url: str | None = None) -> int | None:
    """The version that ``{name}@{alias}`` points at; None when nothing does."""
    return _reads(url).version_of(_url(url), name, alias)


def source_of(name: str, version: int, url: str | None = None) -> Path:
    """The folder of a version; ``manifest.json`` in it holds its checksums.

    Raises:
        NotFound: there is no such version.
    """
    return _reads(url).source_of(_url(url), name, version)


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
    return _reads(url).names(_url(url), after=after, limit=limit)


def get_version(name: str, version: int, url: str | None = None) -> RegisteredVersion:
    """One version.

    Raises:
        NotFound: there is no such version.
    """
    found = _reads(url).version(_url(url), name, version)
    if found is None:
        raise NotFound(f"there is no version {version} of model {name!r}")
    return found


def list_versions(
    name: str, url: str | None = None, *, before: int | None = None, limit: int | None = None
) -> list[RegisteredVersion]:
    """Versions of a model, the newest first: those before ``before``, at most ``limit``. None when it has none."""
    return _reads(url).versions(_url(url), name, before=LAST_VERSION if before is None else before, limit=limit)


def _create(
    name: str, source: Path, tags: Mapping[str, str], metrics: Mapping[str, float], key: str, url: str | None
) -> int:
    with _changing(url) as client:
        from mlflow.exceptions import MlflowException

        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        at, run = str(source), None
        if _is_server(_url(url)):
            at, run = registry_server.keep(_url(url), name, source, metrics)
        # Version and tags are one transaction of MLflow's, so a version without its key cannot be.
        made = client.create_model_version(name, at, run_id=run, tags=joined_tags(tags, metrics, key))
        return int(made.version)


def _copy(folder: Path, target: Path, files: Mapping[str, str]) -> Path:
    temporary = target.with_name(f".{target.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(folder, temporary)
    for name, text in files.items():
        (temporary / name).write_text(text, encoding="utf-8")
    if not (temporary / "MLmodel").exists():
        _describe(temporary)
    write_manifest(temporary)
    for path in files_below(temporary):
        fsync_file(path)
        fsync_folder(path.parent)
    if target.exists():
        shutil.rmtree(target)
    temporary.rename(target)
    fsync_folder(target.parent)
    return target


def _describe(folder: Path) -> None:
    from learnloop.training.models import load
    from learnloop.training.saving import describe_onnx

    model = load(folder)
    describe_onnx(folder, model.classes, model.input_size)


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


@contextmanager
def _changing(url: str | None) -> Iterator[MlflowClient]:
    """MLflow's client; what a server answers is told as our errors."""
    chosen = _url(url)
    with registry_server.told(chosen) if _is_server(chosen) else nullcontext():
        yield registry_server.client_of(chosen)


def _reads(url: str | None) -> Reads:
    return registry_server if _is_server(_url(url)) else registry_sql


def _is_server(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _url(url: str | None) -> str:
    chosen = url or settings().mlflow_url
    if _is_server(chosen):
        if urlsplit(chosen).password is not None:
            raise InvalidInput(
                "LEARNLOOP_MLFLOW_URL must not have a password in it: MLflow reads MLFLOW_TRACKING_USERNAME and"
                " MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
    elif not chosen.startswith("postgresql"):
        raise Unavailable(
            "the model registry is not configured: LEARNLOOP_MLFLOW_URL must be the PostgreSQL URL of MLflow's database"
            " (postgresql+psycopg://user@host/mlflow), which `make up` sets, or the address of an MLflow server (https://...)"
        )
    return chosen


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
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
