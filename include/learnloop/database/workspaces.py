"""The table of workspaces: people's private checkouts."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from learnloop.database.base import Base, Owned
from learnloop.database.datasets import Dataset, DatasetVersion


class Workspace(Owned, Base):
    """A checkout of ``base`` at ``path``, its owner's alone. While the row is there its base is not deleted.

    ``state``: ``creating`` (files are being placed) -> ``ready`` -> ``discarding`` (files are being removed). A process
    that dies leaves ``creating`` or ``discarding`` behind; upkeep takes both away.
    """

    __tablename__ = "workspaces"
    __table_args__ = (
        UniqueConstraint("owner", "name"),
        UniqueConstraint("owner", "key"),
        CheckConstraint("state IN ('creating', 'ready', 'discarding')", name="state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    base_id: Mapped[int] = mapped_column(ForeignKey("dataset_versions.id"))
    name: Mapped[str] = mapped_column(String(63))
    # What made it, such as a DAG run: again with the same key is the same workspace.
    key: Mapped[str | None] = mapped_column(String(250))
    path: Mapped[str] = mapped_column(Text)
    writable: Mapped[bool]
    bytes: Mapped[int] = mapped_column(BigInteger)  # of its base; what counts against its owner's quota
    state: Mapped[str] = mapped_column(String(10), default="creating")
    expires_at: Mapped[datetime | None]

    dataset: Mapped[Dataset] = relationship()
    base: Mapped[DatasetVersion] = relationship()
