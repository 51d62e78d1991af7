"""Where each dataset's loop is: questions, pool, rounds, merges, locks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client.core import Metric
from sqlalchemy import Row, column, extract, func, select, values
from sqlalchemy.orm import Session

from learnloop.database import (
    AnnotationTask,
    ConfirmedAnnotation,
    Dataset,
    Lock,
    LockRequest,
    MergeConflict,
    MergeRequest,
    Round,
)
from learnloop.loop.facts import rules_of
from learnloop.loop.progress import MOST_OPEN
from learnloop.loop.rounds import OPEN
from learnloop.loop.waiting import waiting_since
from learnloop.monitoring.families import age, gauge

MOST_DATASETS = 200
"""The newest so many datasets are told of: what a scrape costs has a bound."""
STATES = ("open", "claimed", "answered", "review")
"""Of questions that are not settled."""

NEWEST = select(Dataset.id).order_by(Dataset.id.desc()).limit(MOST_DATASETS)
TOLD = Dataset.id.in_(NEWEST)


def figures(db: Session) -> Iterable[Metric]:
    datasets = db.scalars(select(Dataset).where(TOLD).order_by(Dataset.id)).all()
    all_of_them = db.scalar(select(func.count()).select_from(Dataset)) or 0
    yield gauge("datasets", "Datasets there are.", (), [(all_of_them,)])
    yield gauge("datasets_untold", "Older datasets that no figure tells of.", (), [(all_of_them - len(datasets),)])
    yield from _questions(db)
    yield from _pool(db, datasets)
    yield from _rounds(db)
    yield from _merges(db)
    yield from _locks(db)


def _questions(db: Session) -> Iterable[Metric]:
    states = values(column("state", AnnotationTask.state.type), name="states").data([(state,) for state in STATES])
    wanted = (
        select(AnnotationTask.id, AnnotationTask.created_at)
        .where(AnnotationTask.dataset_id == Dataset.id, AnnotationTask.state == states.c.state)
        .correlate(Dataset, states)
    )
    count = select(func.count()).select_from(wanted.limit(MOST_OPEN).subquery()).scalar_subquery()
    # By id, newest first, is how the index of a state's tasks is: its end is the oldest.
    oldest = wanted.with_only_columns(age(AnnotationTask.created_at)).order_by((-AnnotationTask.id).desc()).limit(1)
    rows = db.execute(
        select(Dataset.name, states.c.state, count, oldest.scalar_subquery())
        .join_from(Dataset, states, onclause=Dataset.id.is_not(None))
        .where(TOLD)
    ).all()
    labels = ("dataset", "state")
    what = f"Questions by state, counted up to {MOST_OPEN}."
    yield gauge("annotation_tasks", what, labels, [row[:3] for row in rows])
    what = "How long ago the oldest question of a state was asked."
    yield gauge("annotation_task_oldest_seconds", what, labels, [(*row[:2], row[3]) for row in rows])


def _pool(db: Session, datasets: Sequence[Dataset]) -> Iterable[Metric]:
    confirmed = (
        select(func.max(ConfirmedAnnotation.number))
        .where(ConfirmedAnnotation.dataset_id == Dataset.id)
        .correlate(Dataset)
        .scalar_subquery()
    )
    rows = db.execute(select(Dataset.name, func.coalesce(confirmed, 0)).where(TOLD)).all()
    yield gauge("pool_labels", "Labels that people confirmed, ever.", ("dataset",), rows)
    found = [(dataset.name, *waiting_since(db, dataset)) for dataset in datasets]
    what = "Confirmed labels that no round has used yet."
    yield gauge("pool_waiting_labels", what, ("dataset",), [row[:2] for row in found])
    what = "How long ago the oldest label that no round has used was confirmed."
    yield gauge("pool_waiting_oldest_seconds", what, ("dataset",), [(row[0], row[2]) for row in found])
    what = "How many labels start a round."
    needed = [(dataset.name, rules_of(dataset).labels) for dataset in datasets]
    yield gauge("pool_threshold_labels", what, ("dataset",), needed)


def _rounds(db: Session) -> Iterable[Metric]:
    of_dataset = select(Dataset.name, Round.state).join(Dataset, Dataset.id == Round.dataset_id).where(TOLD)
    counted = db.execute(of_dataset.add_columns(func.count()).group_by(Dataset.name, Round.state)).all()
    yield gauge("rounds", "Rounds by state.", ("dataset", "state"), counted)
    under_way = db.execute(of_dataset.add_columns(age(Round.created_at)).where(Round.state.in_(OPEN))).all()
    what = "How long ago the round that is under way was opened."
    yield gauge("round_open_seconds", what, ("dataset", "state"), under_way)
    ended = extract("epoch", func.max(Round.finished_at))
    last = db.execute(
        select(Dataset.name, ended).join(Dataset, Dataset.id == Round.dataset_id).where(TOLD).group_by(Dataset.name)
    ).all()
    yield gauge("round_last_finished_timestamp_seconds", "When the last round ended.", ("dataset",), last)


def _merges(db: Session) -> Iterable[Metric]:
    is_open = (MergeRequest.dataset_id == Dataset.id) & (MergeRequest.state == "open")
    rows = db.execute(
        select(Dataset.name, func.count(), func.max(age(MergeRequest.created_at)))
        .join(MergeRequest, is_open)
        .where(TOLD)
        .group_by(Dataset.name)
    ).all()
    yield gauge("merges_open", "Merges that wait for answers.", ("dataset",), [row[:2] for row in rows])
    what = "How long ago the oldest merge that waits for answers was asked for."
    yield gauge("merge_open_oldest_seconds", what, ("dataset",), [(row[0], row[2]) for row in rows])
    unanswered = (
        select(MergeConflict.id)
        .join(MergeRequest, MergeRequest.id == MergeConflict.merge_id)
        .where(is_open, MergeConflict.answer.is_(None))
        .limit(MOST_OPEN)
        .correlate(Dataset)
        .subquery()
    )
    count = select(func.count()).select_from(unanswered).scalar_subquery()
    conflicts = db.execute(select(Dataset.name, count).where(TOLD)).all()
    what = f"Conflicts of open merges that nobody has answered, counted up to {MOST_OPEN}."
    yield gauge("merge_conflicts_unanswered", what, ("dataset",), conflicts)


def _locks(db: Session) -> Iterable[Metric]:
    def of(table: type[Lock | LockRequest], *wanted: Any) -> Sequence[Row[str, int, Any]]:
        return db.execute(
            select(Dataset.name, func.count(), func.max(age(table.created_at)))
            .join(table, table.dataset_id == Dataset.id)
            .where(TOLD, table.expires_at > func.now(), *wanted)
            .group_by(Dataset.name)
        ).all()

    held, waiting = of(Lock, Lock.mode == "write"), of(LockRequest)
    what = "How long a dataset's write lock has been held."
    yield gauge("lock_held_seconds", what, ("dataset",), [(row[0], row[2]) for row in held])
    yield gauge("lock_requests_waiting", "Who waits for a write lock.", ("dataset",), [row[:2] for row in waiting])
    what = "How long who waits longest for a write lock has waited."
    yield gauge("lock_wait_oldest_seconds", what, ("dataset",), [(row[0], row[2]) for row in waiting])
