"""Tables of structure optimisation: each time it was asked for, and what was tried. They are what a search goes on from."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from learnloop.database.base import Base, Json, Owned
from learnloop.database.datasets import Dataset


class StructureSearch(Owned, Base):
    """One run that asked whether the structure is still right, with the reason of the answer, and what came of it.

    ``state``: ``not_needed``, or ``searching`` -> ``changed`` | ``unchanged``. ``changed`` says what was chosen; whether it
    serves, the gate decides.
    """

    __tablename__ = "structure_searches"
    __table_args__ = (
        CheckConstraint("state IN ('not_needed', 'searching', 'changed', 'unchanged')", name="state"),
        Index("ix_structure_searches_dataset_id_id", "dataset_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    run_id: Mapped[str] = mapped_column(String(250), unique=True)
    state: Mapped[str] = mapped_column(String(10))
    reason: Mapped[str] = mapped_column(Text)  # why it was needed, or what would have been a reason
    facts: Mapped[Json] = mapped_column(default=dict)  # what was judged by
    space: Mapped[Json] = mapped_column(default=dict)  # what there is to try (`training.structure.space.Space`)
    trials: Mapped[int] = mapped_column(default=0)  # the budget
    deadline: Mapped[datetime | None]  # after which no trial is begun
    outcome: Mapped[str] = mapped_column(Text, default="")
    chosen: Mapped[int | None]  # the trial's number
    decided_at: Mapped[datetime | None]

    dataset: Mapped[Dataset] = relationship()


class StructureTrial(Owned, Base):
    """One structure that a search tried; its number is its place in the order in which they were asked for.

    ``state``: ``running`` -> ``done`` | ``failed``; or ``skipped``, when the time was up or nothing new was left.
    """

    __tablename__ = "structure_trials"
    __table_args__ = (CheckConstraint("state IN ('running', 'done', 'failed', 'skipped')", name="state"),)

    search_id: Mapped[int] = mapped_column(ForeignKey("structure_searches.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str] = mapped_column(String(10))
    candidate: Mapped[Json] = mapped_column(default=dict)
    described: Mapped[str] = mapped_column(String(300), default="")
    reason: Mapped[str] = mapped_column(Text, default="")  # why it failed, was skipped, was chosen or not
    result: Mapped[Json] = mapped_column(default=dict)
    models_dir: Mapped[str] = mapped_column(Text, default="")
    on_front: Mapped[bool | None]  # of quality, latency and size
    model_version: Mapped[int | None]  # as which it is kept
    ended_at: Mapped[datetime | None]

    search: Mapped[StructureSearch] = relationship()
