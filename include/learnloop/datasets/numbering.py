"""Which number a version gets. A number is given once: a branch that ended unused, or a deletion, frees none.

A change of schema or classes begins the next major; everything else is the next minor of its major. Branches stay
in the major of the version they came from, so that the highest major is always the head's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Subquery, func, select, union_all
from sqlalchemy.orm import Session

from learnloop.database import Dataset, DatasetBranch, DatasetVersion, DeletedVersion
from learnloop.datasets import locks
from learnloop.datasets.names import VersionName, safe_user
from learnloop.datasets.schema import DatasetConfig
from learnloop.errors import InvalidInput

Bump = Literal["minor", "major"]


def next_name(session: Session, dataset: Dataset, bump: Bump) -> VersionName:
    """The name of the head's next version. The dataset's row must be held."""
    last = session.scalar(select(func.max(_given(dataset).c.major)))
    if last is None:
        return VersionName(dataset.name, 1, 0)
    return VersionName(dataset.name, last + 1, 0) if bump == "major" else next_minor(session, dataset, last)


def next_minor(session: Session, dataset: Dataset, major: int) -> VersionName:
    """The first minor of ``major`` after all that were ever given. The dataset's row must be held."""
    given = _given(dataset)
    last = session.scalar(select(func.max(given.c.minor)).where(given.c.major == major))
    return VersionName(dataset.name, major, 0 if last is None else last + 1)


def personal_name(session: Session, dataset: Dataset, user: str, parents: Sequence[DatasetVersion]) -> VersionName:
    """The name of a version personal to ``user``, after the first parent. The dataset's row must be held.

    Raises:
        InvalidInput: there is no parent.
    """
    if not parents:
        raise InvalidInput("a personal version needs the version it came from as its first parent")
    source, now, copy = parents[0], locks.clock(session), 1
    while True:
        name = VersionName(dataset.name, source.major, source.minor, safe_user(user), now, copy)
        # The dataset's row is held, so nobody takes the name between this look and the insert.
        taken = union_all(
            select(DatasetVersion.id).where(DatasetVersion.name == str(name)),
            select(DeletedVersion.id).where(DeletedVersion.name == str(name)),
        )
        if session.execute(taken).first() is None:
            return name
        copy += 1


def bump_between(previous: DatasetConfig | None, following: DatasetConfig) -> Bump:
    """Which number goes up when a dataset's description changes so."""
    if previous is None:
        return "minor"
    before = (previous.task_type, previous.classes, previous.reading)
    return "minor" if before == (following.task_type, following.classes, following.reading) else "major"


def _given(dataset: Dataset) -> Subquery:
    """``major`` and ``minor`` of everything that has a number: shared versions, living or deleted, and branches."""
    return union_all(
        select(DatasetVersion.major, DatasetVersion.minor).where(
            DatasetVersion.dataset_id == dataset.id, DatasetVersion.personal_to.is_(None)
        ),
        select(DeletedVersion.major, DeletedVersion.minor).where(
            DeletedVersion.dataset_id == dataset.id, DeletedVersion.personal_to.is_(None)
        ),
        select(DatasetBranch.major, DatasetBranch.minor).where(DatasetBranch.dataset_id == dataset.id),
    ).subquery()
