"""Tables around locks: who waits for one, branches with their reserved numbers, and versions that were deleted."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from learnloop.database.base import Base, Json, Owned
from learnloop.database.datasets import Dataset, DatasetVersion

LOCKS_CHANNEL = "learnloop_locks"
"""The PostgreSQL channel that is told a dataset's name when its write lock or its queue has got freer."""


class LockRequest(Owned, Base):
    """A place in the queue for a dataset's write lock: higher ``priority`` first, then by ``id``.

    Requests are made with the dataset's row held, so ids are in the order of asking. Who waits asks again before
    ``expires_at``; a dead waiter does not, and blocks nobody after it.
    """

    __tablename__ = "lock_requests"
    __table_args__ = (
        UniqueConstraint("dataset_id", "owner", "key"),
        Index("ix_lock_requests_order", "dataset_id", text("priority DESC"), "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(250))  # asking again with it keeps the place
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    purpose: Mapped[str] = mapped_column(Text, default="")
    expires_at: Mapped[datetime]

    dataset: Mapped[Dataset] = relationship()


class DatasetBranch(Owned, Base):
    """One writer's own line beside the head's, under a number that nobody else gets: also not when it ends unused.

    ``state``: ``open`` (its owner may commit until ``expires_at``) -> ``committed`` | ``abandoned``.
    """

    __tablename__ = "dataset_branches"
    __table_args__ = (
        UniqueConstraint("dataset_id", "major", "minor"),
        UniqueConstraint("dataset_id", "owner", "key"),
        CheckConstraint("state IN ('open', 'committed', 'abandoned')", name="state"),
        CheckConstraint("state <> 'open' OR (base_id IS NOT NULL AND version_id IS NULL)", name="open"),
        CheckConstraint("state <> 'abandoned' OR version_id IS NULL", name="abandoned"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    major: Mapped[int]
    minor: Mapped[int]
    state: Mapped[str] = mapped_column(String(10), default="open")
    # The version it came from; null once that was deleted, which an open branch does not let happen.
    base_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_versions.id", ondelete="SET NULL"))
    version_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_versions.id", ondelete="SET NULL"), unique=True)
    key: Mapped[str | None] = mapped_column(String(250))  # opening again with it gives the same branch
    purpose: Mapped[str] = mapped_column(Text, default="")
    expires_at: Mapped[datetime]

    dataset: Mapped[Dataset] = relationship()
    base: Mapped[DatasetVersion | None] = relationship(foreign_keys=[base_id])
    version: Mapped[DatasetVersion | None] = relationship(foreign_keys=[version_id])

    @property
    def name(self) -> str:
        """What its version is, or would be, called."""
        return f"{self.dataset.name}_v{self.major}.{self.minor}"


class DeletedVersion(Owned, Base):
    """What remains of a deleted version: its name, which is never given again, and who deleted it (``owner``)."""

    __tablename__ = "deleted_versions"
    __table_args__ = (Index("ix_deleted_versions_dataset_id_major_minor", "dataset_id", "major", "minor"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(400), unique=True)
    major: Mapped[int]
    minor: Mapped[int]
    personal_to: Mapped[str | None] = mapped_column(String(250))
    # {"tree", "parents": [names], "owner", "created_at", "message", "provenance"}
    details: Mapped[Json] = mapped_column(default=dict)
