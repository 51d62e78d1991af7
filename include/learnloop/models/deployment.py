"""What should be served: deployment rows, waiting until every model server has it, rollback, leases.

A server never sees a change before its transaction commits, and hears of it at once (``NOTIFY``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import CanaryWatch, Dataset, Deployment, DeploymentStatus, ModelLease, ServerReplica
from learnloop.errors import Conflict, InvalidInput, NotFound, Unavailable

DEPLOYMENTS_CHANNEL = "learnloop_deployments"
ALIASES = ("base", "realtime", "optimized", "current")
LIVE_WITHIN = timedelta(seconds=10)
"""A server whose heartbeat is older than this does not count."""
POLL_SECONDS = 0.05

SessionFactory = Callable[[], AbstractContextManager[Session]]


def deploy(session: Session, *, dataset_id: int, model_name: str, alias: str, version: int, owner: str) -> Deployment:
    """Ask the servers to serve ``version`` as ``{model_name}:{alias}``. The same version again changes nothing.

    Raises:
        InvalidInput: there is no such alias, or the name or version cannot be.
        NotFound: no such dataset.
        Conflict: the name is another dataset's.
    """
    _check_names(model_name, version)
    if alias not in ALIASES:
        raise InvalidInput(f"alias {alias!r} of model {model_name!r} must be one of {', '.join(ALIASES)}")
    if session.get(Dataset, dataset_id) is None:
        raise NotFound(f"dataset {dataset_id} does not exist, so {model_name}:{alias} cannot be deployed for it")
    new = insert(Deployment).values(
        dataset_id=dataset_id, model_name=model_name, alias=alias, model_version=version, generation=1, owner=owner
    )
    inserted = session.scalar(new.on_conflict_do_nothing().returning(Deployment.id))
    row = _locked(session, model_name, alias)
    if row.dataset_id != dataset_id:
        raise Conflict(f"{model_name}:{alias} belongs to dataset {row.dataset_id}, not to dataset {dataset_id}")
    if inserted is None and row.model_version == version:
        return row
    if inserted is None:
        _change(session, row, version, previous=row.model_version, owner=owner)
    _notify(session)
    return row


def rollback(session: Session, model_name: str, alias: str, owner: str) -> Deployment:
    """Ask the servers to serve the version before again; rolling back twice returns to where one was.

    Raises:
        NotFound: nothing is deployed under that alias.
        Conflict: there is no version before.
    """
    row = _locked(session, model_name, alias)
    if row.previous_version is None:
        raise Conflict(f"{model_name}:{alias} has no version before {row.model_version} to roll back to")
    _change(session, row, row.previous_version, previous=row.model_version, owner=owner)
    _notify(session)
    return row


def require_a_server(session: Session) -> None:
    """Raise Conflict when no model server is live: then nothing that is deployed would be served."""
    live = select(ServerReplica.name).where(ServerReplica.seen_at > func.now() - LIVE_WITHIN).limit(1)
    if session.scalar(live) is None:
        raise Conflict("no model server is running, so nothing was changed: start one, then do it again")


class Replaced(Conflict):
    """Others changed a deployment while it was waited for."""


def wait_until_served(session_factory: SessionFactory, deployment_id: int, generation: int, timeout: float) -> datetime:
    """Wait until every live server (at least one) serves that generation. Returns since when all do.

    When a server reports that the version failed, the version before is restored (a first deployment is taken
    away): on that server the alias never moved. A timeout restores nothing: the servers go on trying.

    Args:
        session_factory: such as ``learnloop.database.session``.
        timeout: seconds.

    Raises:
        Conflict: a server could not load the version, or it failed its smoke test, for the reason given.
        Replaced: the deployment was changed meanwhile.
        NotFound: the deployment does not exist (any more).
        Unavailable: no server, or not every server, was ready in time.
    """
    deadline = time.monotonic() + timeout
    while True:
        with session_factory() as session:
            row = session.get(Deployment, deployment_id)
            if row is None:
                raise NotFound(f"deployment {deployment_id} does not exist")
            what = f"{row.model_name}:{row.alias} version {row.model_version}"
            if row.generation != generation:
                raise Replaced(f"{what} is generation {row.generation}; {generation} was replaced before it was served")
            replicas = _live_statuses(session, deployment_id, generation)
        failed = [
            f"{name}: {status.message}" for name, status in replicas.items() if status and status.state == "failed"
        ]
        if failed:
            restored = restore(session_factory, deployment_id, generation)
            raise Conflict(f"{what} was not deployed ({restored}): {'; '.join(failed)}")
        ready = [status.reported_at for status in replicas.values() if status and status.state == "ready"]
        if ready and len(ready) == len(replicas):
            return max(ready)
        if time.monotonic() > deadline:
            waiting = [name for name, status in replicas.items() if status is None or status.state != "ready"]
            missing = f"these are not ready: {', '.join(waiting)}" if replicas else "no model server is running"
            raise Unavailable(f"{what} is not served after {timeout:.0f} s: {missing}")
        time.sleep(POLL_SECONDS)


def lease_model(
    session: Session, *, model_name: str, version: int, holder: str, duration: timedelta, owner: str
) -> ModelLease:
    """Keep a version loaded in every server for ``duration`` from now; again by the same holder: from now again.

    Raises:
        InvalidInput: the name, the version or the duration cannot be.
    """
    _check_names(model_name, version)
    if duration <= timedelta(0) or not holder:
        raise InvalidInput(f"a lease needs a holder and a duration above 0, not {holder!r} and {duration}")
    expires_at = func.now() + duration
    lease = insert(ModelLease).values(
        model_name=model_name, model_version=version, holder=holder, expires_at=expires_at, owner=owner
    )
    renewed = lease.on_conflict_do_update(
        index_elements=["model_name", "model_version", "holder"], set_={"expires_at": expires_at}
    ).returning(ModelLease)
    row = session.scalars(renewed, execution_options={"populate_existing": True}).one()
    _notify(session)
    return row


def release_model(session: Session, *, model_name: str, version: int, holder: str) -> None:
    """Give a lease back; nothing happens when it is gone already."""
    session.execute(
        delete(ModelLease).where(
            ModelLease.model_name == model_name, ModelLease.model_version == version, ModelLease.holder == holder
        )
    )
    _notify(session)


def served_version(session: Session, model_name: str, alias: str) -> int | None:
    """The version that should be served under ``{model_name}:{alias}``; None when nothing is deployed there."""
    return session.scalar(
        select(Deployment.model_version).where(Deployment.model_name == model_name, Deployment.alias == alias)
    )


def canary_version(session: Session, model_name: str, alias: str) -> int | None:
    """The version that answers a share of the requests for ``{model_name}:{alias}``; None when none does."""
    return session.scalar(
        select(Deployment.canary_version).where(Deployment.model_name == model_name, Deployment.alias == alias)
    )


def set_canary(
    session: Session,
    *,
    model_name: str,
    alias: str,
    version: int | None,
    percent: int,
    owner: str,
    rules: Mapping[str, Any] | None = None,
) -> Deployment:
    """Have ``percent`` of the requests for ``{model_name}:{alias}`` answered by ``version``; None: by its own alone.

    Args:
        rules: by which it is judged, as fields of `learnloop.serving.cluster.judging.Rules`; None: by its defaults.

    Raises:
        InvalidInput: the percentage cannot be, or the version is the alias's own.
        NotFound: nothing is deployed under that alias.
    """
    row = _locked(session, model_name, alias)
    if version is not None:
        _check_names(model_name, version)
        if not 1 <= percent <= 99:
            raise InvalidInput(f"a canary of {model_name}:{alias} gets 1 to 99 percent of the requests, not {percent}")
        if version == row.model_version:
            raise InvalidInput(f"version {version} is what {model_name}:{alias} serves: a canary is another version")
    wanted = (version, percent if version is not None else 0)
    if (row.canary_version, row.canary_percent) != wanted:
        row.canary_version, row.canary_percent = wanted
        row.generation += 1
        row.owner = owner
        session.execute(delete(CanaryWatch).where(CanaryWatch.deployment_id == row.id))
        if version is not None:
            pair = {"model_version": row.model_version, "canary_version": version}
            session.add(CanaryWatch(deployment_id=row.id, **pair, rules=dict(rules or {}), seen={}))
        session.flush()
        _notify(session)
    return row


def withdraw_version(session: Session, row: Deployment, version: int, *, owner: str) -> None:
    """Have a locked row serve ``version`` no longer: the one before it, or without it as a canary."""
    if row.canary_version == version:
        row.canary_version, row.canary_percent = None, 0
    if row.model_version == version and row.previous_version is not None:
        row.model_version, row.previous_version = row.previous_version, None
    row.generation += 1
    row.owner = owner
    session.flush()
    _notify(session)


def withdraw(session: Session, model_name: str, alias: str) -> Deployment:
    """Serve nothing under ``{model_name}:{alias}`` any more. Returns what was there.

    Raises:
        NotFound: nothing is deployed there.
        InvalidInput: it is ``current``, which scoring and untagged requests use.
    """
    if alias == "current":
        raise InvalidInput(f"{model_name}:current stays: scoring and untagged requests use it; promote another version")
    row = _locked(session, model_name, alias)
    session.delete(row)
    session.flush()
    _notify(session)
    return row


def lease_holders(session: Session, *, model_name: str, version: int) -> list[str]:
    """Who holds a live lease on a version."""
    wanted = select(ModelLease.holder).where(
        ModelLease.model_name == model_name, ModelLease.model_version == version, ModelLease.expires_at > func.now()
    )
    return list(session.scalars(wanted.order_by(ModelLease.holder)))


def _check_names(model_name: str, version: int) -> None:
    if not model_name or set(model_name) & {":", "/"}:
        raise InvalidInput(f"model name {model_name!r} must not be empty or hold ':' or '/'")
    if version < 1:
        raise InvalidInput(f"version {version} of model {model_name!r} must be 1 or more")


def _locked(session: Session, model_name: str, alias: str) -> Deployment:
    # FOR NO KEY UPDATE: servers that report on the row meanwhile (they refer to its key) need not wait.
    row = session.scalar(
        select(Deployment)
        .where(Deployment.model_name == model_name, Deployment.alias == alias)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise NotFound(f"nothing is deployed as {model_name}:{alias}")
    return row


def _change(session: Session, row: Deployment, version: int, *, previous: int | None, owner: str) -> None:
    row.previous_version = previous
    row.model_version = version
    row.canary_version, row.canary_percent = None, 0  # it was measured against the version that goes
    row.generation += 1
    row.owner = owner
    session.flush()


def _notify(session: Session) -> None:
    session.execute(text(f"NOTIFY {DEPLOYMENTS_CHANNEL}"))


def _live_statuses(session: Session, deployment_id: int, generation: int) -> dict[str, DeploymentStatus | None]:
    """Every live server, with what it reports of that generation (None: nothing yet)."""
    rows = session.execute(
        select(ServerReplica.name, DeploymentStatus)
        .outerjoin(
            DeploymentStatus,
            (DeploymentStatus.replica == ServerReplica.name)
            & (DeploymentStatus.deployment_id == deployment_id)
            & (DeploymentStatus.generation == generation),
        )
        .where(ServerReplica.seen_at > func.now() - LIVE_WITHIN)
    )
    return {row[0]: row[1] for row in rows}


def restore(session_factory: SessionFactory, deployment_id: int, generation: int) -> str:
    """Undo a generation that failed, unless it was replaced meanwhile. Returns what is so now."""
    with session_factory() as session:
        row = session.scalar(select(Deployment).where(Deployment.id == deployment_id).with_for_update(key_share=True))
        if row is None or row.generation != generation:
            return "it was replaced meanwhile"
        if row.canary_version is not None:
            # A canary made this generation: the alias's own version was served before it, and goes on being.
            set_canary(session, model_name=row.model_name, alias=row.alias, version=None, percent=0, owner=row.owner)
            return "its canary was ended"
        if row.previous_version is None:
            session.delete(row)
            restored = "nothing was served before"
        else:
            # The failed version is no version to roll back to.
            _change(session, row, row.previous_version, previous=None, owner=row.owner)
            restored = f"version {row.model_version} goes on being served"
        _notify(session)
        session.flush()
        return restored
