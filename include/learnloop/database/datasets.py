"""Tables of the data layer: datasets, their versions, batches, locks."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from learnloop.database.base import Base, Json, Owned


class Dataset(Owned, Base):
    """A named collection. ``loop`` holds how its loop runs: query strategy, policy, quality, gate."""

    __tablename__ = "datasets"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    task_type: Mapped[str] = mapped_column(String(50))
    description: Mapped[str] = mapped_column(Text, default="")
    loop: Mapped[Json] = mapped_column(default=dict)
    # The newest shared version. Commits compare it with the head they started from (compare-and-swap).
    head_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_versions.id", use_alter=True))
    # The last fencing token handed out: each write lock gets the next one.
    fencing_token: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")

    head: Mapped[DatasetVersion | None] = relationship(foreign_keys=[head_id], post_update=True)


class DatasetVersion(Owned, Base):
    """An immutable snapshot of a whole tree, named by the rule in ``learnloop.datasets.names``."""

    __tablename__ = "dataset_versions"
    __table_args__ = (
        Index("ix_dataset_versions_dataset_id_id", "dataset_id", "id"),
        # One shared version per number: of two writers that both want the next minor, one must retry.
        Index(
            "uq_dataset_versions_shared_number",
            "dataset_id",
            "major",
            "minor",
            unique=True,
            postgresql_where=text("personal_to IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    name: Mapped[str] = mapped_column(String(400), unique=True)
    major: Mapped[int]
    minor: Mapped[int]
    personal_to: Mapped[str | None] = mapped_column(String(250))
    tree: Mapped[str] = mapped_column(String(36))  # the DVC hash of the directory: 32 hex digits and ".dir"
    files: Mapped[int]
    bytes: Mapped[int] = mapped_column(BigInteger)
    message: Mapped[str] = mapped_column(Text, default="")
    # What made it: {"kind": "snapshot" | "preprocess" | "merge" | "revert" | "result", "run_id": ..., ...}
    provenance: Mapped[Json] = mapped_column(default=dict)
    # A retried commit with the same key returns the version the first try made.
    idempotency_key: Mapped[str | None] = mapped_column(String(250), unique=True)

    dataset: Mapped[Dataset] = relationship(foreign_keys=[dataset_id])
    parents: Mapped[list[DatasetVersion]] = relationship(
        secondary="dataset_version_parents",
        primaryjoin="DatasetVersion.id == DatasetVersionParent.version_id",
        secondaryjoin="DatasetVersion.id == DatasetVersionParent.parent_id",
        order_by="DatasetVersionParent.position",
    )


class DatasetVersionParent(Base):
    """Parents of a version, in order: the version it continues first, then what was merged into it."""

    __tablename__ = "dataset_version_parents"
    __table_args__ = (Index("ix_dataset_version_parents_parent_id", "parent_id"),)

    version_id: Mapped[int] = mapped_column(ForeignKey("dataset_versions.id", ondelete="CASCADE"), primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("dataset_versions.id"), primary_key=True)
    position: Mapped[int] = mapped_column(default=0)


LIVE = "live"
"""The kind, in its provenance, of a batch that live requests made (`learnloop.loop.live`)."""


class Batch(Owned, Base):
    """Newly arrived data: an immutable snapshot in the same store. The same tree registers once."""

    __tablename__ = "batches"
    __table_args__ = (UniqueConstraint("dataset_id", "tree"), UniqueConstraint("dataset_id", "name"))

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    name: Mapped[str] = mapped_column(String(200))
    tree: Mapped[str] = mapped_column(String(36))
    samples: Mapped[int]
    provenance: Mapped[Json] = mapped_column(default=dict)

    dataset: Mapped[Dataset] = relationship()


class Lock(Owned, Base):
    """A lease on a dataset. A write lock that has expired may be taken over; its token is then stale.

    A read lease names the version that is read, and keeps it from being deleted. It writes nothing: its token is 0.
    """

    __tablename__ = "locks"
    __table_args__ = (
        CheckConstraint("mode IN ('read', 'write')", name="mode"),
        CheckConstraint("(mode = 'read') = (version_id IS NOT NULL)", name="version"),
        CheckConstraint("(mode = 'read') = (token = 0)", name="token"),
        # At most one write lock a dataset, live or expired: taking over means replacing the row.
        Index("uq_locks_one_writer", "dataset_id", unique=True, postgresql_where=text("mode = 'write'")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    mode: Mapped[str] = mapped_column(String(5))
    version_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_versions.id"), index=True)
    token: Mapped[int] = mapped_column(BigInteger)
    # Who asks for a write lock again with the key it was taken with is the same piece of work, tried again.
    key: Mapped[str | None] = mapped_column(String(250))
    expires_at: Mapped[datetime]
    purpose: Mapped[str] = mapped_column(Text, default="")
