"""A registry on an MLflow server that is there already: asked over HTTP by MLflow's own client.

A version's files are artefacts of a run there, in the experiment ``learnloop``. Below the folder of models is a copy of
those that are used here: what was registered here is there from the start, another is fetched once. MLflow's client is
imported by whoever asks, which takes seconds, and finds its credentials in MLflow's own variables
(``MLFLOW_TRACKING_TOKEN``, ...).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnloop.errors import InvalidInput, NotFound, Unavailable
from learnloop.jobs.checksums import MANIFEST, check_manifest, fsync_folder
from learnloop.jobs.namespace import key_folder
from learnloop.models.registered import KEY_TAG, LAST_VERSION, NAME, RegisteredVersion, split_tags
from learnloop.settings import settings
from learnloop.training.quiet import quieten_mlflow

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "learnloop"
ARTEFACTS = "model"
# MLflow's own patience is minutes, which no page has.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


def client_of(url: str) -> MlflowClient:
    """MLflow's client of a server, or of a database."""
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    quieten_mlflow()
    from mlflow.tracking import MlflowClient

    quieten_mlflow()  # again: importing MLflow sets its own log level
    return MlflowClient(tracking_uri=url, registry_uri=url)


@contextmanager
def told(url: str) -> Iterator[None]:
    """What MLflow raises, as our errors.

    Raises:
        NotFound: there is no such model, version or alias.
        InvalidInput: MLflow refuses what it was asked.
        Unavailable: the server does not answer, or does not let us in.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFound(f"the MLflow server at {url} has none: {error.message}") from error
        if error.error_code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
            raise InvalidInput(f"the MLflow server at {url} refuses: {error.message}") from error
        raise Unavailable(f"the MLflow server at {url} does not do it: {error.message}") from error


def names(url: str, *, after: str, limit: int | None) -> list[str]:
    client = client_of(url)
    with told(url):
        found = _all(lambda token: client.search_registered_models(page_token=token))
        return sorted(model.name for model in found if model.latest_versions and model.name > after)[:limit]


def version_of(url: str, name: str, alias: str) -> int | None:
    try:
        return _aliases(url, name).get(alias)
    except NotFound:
        return None


def versions(url: str, name: str, *, before: int, limit: int | None) -> list[RegisteredVersion]:
    client = client_of(url)
    with told(url):
        found = _all(lambda token: client.search_model_versions(f"name = '{name}'", page_token=token))
    if not found:
        return []
    aliases = _aliases(url, name)
    newest = sorted((one for one in found if int(one.version) < before), key=lambda one: -int(one.version))
    return [_version(one, aliases) for one in newest[:limit]]


def version(url: str, name: str, version: int) -> RegisteredVersion | None:
    client = client_of(url)
    try:
        with told(url):
            found = client.get_model_version(name, str(version))
        return _version(found, _aliases(url, name))
    except NotFound:
        return None


def find(url: str, name: str, idempotency_key: str) -> int | None:
    made = [
        found.version
        for found in versions(url, name, before=LAST_VERSION, limit=None)
        if found.tags.get(KEY_TAG) == idempotency_key
    ]
    return min(made, default=None)


def source_of(url: str, name: str, version: int) -> Path:
    """The folder of a version, fetched from the server where it is not here yet.

    Raises:
        Corrupted: what came is not what was registered.
    """
    client = client_of(url)
    with told(url):
        found = client.get_model_version(name, str(version))
    place = _place(found)
    if not place.is_dir():
        _fetch(url, client, name, version, place)
    return place


def keep(url: str, name: str, folder: Path, metrics: Mapping[str, float]) -> tuple[str, str]:
    """Make the folder artefacts of a new run on the server. Returns their address there, and the run's id."""
    client = client_of(url)
    with told(url):
        experiment = client.get_experiment_by_name(EXPERIMENT)
        experiment_id = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT)
        run = client.create_run(experiment_id, run_name=f"{name} {folder.name}"[:250])
        for metric, value in metrics.items():
            client.log_metric(run.info.run_id, metric, float(value))
        client.log_artifacts(run.info.run_id, str(folder), ARTEFACTS)
        client.set_terminated(run.info.run_id)
    return f"{run.info.artifact_uri}/{ARTEFACTS}", run.info.run_id


def _fetch(url: str, client: MlflowClient, name: str, version: int, place: Path) -> None:
    from mlflow.artifacts import download_artifacts

    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.{os.getpid()}.fetched")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        with told(url):
            address = client.get_model_version_download_uri(name, str(version))
            fetched = Path(download_artifacts(address, dst_path=str(temporary), tracking_uri=url))
        if (fetched / MANIFEST).exists():
            check_manifest(fetched)
        try:
            fetched.rename(place)
        except OSError:
            if not place.is_dir():  # else another process was faster
                raise
        fsync_folder(place.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _version(found: Any, aliases: Mapping[str, int]) -> RegisteredVersion:
    number = int(found.version)
    return RegisteredVersion(
        name=found.name,
        version=number,
        source=_place(found),
        aliases=tuple(sorted(alias for alias, points_at in aliases.items() if points_at == number)),
        created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        **split_tags(found.tags),
    )


def _aliases(url: str, name: str) -> dict[str, int]:
    client = client_of(url)
    with told(url):
        return {alias: int(number) for alias, number in client.get_registered_model(name).aliases.items()}


def _place(found: Any) -> Path:
    """Where a version's files are here: where its registration here put them, or where they are fetched to."""
    if not NAME.fullmatch(found.name):  # others name models there, too
        raise InvalidInput(
            f"model {found.name!r} cannot be used here: its name must be letters, digits, '_', '.' or '-'"
        )
    key = found.tags.get(KEY_TAG)
    below: Path = settings().models / found.name
    return below / (key_folder(key) if key else f"version-{found.version}")


def _all(page: Any) -> list[Any]:
    """What all pages of a list hold."""
    found, token = [], None
    while True:
        part = page(token)
        found += part
        token = part.token
        if not token:
            return found
