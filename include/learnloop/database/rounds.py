"""Tables of the loop: rounds, what each consumed, policy evaluations, gate decisions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from learnloop.database.base import Base, Json, Owned
from learnloop.database.datasets import Dataset, DatasetVersion


def round_run_id(dataset: str, number: int) -> str:
    """The id of the DAG run that does a round which the training policy, or the API, opened."""
    return f"round-{dataset}-{number}"


class Round(Owned, Base):
    """One pass of the loop. Its number is unique in its dataset: this is what makes training run once.

    ``state``: ``requested`` -> ``running`` -> ``accepted`` | ``rejected`` (by the gate) | ``failed``.
    """

    __tablename__ = "rounds"
    __table_args__ = (
        UniqueConstraint("dataset_id", "number"),
        CheckConstraint("state IN ('requested', 'running', 'accepted', 'rejected', 'failed')", name="state"),
        Index("ix_rounds_base_version_id", "base_version_id"),
        Index("ix_rounds_version_id", "version_id"),
        # Rounds of one dataset follow each other: no second one is open while one is.
        Index(
            "uq_rounds_one_open",
            "dataset_id",
            unique=True,
            postgresql_where=text("state IN ('requested', 'running')"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    number: Mapped[int]  # 0 is the base model
    state: Mapped[str] = mapped_column(String(10), default="requested")
    reason: Mapped[str] = mapped_column(Text, default="")  # what the policy, or the person, said
    base_version_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_versions.id"))
    version_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_versions.id"))
    model_name: Mapped[str | None] = mapped_column(String(200))
    parent_model_version: Mapped[int | None]
    model_version: Mapped[int | None]
    metrics: Mapped[Json] = mapped_column(default=dict)
    labels: Mapped[int | None]  # labelled training samples after the merge
    started_at: Mapped[datetime | None]
    served_at: Mapped[datetime | None]  # when every live model server had the accepted model
    finished_at: Mapped[datetime | None]

    dataset: Mapped[Dataset] = relationship()
    base_version: Mapped[DatasetVersion | None] = relationship(foreign_keys=[base_version_id])
    version: Mapped[DatasetVersion | None] = relationship(foreign_keys=[version_id])

    @property
    def run_id(self) -> str:
        """The id of the DAG run that does this round."""
        return round_run_id(self.dataset.name, self.number)


class RoundAnnotation(Base):
    """Which round consumed which confirmed annotation: each at most once."""

    __tablename__ = "round_annotations"
    __table_args__ = (Index("ix_round_annotations_round_id_confirmed_id", "round_id", "confirmed_id"),)

    confirmed_id: Mapped[int] = mapped_column(ForeignKey("confirmed_annotations.id"), primary_key=True)
    round_id: Mapped[int] = mapped_column(ForeignKey("rounds.id"))


class PolicyEvaluation(Owned, Base):
    """One evaluation of a training policy, with its reason ("17 more labels needed")."""

    __tablename__ = "policy_evaluations"
    __table_args__ = (Index("ix_policy_evaluations_dataset_id_id", "dataset_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    due: Mapped[bool]
    reason: Mapped[str] = mapped_column(Text)
    facts: Mapped[Json] = mapped_column(default=dict)


class Decision(Owned, Base):
    """A decision about a model version: by the gate, by structure optimisation, or by a person."""

    __tablename__ = "decisions"
    __table_args__ = (
        UniqueConstraint("kind", "run_id"),
        # How good a version was when it was decided about.
        Index("ix_decisions_model_version", "dataset_id", text("((comparison ->> 'model_version')::integer)"), "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    round_id: Mapped[int | None] = mapped_column(ForeignKey("rounds.id"))
    kind: Mapped[str] = mapped_column(String(30))  # "gate" | "structure" | "rollback"
    run_id: Mapped[str] = mapped_column(String(250))
    accepted: Mapped[bool]
    reason: Mapped[str] = mapped_column(Text)
    comparison: Mapped[Json] = mapped_column(default=dict)
