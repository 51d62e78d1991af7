"""Waits until a deployment is served by all who serve it: the servers that read its row, and pods where there are such."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from learnloop.database import Deployment
from learnloop.errors import Conflict, LearnloopError, NotFound, Unavailable
from learnloop.models.deployment import (
    SessionFactory,
    require_a_server,
    restore,
    wait_until_served,
)
from learnloop.settings import settings

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

    from learnloop.serving.cluster.served import ServedModels

Log = Callable[[str], None]


def wait_everywhere(
    sessions: SessionFactory,
    deployment_id: int,
    generation: int,
    *,
    timeout: float,
    client: ApiClient | None = None,
    log: Log | None = None,
) -> datetime:
    """Wait until that generation is served. Returns since when it is.

    With ``serving_runner: kubernetes``, its pods are rolled out, and the servers that read rows, where there are any, are
    waited for first. A version that fails on either is taken back on both: what was served before goes on.

    Args:
        timeout: seconds, for each of the two.
        client: of the cluster; None: as `learnloop.serving.cluster.objects.connect` finds it.

    Raises:
        Conflict, NotFound, Unavailable: as `wait_until_served`; a rollout that takes too long is taken back as well.
    """
    if settings().serving_runner != "kubernetes":
        return wait_until_served(sessions, deployment_id, generation, timeout=timeout)
    from learnloop.serving.cluster.connected import rows_of, served_models

    with sessions() as db:
        row = db.get(Deployment, deployment_id)
        if row is None:
            raise NotFound(f"deployment {deployment_id} does not exist")
        model, alias, version = row.model_name, row.alias, row.model_version
    what = f"{model}:{alias} version {version}"
    cluster = served_models(client, log)
    if _servers_read_rows(sessions):
        wait_until_served(sessions, deployment_id, generation, timeout=timeout)
    try:
        cluster.follow(model, rows_of(sessions, model), wait_for=(alias,), timeout=timeout)
    except LearnloopError as error:
        restored = restore(sessions, deployment_id, generation)
        back = _take_back(cluster, sessions, model)
        kind = Unavailable if isinstance(error, Unavailable) else Conflict
        raise kind(f"{what} was not deployed ({restored}{back}): {error}") from error
    return datetime.now(UTC)


def require_someone(sessions: SessionFactory) -> None:
    """Raise Conflict when nobody could serve anything: no model server is live, and none is made when it is needed."""
    if settings().serving_runner != "kubernetes":
        with sessions() as db:
            require_a_server(db)


def _servers_read_rows(sessions: SessionFactory) -> bool:
    try:
        with sessions() as db:
            require_a_server(db)
    except Conflict:
        return False
    return True


def _take_back(cluster: ServedModels, sessions: SessionFactory, model: str) -> str:
    """Have the cluster serve what the restored rows say. Returns what is to be added to the message."""
    from learnloop.serving.cluster.connected import rows_of

    try:
        cluster.follow(model, rows_of(sessions, model))
    except LearnloopError as error:
        return f"; its pods are left to platform_maintenance, since {error}"
    return ""
