"""What the mounts of a run were estimated to cost, and why they are where they are."""

from __future__ import annotations

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from learnloop.database.base import Base, Json, Owned


class MountPlan(Owned, Base):
    """The plan of one task of a run (`learnloop.mounts.plan.Plan`), made before anything else; a retry makes it anew."""

    __tablename__ = "mount_plans"
    __table_args__ = (UniqueConstraint("dag_id", "run_id", "task_id", "map_index"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dag_id: Mapped[str] = mapped_column(String(250))
    run_id: Mapped[str] = mapped_column(String(250))
    task_id: Mapped[str] = mapped_column(String(250))
    map_index: Mapped[int]
    pipeline: Mapped[str] = mapped_column(String(250))
    currency: Mapped[str] = mapped_column(String(3))
    cost: Mapped[float]
    plan: Mapped[Json] = mapped_column(default=dict)
