"""Taking the last answer back."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from learnloop.annotation.queue import in_seconds, take_turn
from learnloop.annotation.reviews import UNDECIDED
from learnloop.database import Annotation, AnnotationTask, Dataset
from learnloop.errors import Conflict, NotFound
from learnloop.loop.rounds import lock


def undo(session: Session, dataset: Dataset, annotator: str, *, lease_seconds: int) -> AnnotationTask | None:
    """Take back the person's last answer or skip in this dataset, and lease its task to them again.

    What they held meanwhile goes back to the queue. The answer is kept, as withdrawn. Again, it gives the same task. None
    when somebody else is answering the sample just now: the person is asked about it later.

    A gold answer can be taken back like any other, so that nobody learns which tasks are gold; what followed from it
    stands, and the new answer vouches for nothing.

    Raises:
        NotFound: the person has answered nothing here.
        Conflict: something followed from the answer already.
    """
    take_turn(session, dataset.id, annotator)  # before the dataset's lock, as a claim has it while it waits for tasks
    lock(session, dataset)
    last = session.scalars(
        select(Annotation)
        .where(Annotation.dataset_id == dataset.id, Annotation.owner == annotator, Annotation.review_id.is_(None))
        .order_by(Annotation.id.desc())
        .limit(1)
    ).first()
    if last is None:
        raise NotFound(f"{annotator} has answered nothing in {dataset.name}: there is nothing to take back")
    session.refresh(last)
    task = session.get_one(AnnotationTask, last.task_id, with_for_update=True, populate_existing=True)
    if last.withdrawn_at is not None:
        if task.state == "claimed" and task.claimed_by == annotator:
            return task
        raise Conflict(f"the last answer ({task.sample_id}) was taken back already; only one can be")
    if task.kind == "label":
        _check_nothing_followed(last, task)
        last.outcome = "withdrawn"
    last.withdrawn_at = func.now()
    _put_down_others(session, task, annotator)
    if task.state == "claimed":
        session.flush()
        return None
    expires = in_seconds(session, lease_seconds)
    task.state, task.claimed_by, task.lease_expires_at = "claimed", annotator, expires
    session.flush()
    return task


def _check_nothing_followed(last: Annotation, task: AnnotationTask) -> None:
    followed = None
    if last.outcome not in (*UNDECIDED, "skipped"):
        followed = f"it was {last.outcome}; a reviewer can correct it"
    elif task.state == "review":
        followed = "a reviewer is asked about it"
    elif task.state not in ("open", "claimed", "answered") or (last.label is None and task.state == "answered"):
        followed = "somebody else has answered it since"
    if followed is not None:
        raise Conflict(f"the last answer ({task.sample_id}) can no longer be taken back: {followed}")


def _put_down_others(session: Session, task: AnnotationTask, annotator: str) -> None:
    """Give back the task that was claimed since. A gold task waits for its person."""
    held = select(AnnotationTask).where(
        AnnotationTask.dataset_id == task.dataset_id,
        AnnotationTask.state == "claimed",
        AnnotationTask.claimed_by == annotator,
        AnnotationTask.kind == "label",
        AnnotationTask.id != task.id,
    )
    for other in session.scalars(held.with_for_update()):
        other.state = "open"
        other.claimed_by = other.lease_expires_at = None
