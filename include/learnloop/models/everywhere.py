"""Waits until a deployment is served by all who serve it: the servers that read its row, and pods where there are such."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from learnloop.database import Deployment
from learnloop.errors import Conflict, LearnloopError, NotFound, Unavailable
from learnloop.models.deployment import (
    SessionFactory,
    require_a_server,
    restore,
    set_canary,
    wait_until_served,
)
from learnloop.settings import settings

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

    from learnloop.serving.cluster.served import ServedModels

Log = Callable[[str], None]
SETTLED = timedelta(minutes=2)
"""What was changed less long ago is whoever's who changed it."""


def wait_everywhere(
    sessions: SessionFactory,
    deployment_id: int,
    generation: int,
    *,
    timeout: float,
    together: Sequence[tuple[int, int]] = (),
    client: ApiClient | None = None,
    log: Log | None = None,
) -> datetime:
    """Wait until that generation is served. Returns since when it is.

    With ``serving_runner: kubernetes``, its pods are rolled out, and the servers that read rows, where there are any, are
    waited for first. A version that fails on either is taken back on both: what was served before goes on.

    Args:
        timeout: seconds, for each of the two.
        together: other deployments and their generations that are taken back with this one when its pods are refused.
        client: of the cluster; None: as `learnloop.serving.cluster.objects.connect` finds it.

    Raises:
        Conflict, NotFound, Unavailable: as `wait_until_served`; a rollout that takes too long is taken back as well.
    """
    if settings().serving_runner != "kubernetes":
        return wait_until_served(sessions, deployment_id, generation, timeout=timeout)
    from learnloop.serving.cluster.connected import read_live_requests, rows_of, served_models

    with sessions() as db:
        row = db.get(Deployment, deployment_id)
        if row is None:
            raise NotFound(f"deployment {deployment_id} does not exist")
        model, alias, version = row.model_name, row.alias, row.model_version
    what = f"{model}:{alias} version {version}"
    cluster = served_models(client, log, sessions)
    if _servers_read_rows(sessions):
        wait_until_served(sessions, deployment_id, generation, timeout=timeout)
    try:
        read_live_requests(client, log, sessions=sessions, model=model)  # of the pods that are going to end
    except LearnloopError as error:
        logging.getLogger(__name__).warning("What pods noted of live requests was not read: %s", error)
    try:
        cluster.follow(model, rows_of(sessions, model), wait_for=(alias,), timeout=timeout)
    except LearnloopError as error:
        restored = restore(sessions, deployment_id, generation)
        for other in together:
            restore(sessions, *other)
        back = _take_back(cluster, sessions, model)
        kind = Unavailable if isinstance(error, Unavailable) else Conflict
        raise kind(f"{what} was not deployed ({restored}{back}): {error}") from error
    return datetime.now(UTC)


def lead_pods_back(
    sessions: SessionFactory, model: str, client: ApiClient | None = None, log: Log | None = None
) -> None:
    """Have the pods of ``model``, where there are such, be what its rows say, without waiting.

    What cannot be done now is left to ``platform_maintenance``, and told.
    """
    if settings().serving_runner != "kubernetes":
        return
    from learnloop.serving.cluster.connected import served_models

    if left := _take_back(served_models(client, log, sessions), sessions, model):
        logging.getLogger(__name__).warning("%s%s", model, left)


def take_back_refused(sessions: SessionFactory, model: str, cluster: ServedModels) -> list[str]:
    """Lead aliases away from versions whose pods refuse to serve, where nobody waits for them any more.

    Whoever deploys a version takes it back itself when it is refused, unless it is killed before. What was changed less than
    two minutes ago is left to it. Returns what was taken back, and why.
    """
    from learnloop.serving.cluster.connected import rows_of
    from learnloop.serving.cluster.units import wanted_of

    rows = {row.id: row for row in rows_of(sessions, model)}
    taken = []
    for unit in wanted_of(model, list(rows.values())).units:
        if datetime.now(UTC) - rows[unit.row].updated_at < SETTLED:
            continue
        stable, canary = cluster.refusals(unit)
        if canary is not None and stable is None:
            with sessions() as db:
                set_canary(db, model_name=model, alias=unit.alias, version=None, percent=0, owner=rows[unit.row].owner)
            taken.append(f"{model}:{unit.alias}: its canary, version {unit.canary}, was ended: {canary}")
        if stable is not None:
            restored = restore(sessions, unit.row, unit.generation)
            for row in rows.values():  # `current`, which follows its alias
                if row.id != unit.row and row.model_version == unit.version:
                    restore(sessions, row.id, row.generation)
            taken.append(f"{model}:{unit.alias} version {unit.version} was taken back ({restored}): {stable}")
    return taken


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
