"""Tables of merges: requests to merge a version into its dataset, what people must decide for them, and who did."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from learnloop.database.base import Base, Json, Owned
from learnloop.database.datasets import Dataset, DatasetVersion


class MergeRequest(Owned, Base):
    """A wish to merge the version ``theirs`` into the dataset's head, ``ours``, since their common ``base``.

    ``state``: ``open`` -> ``merged`` (``version`` is what it made) or ``cancelled``. While it is open, its versions cannot
    be deleted (`learnloop.datasets.deletion`); later it goes with the first of them.
    """

    __tablename__ = "merge_requests"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'merged', 'cancelled')", name="state"),
        CheckConstraint("(state = 'merged') = (version_id IS NOT NULL)", name="version"),
        CheckConstraint("(state = 'open') = (closed_by IS NULL)", name="closed"),
        # A version is merged into its dataset once, by one request.
        Index("uq_merge_requests_live", "theirs_id", unique=True, postgresql_where=text("state <> 'cancelled'")),
        Index("ix_merge_requests_dataset_id_id", "dataset_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    # None: the two share nothing.
    base_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_versions.id", ondelete="CASCADE"))
    ours_id: Mapped[int] = mapped_column(ForeignKey("dataset_versions.id", ondelete="CASCADE"))
    theirs_id: Mapped[int] = mapped_column(ForeignKey("dataset_versions.id", ondelete="CASCADE"))
    version_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_versions.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(String(10), default="open")
    message: Mapped[str] = mapped_column(Text, default="")
    # {"notes": [what was decided that nobody was asked about]}
    report: Mapped[Json] = mapped_column(default=dict)
    closed_by: Mapped[str | None] = mapped_column(String(250))
    closed_at: Mapped[datetime | None]

    dataset: Mapped[Dataset] = relationship()
    base: Mapped[DatasetVersion | None] = relationship(foreign_keys=[base_id])
    ours: Mapped[DatasetVersion] = relationship(foreign_keys=[ours_id])
    theirs: Mapped[DatasetVersion] = relationship(foreign_keys=[theirs_id])
    version: Mapped[DatasetVersion | None] = relationship(foreign_keys=[version_id])


class MergeConflict(Owned, Base):
    """One conflict of a merge request, and its answer."""

    __tablename__ = "merge_conflicts"
    __table_args__ = (
        UniqueConstraint("merge_id", "place"),
        CheckConstraint("kind IN ('file', 'record', 'setting')", name="kind"),
        CheckConstraint("answer IN ('ours', 'theirs', 'base')", name="answer"),
        CheckConstraint("(answer IS NULL) = (answered_by IS NULL)", name="answered"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    merge_id: Mapped[int] = mapped_column(ForeignKey("merge_requests.id", ondelete="CASCADE"))
    place: Mapped[str] = mapped_column(String(32))  # names kind, path, key and field: each is there once
    kind: Mapped[str] = mapped_column(String(7))
    path: Mapped[str] = mapped_column(Text)  # the file, or the keyed table
    key: Mapped[str] = mapped_column(String(250), default="")  # of the record
    field: Mapped[str] = mapped_column(Text, default="")  # empty: the whole file or record
    values: Mapped[Json]  # {"base", "ours", "theirs"}; null where there is none
    advice: Mapped[Json]  # {"newest": {"choice", "reason"}, "most_agreed": {...}}
    answer: Mapped[str | None] = mapped_column(String(6))
    answer_reason: Mapped[str] = mapped_column(Text, default="")  # a strategy's; empty when a person chose
    answered_by: Mapped[str | None] = mapped_column(String(250))
    answered_at: Mapped[datetime | None]


class Responder(Owned, Base):
    """Somebody (``owner``) who answered a task's human-in-the-loop form, with the roles they bore just then.

    The API server writes it before the answer reaches Airflow: the task that reads the answer has only a name, and
    may not ask Airflow's database what that person may do.
    """

    __tablename__ = "responders"
    __table_args__ = (UniqueConstraint("dag_id", "run_id", "task_id", "owner"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dag_id: Mapped[str] = mapped_column(String(250))
    run_id: Mapped[str] = mapped_column(String(250))
    task_id: Mapped[str] = mapped_column(String(250))
    roles: Mapped[Json]  # {"names": [...]}
