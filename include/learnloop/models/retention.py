"""Which model versions may go after a while: structures that a search tried and did not choose.

What a search found of them stays in its trials (`learnloop.loop.structure`); it is their files that take room.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from learnloop.database import Dataset, Decision, Deployment, ModelLease
from learnloop.errors import Conflict, NotFound
from learnloop.models import registry
from learnloop.models.deployment import SessionFactory
from learnloop.models.registered import RegisteredVersion

NOT_CHOSEN = "not chosen"
"""The tag ``gate`` of such a version."""
KEEP_TAG = "keep"
"""Whatever stands under this tag of a version keeps it: who said so, and why."""
PARENT_TAG = "parent_model"
# What a search or the gate decides is about what they tried; the other kinds are of what was served.
_OF_THE_LOOP = ("gate", "structure")

log = logging.getLogger(__name__)


@dataclass
class Removed:
    """``{name}:{version}`` of what went, and of what is old enough and stays, with the reason."""

    gone: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)


def remove_not_chosen(sessions: SessionFactory, *, days: int, now: datetime | None = None) -> Removed:
    """Remove versions that were not chosen more than ``days`` ago (0: none ever), unless something needs them."""
    done = Removed()
    if not days:
        return done
    before = (now or datetime.now(UTC)) - timedelta(days=days)
    for name in registry.names():
        versions = registry.list_versions(name)
        parents = {found.tags.get(PARENT_TAG, "") for found in versions}
        old = [found for found in versions if found.tags.get("gate") == NOT_CHOSEN and found.created_at < before]
        for found in old:
            with sessions() as db:
                needed = needed_by(db, found, parents)
            if needed is not None:
                done.kept[f"{name}:{found.version}"] = needed
                continue
            try:
                registry.remove(name, found.version)
            except (Conflict, NotFound) as error:  # somebody was faster, with an alias or with the removal
                log.info("%s version %d is left: %s", name, found.version, error)
                continue
            done.gone.append(f"{name}:{found.version}")
    return done


def keep(name: str, version: int, reason: str, *, by: str) -> RegisteredVersion:
    """Have a version stay, whatever its age. What was said of it before under `KEEP_TAG` is replaced.

    Raises:
        NotFound: there is no such version.
    """
    registry.set_tags(name, version, {KEEP_TAG: f"{by}: {reason}" if reason else by})
    return registry.get_version(name, version)


def let_go(name: str, version: int) -> RegisteredVersion:
    """Have a version stay only as long as something else needs it; again, it changes nothing.

    Raises:
        NotFound: there is no such version.
    """
    registry.remove_tag(name, version, KEEP_TAG)
    return registry.get_version(name, version)


def needed_by(db: Session, found: RegisteredVersion, parents: Collection[str]) -> str | None:
    """What keeps a version, whatever its age; None for nothing.

    Args:
        parents: the versions that others of the same model were trained from.
    """
    if found.aliases:
        return f"it is {', '.join(found.aliases)}"
    if KEEP_TAG in found.tags:
        return f"its tag {KEEP_TAG!r}: {found.tags[KEEP_TAG]}"
    if str(found.version) in parents:
        return "another version was trained from it"
    of = Deployment.model_name == found.name
    for column in (Deployment.model_version, Deployment.previous_version, Deployment.canary_version):
        if db.scalar(select(Deployment.id).where(of, column == found.version).limit(1)) is not None:
            return "it is deployed, or was before what is"
    leased = select(ModelLease.id).where(
        ModelLease.model_name == found.name,
        ModelLease.model_version == found.version,
        ModelLease.expires_at > func.now(),
    )
    if db.scalar(leased.limit(1)) is not None:
        return "somebody holds a lease on it"
    decided = select(Decision.kind).where(
        Decision.dataset_id.in_(select(Dataset.id).where(Dataset.name == found.name)),
        Decision.comparison["model_version"].as_integer() == found.version,
        Decision.kind.not_in(_OF_THE_LOOP),
    )
    kind = db.scalar(decided.limit(1))
    return None if kind is None else f"it was served once ({kind})"
