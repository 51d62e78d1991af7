"""What maintenance does with tiers: move what nobody reads down, and recall what the next runs will read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from learnloop import database
from learnloop.database import Dataset, DatasetVersion, Round, StoreLease, VersionStorage
from learnloop.datasets.locks import clock
from learnloop.datasets.remotes import Remote
from learnloop.datasets.store import Store
from learnloop.datasets.tier_policy import TIER_OF, Tier, TierPolicy, UseFacts, choose_tier, wanted
from learnloop.datasets.tiers import Moved, move_to
from learnloop.datasets.uses import uses_since
from learnloop.errors import LearnloopError

Progress = Callable[[int, int], None]
Transaction = Callable[[], AbstractContextManager[Session]]
_OPEN = ("requested", "running")
_RECENT = timedelta(days=7)


@dataclass(frozen=True)
class Planned:
    """A move that the policy asks for."""

    version_id: int
    version: str
    source: Tier
    target: Tier
    reason: str


@dataclass(frozen=True)
class Applied:
    """The moves that were done, and those that failed with their reasons; the other versions stay where they are."""

    moved: tuple[Moved, ...]
    failed: tuple[tuple[str, str], ...]


def plan_tiers(session: Session, policy: TierPolicy | None = None) -> list[Planned]:
    """The moves that the policy asks for, oldest version first; nothing is moved."""
    policy = policy or TierPolicy()
    now = clock(session)
    uses, needed = uses_since(session, now - policy.window), _needed(session)
    query = select(DatasetVersion, VersionStorage).outerjoin(
        VersionStorage, VersionStorage.version_id == DatasetVersion.id
    )
    planned = []
    for version, row in session.execute(query.order_by(DatasetVersion.id)):
        tier: Tier = "hot" if row is None else TIER_OF[row.tier]
        facts = UseFacts(
            tier=tier,
            created_at=version.created_at,
            last_used_at=None if row is None else row.last_used_at,
            uses_in_window=len(uses.get(version.id, ())),
            needed_by=needed.get(version.id),
        )
        target, reason = choose_tier(facts, now, policy)
        if target != tier:
            planned.append(Planned(version.id, version.name, tier, target, reason))
    return planned


def apply_tiers(
    store: Store,
    remote: Remote,
    *,
    policy: TierPolicy | None = None,
    transaction: Transaction = database.session,
    progress: Progress | None = None,
) -> Applied:
    """Do what ``plan_tiers`` says, each version in a transaction of its own.

    ``progress`` is called with the versions dealt with and their number.
    """
    with transaction() as session:
        planned = plan_tiers(session, policy)
    return _each([(move.version_id, move.target) for move in planned], store, remote, transaction, progress)


def prefetch(
    store: Store,
    remote: Remote,
    *,
    transaction: Transaction = database.session,
    progress: Progress | None = None,
) -> Applied:
    """Recall the versions that are not hot and that the next runs will probably read (``tier_policy.wanted``)."""
    with transaction() as session:
        chosen = likely(session)
    return _each([(version_id, "hot") for version_id in chosen], store, remote, transaction, progress)


def likely(session: Session) -> dict[int, str]:
    """The versions (by id) that are not hot and that the next runs will probably read, and why."""
    now = clock(session)
    found = wanted(uses_since(session, now - _RECENT), _due(session), now, within=_RECENT)
    cooled = set(session.scalars(select(VersionStorage.version_id).where(VersionStorage.tier != "hot")))
    return {version_id: reason for version_id, reason in found.items() if version_id in cooled}


def _each(
    moves: list[tuple[int, Tier]],
    store: Store,
    remote: Remote,
    transaction: Transaction,
    progress: Progress | None,
) -> Applied:
    moved, failed = [], []
    for done, (version_id, target) in enumerate(moves, 1):
        name = str(version_id)
        try:
            with transaction() as session:
                version = session.get(DatasetVersion, version_id)
                if version is None:
                    continue  # deleted since the plan was made
                name = version.name
                moved.append(move_to(session, store, version, target, remote=remote))
        except LearnloopError as error:
            failed.append((name, str(error)))
        if progress is not None:
            progress(done, len(moves))
    return Applied(tuple(moved), tuple(failed))


def _needed(session: Session) -> dict[int, str]:
    """What keeps a version hot whatever its use, by the version's id."""
    leased = select(StoreLease.tree).where(StoreLease.expires_at > func.clock_timestamp())
    return {
        **dict.fromkeys(session.scalars(select(DatasetVersion.id).where(DatasetVersion.tree.in_(leased))), "leased"),
        **dict.fromkeys(_due(session), "an open round reads it"),
        **dict.fromkeys(session.scalars(select(Dataset.head_id).where(Dataset.head_id.is_not(None))), "the head"),
    }


def _due(session: Session) -> set[int]:
    """The versions from which open rounds start: those they name, and the heads of their datasets."""
    rows = session.execute(
        select(Round.base_version_id, Round.version_id, Dataset.head_id)
        .join(Dataset, Dataset.id == Round.dataset_id)
        .where(Round.state.in_(_OPEN))
    )
    return {version_id for row in rows for version_id in row if version_id is not None}
