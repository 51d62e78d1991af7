"""Tables of admission: what jobs hold or wait for, and what there is."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from learnloop.database.base import Base, Json, Owned


class Reservation(Owned, Base):
    """What one job (``owner`` and ``key``) holds of a runner's nodes, or waits for.

    ``state``: ``waiting`` -> ``admitted`` (room is kept) -> ``begun`` (its pod or process may be there) -> ``released``.
    One that is not released counts for the job: there is one at a time. ``dag_id`` to ``try_number`` name the try of the
    task that asked. Who waits says so again and again (``seen_at``); who has fallen silent is passed over.
    """

    __tablename__ = "reservations"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'admitted', 'begun', 'released')", name="state"),
        CheckConstraint("state IN ('waiting', 'released') OR admitted_at IS NOT NULL", name="admitted"),
        Index(
            "ix_reservations_live",
            "runner",
            "owner",
            "key",
            unique=True,
            postgresql_where=text("state <> 'released'"),
        ),
        Index("ix_reservations_released_at", "released_at", postgresql_where=text("state = 'released'")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    runner: Mapped[str] = mapped_column(String(20))
    key: Mapped[str] = mapped_column(String(250))
    dag_id: Mapped[str] = mapped_column(String(250))
    run_id: Mapped[str] = mapped_column(String(250))
    task_id: Mapped[str] = mapped_column(String(250))
    map_index: Mapped[int] = mapped_column(default=-1)
    try_number: Mapped[int]
    cpu: Mapped[int] = mapped_column(BigInteger)  # thousandths of a core
    memory: Mapped[int] = mapped_column(BigInteger)  # bytes
    gpu: Mapped[int] = mapped_column(default=0)
    node_pool: Mapped[str | None] = mapped_column(String(250))
    priority: Mapped[int] = mapped_column(default=0)
    seconds: Mapped[float]  # it holds them so long at most, once it began
    state: Mapped[str] = mapped_column(String(10), default="waiting")
    place: Mapped[int | None]  # in line, from 1; null: not decided yet, or no longer waiting
    reason: Mapped[str] = mapped_column(Text, default="")
    node: Mapped[str | None] = mapped_column(String(253))  # where there was room when it was admitted
    planned_at: Mapped[datetime | None]
    seen_at: Mapped[datetime]
    admitted_at: Mapped[datetime | None]
    begun_at: Mapped[datetime | None]
    released_at: Mapped[datetime | None]


class Capacity(Base):
    """What a runner's nodes had when it was decided last; also who decides: the next is due ``decided_at`` plus a little."""

    __tablename__ = "capacity"

    runner: Mapped[str] = mapped_column(String(20), primary_key=True)
    decided_at: Mapped[datetime]
    # {"pools": [{"pool", "nodes", "total", "others"}]}, amounts as {"cpu" (thousandths), "memory" (bytes), "gpu"}
    report: Mapped[Json] = mapped_column(default=dict)
