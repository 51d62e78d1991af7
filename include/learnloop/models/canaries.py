"""Canaries that are open: judged by what servers counted, and ended where they do worse than what they stand beside."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import CanaryWatch, Dataset, Decision, Deployment
from learnloop.models.deployment import SessionFactory
from learnloop.models.promotion import canary
from learnloop.permissions import SERVICE
from learnloop.serving.cluster.judging import Rules, Verdict, Watched
from learnloop.serving.cluster.units import CANARY, STABLE, Unit
from learnloop.serving.looking import Look


def open_canaries(sessions: SessionFactory, model: str | None = None) -> list[Unit]:
    """The aliases, of one model or of all, that have a canary."""
    wanted = select(Deployment).where(Deployment.canary_version.is_not(None)).order_by(Deployment.id)
    if model is not None:
        wanted = wanted.where(Deployment.model_name == model)
    with sessions() as db:
        return [Unit.of(row) for row in db.scalars(wanted)]


def judge_open(sessions: SessionFactory, unit: Unit, look: Look) -> str | None:
    """Judge the canary of ``unit`` by what was counted since it was first looked at; end it when it is bad.

    It is never found good: when it was seen long enough, whoever opened it says. Returns why it was ended; None: it was not,
    or is not there any more.
    """
    with sessions() as db:
        watch = _watch(db, unit)
        if watch is None:
            return None
        tracks = {track: Watched(watch.seen.get(track)) for track in (STABLE, CANARY)}
        # At the first look nothing else is known of what it stands beside than all that it ever counted.
        whole = ((CANARY,) if watch.seen else (CANARY, STABLE)) if look.own else ()
        found = look.judged(tracks, Rules(**watch.rules), unit, elapsed=0, whole=whole)
        stored = {track: watched.stored() for track, watched in tracks.items()}
        if not watch.seen:
            stored[STABLE]["sum"] = {}
        watch.seen = stored
        if found is None or found.good:
            return None
        canary(db, unit.model, unit.alias, None, percent=0, by=SERVICE.name, reason=found.reason)
    return f"{unit.model}:{unit.alias}: its canary, version {unit.canary}, was ended: {found.reason}"


def ended_meanwhile(sessions: SessionFactory, unit: Unit) -> Verdict | None:
    """What is to be said when the canary of ``unit`` is there no longer; None: it is."""
    with sessions() as db:
        row = db.get(Deployment, unit.row)
        if row is not None and row.canary_version == unit.canary:
            return None
        if row is not None and row.model_version == unit.canary:
            return Verdict(True, f"version {unit.canary} was promoted meanwhile, by {row.owner}")
        return Verdict(False, _why(db, unit) or "it was ended meanwhile", worse=True)


def _watch(db: Session, unit: Unit) -> CanaryWatch | None:
    """What was seen of this canary, locked, begun when there is nothing; None: the canary is another, or there is none."""
    row = db.scalar(select(Deployment).where(Deployment.id == unit.row).with_for_update(key_share=True))
    if row is None or Unit.of(row) != replace(unit, generation=row.generation, percent=row.canary_percent):
        return None
    pair = {"model_version": unit.version, "canary_version": unit.canary}
    new = insert(CanaryWatch).values(deployment_id=row.id, **pair, rules={}, seen={})
    db.execute(new.on_conflict_do_nothing())
    watch = db.get_one(CanaryWatch, row.id)
    if (watch.model_version, watch.canary_version) != (unit.version, unit.canary):
        watch.model_version, watch.canary_version, watch.rules, watch.seen = unit.version, unit.canary or 0, {}, {}
    return watch


def _why(db: Session, unit: Unit) -> str | None:
    """The newest decision about a canary of that alias: whoever ended it left its reason there."""
    wanted = (
        select(Decision.reason)
        .join(Dataset, Dataset.id == Decision.dataset_id)
        .where(
            Dataset.name == unit.model,
            Decision.kind.in_(("canary", "rollback", "promotion")),
            Decision.reason.contains(unit.alias, autoescape=True),
        )
        .order_by(Decision.id.desc())
        .limit(1)
    )
    return db.scalar(wanted)
