"""Conflicts as rows: what is kept of an entry of the report, and of its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop.database import Annotation, AnnotationTask, MergeConflict, MergeRequest
from learnloop.datasets.merge.advice import Votes
from learnloop.datasets.merge.contents import Answers
from learnloop.datasets.merge.report import Advice, ConflictEntry
from learnloop.datasets.merge.trees import Choice


def conflicts_of(session: Session, merge: MergeRequest) -> list[MergeConflict]:
    """The conflicts of a merge: files, records and settings, each in order of place."""
    query = select(MergeConflict).where(MergeConflict.merge_id == merge.id)
    order = (MergeConflict.kind, MergeConflict.path, MergeConflict.key, MergeConflict.field)
    return list(session.scalars(query.order_by(*order).execution_options(populate_existing=True)))


def entry_of(row: MergeConflict) -> ConflictEntry:
    """A stored conflict as a report's entry."""
    advice = {name: Advice(**row.advice[name]) for name in ("newest", "most_agreed")}
    return ConflictEntry(row.kind, row.path, row.key, row.field, **row.values, **advice)  # type: ignore[arg-type]


def unanswered(rows: Sequence[MergeConflict]) -> list[MergeConflict]:
    """Those without an answer."""
    return [row for row in rows if row.answer is None]


def answers_of(rows: Sequence[MergeConflict]) -> Answers:
    """The answers given so far, as a merge takes them."""
    records: dict[str, dict[tuple[str, str], Choice]] = {}
    files: dict[str, Choice] = {}
    settings: dict[str, Choice] = {}
    for row in rows:
        if row.answer is None:
            continue
        choice: Choice = row.answer  # type: ignore[assignment]
        if row.kind == "file":
            files[row.path] = choice
        elif row.kind == "setting":
            settings[row.field] = choice
        else:
            records.setdefault(row.path, {})[row.key, row.field] = choice
    return Answers(files, records, settings)


def row_of(merge: MergeRequest, entry: ConflictEntry) -> MergeConflict:
    """The row of an entry, unanswered."""
    return MergeConflict(
        merge_id=merge.id,
        place=entry.place,
        kind=entry.kind,
        path=entry.path,
        key=entry.key,
        field=entry.field,
        values=entry.values,
        advice=advice_of(entry),
        owner=merge.owner,
    )


def advice_of(entry: ConflictEntry) -> dict[str, dict[str, str]]:
    """What an entry's strategies would choose, as its row keeps it."""
    return {"newest": asdict(entry.newest), "most_agreed": asdict(entry.most_agreed)}


def votes_for(session: Session, dataset_id: int, samples: set[str]) -> Votes:
    """Who gave those samples which label, as answers to tasks; rejected ones are no votes."""
    if not samples:
        return {}
    query = (
        select(AnnotationTask.sample_id, Annotation.label, Annotation.owner)
        .join(Annotation, Annotation.task_id == AnnotationTask.id)
        .where(
            AnnotationTask.dataset_id == dataset_id,
            AnnotationTask.sample_id.in_(samples),
            Annotation.outcome.in_(("pending", "checked", "confirmed", "second_opinion")),
        )
    )
    votes: dict[tuple[str, str], frozenset[str]] = {}
    for sample, label, person in session.execute(query):
        if label is not None:
            votes[sample, label] = votes.get((sample, label), frozenset()) | {person}
    return votes
