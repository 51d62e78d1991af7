"""Tables of annotation: scoring runs, tasks and their leases, answers, the confirmed pool."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from learnloop.database.base import Base, Json, Owned
from learnloop.database.datasets import Batch, Dataset


class ScoringRun(Owned, Base):
    """One pass of a model over a batch. Predictions are in Parquet; only chosen samples become tasks."""

    __tablename__ = "scoring_runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    run_id: Mapped[str] = mapped_column(String(250), unique=True)  # a retried run chooses once
    model_name: Mapped[str] = mapped_column(String(200))
    model_version: Mapped[int]
    predictions: Mapped[str] = mapped_column(Text)  # the folder of Parquet shards
    strategy: Mapped[str] = mapped_column(String(100))
    scored: Mapped[int]
    chosen: Mapped[int]
    summary: Mapped[Json] = mapped_column(default=dict)  # mean confidence, histogram, seconds


class AnnotationTask(Owned, Base):
    """One sample to label. The lease is part of the row, so a task cannot have two.

    ``state``: ``open`` (may be claimed) -> ``claimed`` (leased to ``claimed_by`` until
    ``lease_expires_at``) -> ``answered`` (an answer waits for its check) -> ``confirmed``, or back to ``open``
    for a second opinion; ``cancelled`` when nobody needs it any more.
    """

    __tablename__ = "annotation_tasks"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'claimed', 'answered', 'confirmed', 'cancelled')", name="state"),
        CheckConstraint("kind IN ('label', 'gold')", name="kind"),
        CheckConstraint(
            "(state = 'claimed') = (claimed_by IS NOT NULL AND lease_expires_at IS NOT NULL)", name="lease"
        ),
        CheckConstraint("(kind = 'gold') = (gold_label IS NOT NULL)", name="gold"),
        # What a claim reads: open tasks of a dataset by priority, then age.
        Index(
            "ix_annotation_tasks_open",
            "dataset_id",
            text("priority DESC"),
            "id",
            postgresql_where=text("state = 'open'"),
        ),
        Index(
            "ix_annotation_tasks_claimed",
            "dataset_id",
            "lease_expires_at",
            postgresql_where=text("state = 'claimed'"),
        ),
        # A sample is asked about at most once at a time.
        Index(
            "uq_annotation_tasks_live_sample",
            "dataset_id",
            "sample_id",
            unique=True,
            postgresql_where=text("kind = 'label' AND state <> 'cancelled'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id"))  # None: from the dataset itself (gold)
    scoring_run_id: Mapped[int | None] = mapped_column(ForeignKey("scoring_runs.id"))
    kind: Mapped[str] = mapped_column(String(5), default="label")
    sample_id: Mapped[str] = mapped_column(String(250))
    path: Mapped[str] = mapped_column(Text)  # of the sample's file, relative to its tree
    object: Mapped[str] = mapped_column(String(32))  # the md5 that names the sample's bytes in the store
    # {"label", "confidence", "uncertainty", "probabilities": {label: p}, "model_version"}
    prediction: Mapped[Json] = mapped_column(default=dict)
    reason: Mapped[Json] = mapped_column(default=dict)  # why it was chosen: {"strategy", "rank", "margin", ...}
    gold_label: Mapped[str | None] = mapped_column(String(200))
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    state: Mapped[str] = mapped_column(String(10), default="open")
    claimed_by: Mapped[str | None] = mapped_column(String(250))
    lease_expires_at: Mapped[datetime | None]

    dataset: Mapped[Dataset] = relationship()
    batch: Mapped[Batch | None] = relationship()


class GoldQuestion(Owned, Base):
    """A sample whose label is known and trusted; claims turn it into tasks that look like any other."""

    __tablename__ = "gold_questions"
    __table_args__ = (UniqueConstraint("dataset_id", "sample_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    sample_id: Mapped[str] = mapped_column(String(250))
    path: Mapped[str] = mapped_column(Text)
    object: Mapped[str] = mapped_column(String(32))
    label: Mapped[str] = mapped_column(String(200))
    prediction: Mapped[Json] = mapped_column(default=dict)


class Annotation(Owned, Base):
    """One person's answer (``owner``) to one task; never changed but for its ``outcome``.

    ``outcome``: ``pending`` (waits for the annotator's next gold task), ``confirmed``, ``second_opinion``
    (waits for another person), ``rejected``; for gold tasks ``gold_right`` and ``gold_wrong``;
    ``skipped`` when the person would not say (``label`` is then None).
    """

    __tablename__ = "annotations"
    __table_args__ = (
        UniqueConstraint("task_id", "owner"),
        CheckConstraint(
            "outcome IN ('pending', 'confirmed', 'second_opinion', 'rejected', 'gold_right', 'gold_wrong', 'skipped')",
            name="outcome",
        ),
        CheckConstraint("(outcome = 'skipped') = (label IS NULL)", name="label"),
        Index("ix_annotations_pending", "dataset_id", "owner", postgresql_where=text("outcome = 'pending'")),
        Index("ix_annotations_dataset_id_owner_id", "dataset_id", "owner", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    task_id: Mapped[int] = mapped_column(ForeignKey("annotation_tasks.id"))
    label: Mapped[str | None] = mapped_column(String(200))
    comment: Mapped[str] = mapped_column(Text, default="")
    seconds: Mapped[float | None]  # how long the person took, as the page measured it
    outcome: Mapped[str] = mapped_column(String(20), default="pending")
    outcome_reason: Mapped[str] = mapped_column(Text, default="")

    task: Mapped[AnnotationTask] = relationship()


class ConfirmedAnnotation(Owned, Base):
    """The confirmed pool: append-only. A correction is a new row that supersedes an older one."""

    __tablename__ = "confirmed_annotations"
    __table_args__ = (Index("ix_confirmed_annotations_dataset_id_id", "dataset_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"), unique=True)  # counted once
    sample_id: Mapped[str] = mapped_column(String(250))
    label: Mapped[str] = mapped_column(String(200))
    confirmed_by: Mapped[str] = mapped_column(Text)  # the rule: "gold passed", "two agree", ...
    confirmed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    supersedes_id: Mapped[int | None] = mapped_column(ForeignKey("confirmed_annotations.id"), unique=True)

    annotation: Mapped[Annotation] = relationship()
    batch: Mapped[Batch] = relationship()
