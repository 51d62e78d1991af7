"""A person puts a version behind an alias, or takes it back: one call, waited for, kept with its reason."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from learnloop.database import Dataset, Deployment
from learnloop.errors import Conflict, InvalidInput, LearnloopError, NotFound
from learnloop.loop.decisions import record_decision
from learnloop.models import registry
from learnloop.models.deployment import (
    SessionFactory,
    deploy,
    restore,
    rollback,
    set_canary,
    withdraw,
)
from learnloop.models.everywhere import SETTLED, lead_pods_back, require_someone, wait_everywhere
from learnloop.serving.cluster.units import check_percent
from learnloop.settings import settings

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

    from learnloop.models.everywhere import Log

CURRENT = "current"
TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class Moved:
    """What is served now under ``{model}:{alias}``, since when on every live server, and what was before."""

    model: str
    alias: str
    version: int
    previous: int | None
    served_at: datetime


def move_aliases(
    sessions: SessionFactory,
    dataset_id: int,
    model: str,
    aliases: Sequence[str],
    version: int,
    *,
    by: str,
    timeout: float,
    client: ApiClient | None = None,
    log: Log | None = None,
) -> list[Moved]:
    """Serve ``version`` under all ``aliases`` everywhere, and say so in the registry: of all or of none.

    Refused, or ended from outside while it waits, it leads those that it has moved back, unless they were changed again
    meanwhile. Where servers only take too long, they go on trying. Raises as `promote`.

    Args:
        client, log: of the cluster where models are pods, as for `wait_everywhere`.
    """
    with sessions() as db:
        before = {alias: _served(db, model, alias) for alias in aliases}
        rows = {
            alias: deploy(db, dataset_id=dataset_id, model_name=model, alias=alias, version=version, owner=by)
            for alias in aliases
        }
        deployed = {alias: (row.id, row.generation) for alias, row in rows.items()}
        previous = {alias: row.previous_version for alias, row in rows.items()}
    changed = [deployed[alias] for alias in aliases if before[alias] != version]
    moved: list[Moved] = []
    try:
        for alias in aliases:
            served_at = wait_everywhere(
                sessions, *deployed[alias], timeout=timeout, together=changed, client=client, log=log
            )
            registry.set_alias(model, alias, version)
            moved.append(Moved(model, alias, version, previous[alias], served_at))
    except BaseException as error:
        if not (isinstance(error, LearnloopError) and _still(sessions, model, aliases[len(moved)], version)):
            _lead_back(sessions, model, changed, [one.alias for one in moved], client, log)
        raise
    return moved


def _still(sessions: SessionFactory, model: str, alias: str, version: int) -> bool:
    with sessions() as db:
        return _served(db, model, alias) == version


def _lead_back(
    sessions: SessionFactory,
    model: str,
    changed: Sequence[tuple[int, int]],
    registered: Sequence[str],
    client: ApiClient | None,
    log: Log | None,
) -> None:
    """Undo what was changed, in the rows, the registry and the pods."""
    for deployment in changed:
        restore(sessions, *deployment)
    for alias in registered:
        with sessions() as db:
            version = _served(db, model, alias)
        if version is None:
            registry.remove_alias(model, alias)
        else:
            registry.set_alias(model, alias, version)
    lead_pods_back(sessions, model, client, log)


def promote(
    sessions: SessionFactory,
    model: str,
    alias: str,
    version: int,
    *,
    by: str,
    reason: str = "",
    timeout: float = TIMEOUT_SECONDS,
) -> list[Moved]:
    """Serve ``version`` as ``{model}:{alias}`` and as ``{model}:current``, which scoring and untagged requests use.

    Returns once every live server has it. Again, it changes nothing.

    Raises:
        NotFound: there is no such model or version.
        InvalidInput: there is no such alias.
        Conflict: no server runs, one could not load it, or its smoke test failed; what was served before goes on being
            served.
        Unavailable: no server, or not every server, had it in time.
    """
    registry.source_of(model, version)
    require_someone(sessions)
    with sessions() as db:
        dataset_id = _dataset_of(db, model).id
    aliases = list(dict.fromkeys((alias, CURRENT)))
    moved = move_aliases(sessions, dataset_id, model, aliases, version, by=by, timeout=timeout)
    _remember(sessions, "promotion", model, version, f"{', '.join(aliases)}: {reason or 'no reason given'}", by)
    return moved


def roll_back(
    sessions: SessionFactory,
    model: str,
    alias: str,
    *,
    by: str,
    reason: str = "",
    seen: int | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> list[Moved]:
    """Serve again the version that ``{model}:{alias}`` had before, and ``current`` with it if that had the same.

    Args:
        seen: the version that is to be taken back: said, a call that comes twice rolls back once.

    Raises:
        NotFound: nothing is deployed there.
        Conflict: there is no version before, another than ``seen`` is served, no server runs, or one could not load it.
        Unavailable: no server, or not every server, had it in time.
    """
    with sessions() as db:
        before = _served(db, model, alias)
        if before is None:
            raise NotFound(f"nothing is deployed as {model}:{alias}")
        require_someone(sessions)
        if seen not in (None, before):
            raise Conflict(f"{model}:{alias} serves version {before}, not {seen}: look again before rolling it back")
        rows = [rollback(db, model, alias, by)]
        version = rows[0].model_version
        if alias != CURRENT and _served(db, model, CURRENT) == before:
            rows.append(
                deploy(
                    db,
                    dataset_id=rows[0].dataset_id,
                    model_name=model,
                    alias=CURRENT,
                    version=version,
                    owner=by,
                )
            )
        wanted = [(row.alias, row.id, row.generation) for row in rows]
    moved = []
    for name, deployment_id, generation in wanted:
        served_at = wait_everywhere(sessions, deployment_id, generation, timeout=timeout)
        registry.set_alias(model, name, version)
        moved.append(Moved(model, name, version, before, served_at))
    _remember(sessions, "rollback", model, version, f"{alias}: from {before}: {reason or 'no reason given'}", by)
    return moved


def canary(
    db: Session,
    model: str,
    alias: str,
    version: int | None,
    *,
    percent: int,
    by: str,
    reason: str = "",
    rules: Mapping[str, Any] | None = None,
) -> Deployment:
    """Have ``version`` answer ``percent`` of the requests for ``{model}:{alias}``; None: its own version answers all.

    One that does worse than what it stands beside is ended: by ``platform_maintenance``, by the rules given, else those that
    `learnloop.serving.cluster.judging.Rules` has; at once by a model server that sees it err where the other does not.

    Raises:
        NotFound: there is no such version, or nothing is deployed under that alias.
        InvalidInput: the percentage cannot be, or the version is the alias's own.
    """
    if version is not None:
        if settings().serving_runner == "kubernetes":
            check_percent(model, alias, percent)
        registry.source_of(model, version)
    row = set_canary(db, model_name=model, alias=alias, version=version, percent=percent, owner=by, rules=rules)
    what = f"version {version} answers {percent} %" if version is not None else "ended"
    _record(db, "canary", model, version or row.model_version, f"{alias}: {what}: {reason or 'no reason given'}", by)
    return row


def take_away(db: Session, model: str, alias: str, *, by: str) -> Deployment:
    """Serve nothing under ``{model}:{alias}`` any more; versions stay.

    Raises:
        NotFound: nothing is deployed there.
        InvalidInput: it is ``current``.
    """
    row = withdraw(db, model, alias)
    registry.remove_alias(model, alias)
    _record(db, "withdrawal", model, row.model_version, f"{alias} is served no longer", by)
    return row


def align_registry(sessions: SessionFactory) -> list[str]:
    """Have the registry's aliases say what is deployed: a server that takes a version back does not reach the registry.

    What was changed less than two minutes ago is left to whoever changed it. Returns the aliases that were moved.
    """
    with sessions() as db:
        settled = Deployment.updated_at < func.now() - SETTLED
        rows = db.execute(
            select(Deployment.model_name, Deployment.alias, Deployment.model_version)
            .where(settled)
            .order_by(Deployment.id)
        ).all()
    moved = []
    for name, alias, version in rows:
        if registry.version_of(name, alias) != version:
            registry.set_alias(name, alias, version)
            moved.append(f"{name}:{alias}")
    return moved


def _served(db: Session, model: str, alias: str) -> int | None:
    wanted = select(Deployment.model_version).where(Deployment.model_name == model, Deployment.alias == alias)
    return db.scalar(wanted.with_for_update(key_share=True))


def _dataset_of(db: Session, model: str) -> Dataset:
    """A dataset's models are versions of one registered model of the same name."""
    found = db.scalar(select(Dataset).where(Dataset.name == model))
    if found is None:
        raise InvalidInput(f"model {model!r} belongs to no dataset: a dataset's models bear its name")
    return found


def _remember(sessions: SessionFactory, kind: str, model: str, version: int, reason: str, by: str) -> None:
    with sessions() as db:
        _record(db, kind, model, version, reason, by)


def _record(db: Session, kind: str, model: str, version: int, reason: str, by: str) -> None:
    record_decision(
        db,
        dataset_name=model,
        kind=kind,
        run_id=f"{kind}-{uuid.uuid4().hex}",
        accepted=True,
        reason=reason,
        model_name=model,
        model_version=version,
        owner=by,
    )
