"""Tables of storage: where a version's bytes are, how it has been used, what must not be collected."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from learnloop.database.base import Base, Owned
from learnloop.database.datasets import DatasetVersion


class VersionStorage(Owned, Base):
    """In which tier a version is; a version without a row is hot and has never been used.

    ``tier``: ``hot`` (in the store), ``warm`` (object by object in the remote) or ``cold`` (one bundle in the
    remote). The row changes after the bytes are where it says, and before any are taken away elsewhere.
    """

    __tablename__ = "version_storage"
    __table_args__ = (
        CheckConstraint("tier IN ('hot', 'warm', 'cold')", name="tier"),
        CheckConstraint("tier <> 'cold' OR bundle IS NOT NULL", name="cold_has_bundle"),
        CheckConstraint("(bundle IS NULL) = (bundle_sha256 IS NULL)", name="bundle_has_checksum"),
    )

    version_id: Mapped[int] = mapped_column(ForeignKey("dataset_versions.id", ondelete="CASCADE"), primary_key=True)
    tier: Mapped[str] = mapped_column(String(4), default="hot", server_default="hot")
    moved_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime | None]
    uses: Mapped[int] = mapped_column(default=0, server_default="0")
    warm_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")  # what its move added there
    cold_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")  # of its bundle
    bundle: Mapped[str | None] = mapped_column(Text)  # its name in the remote; kept when the version is recalled
    bundle_sha256: Mapped[str | None] = mapped_column(String(64))

    version: Mapped[DatasetVersion] = relationship()


class VersionUse(Owned, Base):
    """One use of a version, by ``owner``: what the tier policy and prefetch go by. The newest are kept."""

    __tablename__ = "version_uses"
    __table_args__ = (Index("ix_version_uses_version_id_id", "version_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("dataset_versions.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(30))  # "restore" | "job" | "workspace" | ...


class StoreLease(Owned, Base):
    """Keeps what a tree names in the store until ``expires_at``, for a holder that no other row speaks for."""

    __tablename__ = "store_leases"
    __table_args__ = (UniqueConstraint("tree", "holder"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    tree: Mapped[str] = mapped_column(String(36))
    holder: Mapped[str] = mapped_column(String(250))  # a job's key, a workspace, ...
    expires_at: Mapped[datetime] = mapped_column(index=True)
