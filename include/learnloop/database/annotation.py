"""Tables of annotation: scoring runs, tasks and their leases, answers, reviews, the confirmed pool."""

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
    for another opinion, or ``review`` (a reviewer decides); ``rejected`` when a reviewer said that the sample is not to be
    used; ``cancelled`` when nobody needs it any more.
    """

    __tablename__ = "annotation_tasks"
    __table_args__ = (
        CheckConstraint(
            "state IN ('open', 'claimed', 'answered', 'review', 'confirmed', 'rejected', 'cancelled')", name="state"
        ),
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
        # Gold tasks that their person gave back.
        Index(
            "ix_annotation_tasks_open_gold",
            "dataset_id",
            "owner",
            postgresql_where=text("state = 'open' AND kind = 'gold'"),
        ),
        # Lists: by state, newest first, and of open tasks by what the model predicts.
        Index("ix_annotation_tasks_state", "dataset_id", "state", text("(-id)")),
        Index(
            "ix_annotation_tasks_open_label",
            "dataset_id",
            text("(prediction ->> 'label')"),
            text("(-id)"),
            postgresql_where=text("state = 'open'"),
        ),
        # Those that a model's accuracy is measured by (`annotation.honest`), by model.
        Index(
            "ix_annotation_tasks_random",
            "dataset_id",
            text("((reason ->> 'model_version')::integer)"),
            "id",
            postgresql_where=text("kind = 'label' AND reason ->> 'strategy' = 'random'"),
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


class AnnotationGuide(Owned, Base):
    """What annotators of a dataset are told. ``owner``: who wrote it last."""

    __tablename__ = "annotation_guides"

    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), primary_key=True)
    instructions: Mapped[str] = mapped_column(Text, default="")  # Markdown
    classes: Mapped[Json] = mapped_column(default=dict)  # {label: {"color": "#rrggbb" or None, "key": "A" or None}}
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Annotation(Owned, Base):
    """One person's answer (``owner``) to one task, or a reviewer's decision; never changed but for its ``outcome``.

    ``outcome``: ``pending`` (waits for the annotator's next gold task), ``checked`` (passed it, and waits for others'
    answers to the same task), ``second_opinion`` (did not, and waits for others), ``confirmed``, ``rejected``; for gold
    tasks ``gold_right`` and ``gold_wrong``; ``skipped`` when the person would not say (``label`` is then None);
    ``withdrawn`` when they took it back. A gold answer that was taken back keeps its outcome: what followed stands.
    """

    __tablename__ = "annotations"
    __table_args__ = (
        CheckConstraint(
            "outcome IN ('pending', 'checked', 'confirmed', 'second_opinion', 'rejected', 'gold_right', 'gold_wrong',"
            " 'skipped', 'withdrawn')",
            name="outcome",
        ),
        CheckConstraint("outcome = 'withdrawn' OR (outcome = 'skipped') = (label IS NULL)", name="label"),
        # One person answers a task once. What they took back, and what they decided as a reviewer, is beside it.
        Index(
            "uq_annotations_task_id_owner",
            "task_id",
            "owner",
            unique=True,
            postgresql_where=text("withdrawn_at IS NULL AND review_id IS NULL"),
        ),
        Index("ix_annotations_pending", "dataset_id", "owner", postgresql_where=text("outcome = 'pending'")),
        Index("ix_annotations_dataset_id_owner_id", "dataset_id", "owner", "id"),
        Index("ix_annotations_dataset_id_id", "dataset_id", "id"),
        # What a reviewer is shown, and what a skip looks at: all that was said of a task, also what was taken back.
        Index("ix_annotations_task_id", "task_id", "id"),
        Index("ix_annotations_skipped", "owner", "task_id", postgresql_where=text("outcome = 'skipped'")),
        # What a person is told of how many they answered, counted from the index alone.
        Index(
            "ix_annotations_given",
            "dataset_id",
            "owner",
            postgresql_where=text("label IS NOT NULL AND withdrawn_at IS NULL AND review_id IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    task_id: Mapped[int] = mapped_column(ForeignKey("annotation_tasks.id"))
    label: Mapped[str | None] = mapped_column(String(200))
    comment: Mapped[str] = mapped_column(Text, default="")
    seconds: Mapped[float | None]  # how long the person took, as the page measured it
    outcome: Mapped[str] = mapped_column(String(20), default="pending")
    outcome_reason: Mapped[str] = mapped_column(Text, default="")
    withdrawn_at: Mapped[datetime | None]
    review_id: Mapped[int | None] = mapped_column(ForeignKey("reviews.id"))  # whose decision it is; None: an answer

    task: Mapped[AnnotationTask] = relationship()


class Review(Owned, Base):
    """A sample that a reviewer has to decide about; kept when it is decided, with who decided what, and why.

    ``kind``: ``disagreement`` (too many opinions, no consensus), ``fast`` and ``slow`` (an answer far faster or slower
    than usual), ``policy`` (the dataset has every label reviewed), ``skipped`` (several people would not say),
    ``suspicion`` (a confirmed label that the model's predictions speak against), ``requested`` (a reviewer wants a
    confirmed label looked at again). ``decision``: ``confirm``, ``send_back``, ``reject``; None while it is open.
    """

    __tablename__ = "reviews"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('disagreement', 'fast', 'policy', 'skipped', 'suspicion', 'requested', 'slow')", name="kind"
        ),
        CheckConstraint("decision IN ('confirm', 'send_back', 'reject')", name="decision"),
        CheckConstraint("(decision IS NULL) = (decided_by IS NULL)", name="decided"),
        Index("uq_reviews_open_task", "task_id", unique=True, postgresql_where=text("decision IS NULL")),
        Index("ix_reviews_open", "dataset_id", "id", postgresql_where=text("decision IS NULL")),
        Index("ix_reviews_dataset_id_id", "dataset_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    task_id: Mapped[int] = mapped_column(ForeignKey("annotation_tasks.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(Text)
    facts: Mapped[Json] = mapped_column(
        default=dict
    )  # of a suspicion: the label, the model's label, their probabilities
    decision: Mapped[str | None] = mapped_column(String(20))
    label: Mapped[str | None] = mapped_column(String(200))
    decision_reason: Mapped[str] = mapped_column(Text, default="")
    decided_by: Mapped[str | None] = mapped_column(String(250))
    decided_at: Mapped[datetime | None]

    task: Mapped[AnnotationTask] = relationship()
    dataset: Mapped[Dataset] = relationship()


class QualityCheck(Owned, Base):
    """One look at all answers of a dataset: how reliable each annotator is, and which confirmed labels are suspected."""

    __tablename__ = "quality_checks"
    __table_args__ = (Index("ix_quality_checks_dataset_id_id", "dataset_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    answers: Mapped[int]  # how many answers there were
    confirmed: Mapped[int]  # how many labels in force
    suspected: Mapped[int]
    # {"classes": [k], "priors": [k], "confusions": {annotator: [k][k]}, "iterations": n}; None: too little overlap
    reliability: Mapped[Json | None]


class ConfirmedAnnotation(Owned, Base):
    """The confirmed pool: append-only. A correction is a new row that supersedes an older one."""

    __tablename__ = "confirmed_annotations"
    __table_args__ = (
        Index("ix_confirmed_annotations_dataset_id_id", "dataset_id", "id"),
        Index("ix_confirmed_annotations_dataset_id_sample_id", "dataset_id", "sample_id", "id"),
        UniqueConstraint("dataset_id", "number"),
        # Corrections, which are few: how many of those that wait for a round are superseded (`loop.waiting`).
        Index(
            "ix_confirmed_annotations_corrections",
            "dataset_id",
            "supersedes_id",
            postgresql_where=text("supersedes_id IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    # The first of its dataset is 1, and none is left out: nothing is ever deleted, so the highest says how many there are.
    number: Mapped[int]
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"), unique=True)  # counted once
    sample_id: Mapped[str] = mapped_column(String(250))
    label: Mapped[str] = mapped_column(String(200))
    confirmed_by: Mapped[str] = mapped_column(Text)  # the rule: "gold passed", "two agree", ...
    confirmed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    supersedes_id: Mapped[int | None] = mapped_column(ForeignKey("confirmed_annotations.id"), unique=True)

    annotation: Mapped[Annotation] = relationship()
    batch: Mapped[Batch] = relationship()
