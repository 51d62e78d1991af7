"""Branches: what a second writer gets instead of waiting.

A branch reserves the next minor and leads from one version to one other, its owner's alone. That version is shared
but not the head; merging it makes it part of the head's line. Nobody else can write to a branch, so it needs no lock;
like a lock it expires, and a commit after that is refused.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Integer, Select, func, literal, select
from sqlalchemy.orm import Session

from learnloop.database import Dataset, DatasetBranch, DatasetVersion, DatasetVersionParent, Lock
from learnloop.datasets import locks
from learnloop.datasets.numbering import next_minor
from learnloop.errors import InvalidInput, Locked, NotFound, PermissionDenied, StaleToken


def open_branch(
    session: Session,
    dataset: Dataset,
    owner: str,
    base: DatasetVersion,
    ttl: timedelta,
    purpose: str = "",
    *,
    key: str | None = None,
) -> DatasetBranch:
    """A line of ``owner``'s own from ``base``, open for ``ttl``, under a number reserved for it.

    Args:
        key: names the piece of work: opening again with it gives the same branch, unless it has ended unused.

    Raises:
        InvalidInput: ``base`` is of another dataset, a ``ttl`` that is no time, or text that cannot be shown.
        NotFound: ``base`` was deleted, or is somebody else's personal version.
    """
    locks.check_lease(owner, ttl, purpose)
    if base.dataset_id != dataset.id:
        raise InvalidInput(f"{base.name} is no version of dataset {dataset.name}")
    locks.hold_row(session, dataset)
    if (same := _of_work(session, dataset, owner, key)) is not None:
        return same
    if session.scalar(select(DatasetVersion.id).where(DatasetVersion.id == base.id)) is None or (
        base.personal_to not in (None, owner)
    ):
        raise NotFound(f"there is no dataset version {base.name!r}")
    number = next_minor(session, dataset, base.major)
    branch = DatasetBranch(
        dataset_id=dataset.id,
        major=number.major,
        minor=number.minor,
        state="open",
        base_id=base.id,
        key=key,
        purpose=purpose,
        expires_at=locks.clock(session) + ttl,
        owner=owner,
    )
    session.add(branch)
    session.flush()
    return branch


def write_or_branch(
    session: Session, dataset: Dataset, owner: str, ttl: timedelta, purpose: str = "", *, key: str | None = None
) -> Lock | DatasetBranch:
    """The write lock when it is free, else a branch from the head: a second writer does not wait.

    Args:
        key: names the piece of work: a retry gets the branch it had, or its lock with a new token.

    Raises:
        Locked: it is held, and the dataset has no version yet to branch from.
        InvalidInput: a ``ttl`` that is no time, or text that cannot be shown.
    """
    locks.check_lease(owner, ttl, purpose)
    locks.hold_row(session, dataset)
    if (same := _of_work(session, dataset, owner, key)) is not None:
        return same
    try:
        return locks.acquire_write(session, dataset, owner, ttl, purpose, key=key)
    except Locked:
        if dataset.head_id is None:
            raise
    base = session.get_one(DatasetVersion, dataset.head_id)
    return open_branch(session, dataset, owner, base, ttl, purpose, key=key)


def renew_branch(session: Session, branch: DatasetBranch, owner: str, ttl: timedelta) -> DatasetBranch:
    """Let an open branch last ``ttl`` from now; raises as ``check_open``."""
    locks.check_ttl(ttl)
    locks.hold_row(session, branch.dataset)
    check_open(session, branch.dataset, branch, owner)
    branch.expires_at = locks.clock(session) + ttl
    session.flush()
    return branch


def abandon(session: Session, branch: DatasetBranch) -> bool:
    """End an open branch without a version. Its number is never given again. False when it had ended."""
    locks.hold_row(session, branch.dataset)
    session.refresh(branch)
    if branch.state != "open":
        return False
    branch.state = "abandoned"
    session.flush()
    return True


def check_open(session: Session, dataset: Dataset, branch: DatasetBranch, owner: str) -> None:
    """Bring ``branch`` up to date and raise unless ``owner`` may commit on it. The dataset's row must be held.

    Raises:
        StaleToken: it has expired or ended.
        PermissionDenied: it is somebody else's.
        InvalidInput: it is of another dataset.
    """
    if branch.dataset_id != dataset.id:
        raise InvalidInput(f"branch {branch.name} is of another dataset than {dataset.name}")
    session.refresh(branch)
    if branch.owner != owner:
        raise PermissionDenied(f"branch {branch.name} belongs to {branch.owner}: open one of your own")
    again = "nothing was written; open another branch, the number stays reserved"
    if branch.state != "open":
        raise StaleToken(f"branch {branch.name} is {branch.state} and takes no version: {again}")
    if branch.expires_at <= locks.clock(session):
        raise StaleToken(f"branch {branch.name} expired at {branch.expires_at:%Y-%m-%d %H:%M:%S %Z}: {again}")


def open_branches(session: Session, dataset: Dataset) -> list[DatasetBranch]:
    """Branches that may still be committed on, oldest first."""
    live = select(DatasetBranch).where(
        DatasetBranch.dataset_id == dataset.id,
        DatasetBranch.state == "open",
        DatasetBranch.expires_at > func.clock_timestamp(),
    )
    return list(session.scalars(live.order_by(DatasetBranch.id)))


def unmerged_branches(session: Session, dataset: Dataset) -> list[DatasetBranch]:
    """Branches whose version the head does not descend from, oldest first."""
    apart = select(DatasetBranch).where(DatasetBranch.dataset_id == dataset.id, DatasetBranch.version_id.is_not(None))
    head_id = session.scalar(select(Dataset.head_id).where(Dataset.id == dataset.id))
    if head_id is not None:
        apart = apart.where(DatasetBranch.version_id.not_in(ancestors(head_id)))
    return list(session.scalars(apart.order_by(DatasetBranch.id)))


def ancestors(version_id: int) -> Select[int]:
    """The statement for the ids of a version and all it descends from."""
    line = select(literal(version_id, Integer).label("id")).cte("line", recursive=True)
    line = line.union(select(DatasetVersionParent.parent_id).join(line, line.c.id == DatasetVersionParent.version_id))
    return select(line.c.id)


def _of_work(session: Session, dataset: Dataset, owner: str, key: str | None) -> DatasetBranch | None:
    """The branch that this piece of work has; one that ended unused gives up its key."""
    if key is None:
        return None
    found = session.scalar(
        select(DatasetBranch)
        .where(DatasetBranch.dataset_id == dataset.id, DatasetBranch.owner == owner, DatasetBranch.key == key)
        .execution_options(populate_existing=True)
    )
    if found is None:
        return None
    if found.version_id is not None or (found.state == "open" and found.expires_at > locks.clock(session)):
        return found
    found.key = None
    session.flush()
    return None
