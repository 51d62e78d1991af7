"""Merge requests: opened for a version, answered by people or by strategy, completed once.

A completed merge is a version whose parents are the head it continues and the version that was merged. When the head
moves before, the merge is made anew against the new one; an answer stays where its three values stay.

The long part, merging, is done before anything is locked; it is done again under the lock only when the head or the
answers changed meanwhile. Whoever changes a request holds the dataset's row, and then the request's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from learnloop.database import Dataset, DatasetVersion, MergeConflict, MergeRequest
from learnloop.datasets.contents import config_of
from learnloop.datasets.locks import clock, hold_row, writing
from learnloop.datasets.merge.advice import Advisor, Side
from learnloop.datasets.merge.ancestry import ancestors, merge_base
from learnloop.datasets.merge.contents import Answers, Contents, Progress, merge_contents
from learnloop.datasets.merge.report import CHOICES, STRATEGIES, Strategy
from learnloop.datasets.merge.stored import (
    advice_of,
    answers_of,
    conflicts_of,
    entry_of,
    row_of,
    unanswered,
    votes_for,
)
from learnloop.datasets.merge.trees import Choice
from learnloop.datasets.roots import hold
from learnloop.datasets.store import Store
from learnloop.datasets.tiers import ensure_hot
from learnloop.datasets.versions import commit_head, head_of
from learnloop.errors import Conflict, InvalidDataset, InvalidInput, NotFound
from learnloop.faultpoints import reach

State = Literal["open", "merged", "cancelled"]


@dataclass(frozen=True)
class MergeResult:
    """How a merge stands. ``version`` is what it made; None while it is open, or when it was cancelled."""

    merge_id: int
    state: str
    version: DatasetVersion | None
    conflicts: int
    unanswered: int
    notes: tuple[str, ...]


def open_merge(
    session: Session,
    store: Store,
    theirs: DatasetVersion,
    *,
    owner: str,
    message: str = "",
    progress: Progress | None = None,
) -> MergeRequest:
    """Ask for ``theirs`` to be merged into its dataset's head. The version's earlier request, if any, is returned.

    Raises:
        Conflict: the dataset has no head, or ``theirs`` is part of it already.
        InvalidDataset: a ``dataset.yaml`` or keyed table of a side is wrong; nothing is changed.
    """
    return _opened(session, store, theirs, owner, message, progress)[0]


def complete_merge(
    session: Session, store: Store, merge: MergeRequest, *, owner: str, progress: Progress | None = None
) -> MergeResult:
    """Commit the merge when each conflict has an answer. A second call returns what the first one made.

    When the head moved, conflicts may come, change or go; the result then says what is unanswered, and the
    request stays open.

    Raises:
        Conflict: the merge was cancelled.
        InvalidDataset: the answers do not make a proper dataset.
        Locked: somebody holds the dataset's write lock.
    """
    attempt = _attempt(session, store, merge.theirs, _answers(session, merge), progress)
    return _completed(session, store, merge, attempt, owner, progress)


def auto_merge(
    session: Session,
    store: Store,
    theirs: DatasetVersion,
    *,
    owner: str,
    message: str = "",
    progress: Progress | None = None,
) -> MergeResult:
    """Merge ``theirs`` when there is no conflict; otherwise leave an open request that people see. Raises as the two."""
    merge, attempt = _opened(session, store, theirs, owner, message, progress)
    return _completed(session, store, merge, attempt, owner, progress)


def answer_conflict(session: Session, merge: MergeRequest, conflict_id: int, choice: Choice, *, by: str) -> None:
    """Answer one conflict; a later answer replaces an earlier one.

    Raises:
        NotFound: the merge has no such conflict (any more).
        InvalidInput: ``choice`` is none of `ours`, `theirs`, `base`.
        Conflict: the merge is not open.
    """
    if choice not in CHOICES:
        raise InvalidInput(f"{choice!r} is no answer: {', '.join(CHOICES)}")
    _hold_open(session, merge)
    row = session.get(MergeConflict, conflict_id, populate_existing=True)
    if row is None or row.merge_id != merge.id:
        raise NotFound(f"merge {merge.id} has no conflict {conflict_id}: it may have been solved by a new head")
    _answer(session, row, choice, by, "")


def resolve_all(session: Session, merge: MergeRequest, strategy: Strategy, *, by: str) -> int:
    """Answer each conflict that has no answer by a strategy; the number of those.

    Raises:
        InvalidInput: there is no such strategy.
        Conflict: the merge is not open.
    """
    if strategy not in STRATEGIES:
        raise InvalidInput(f"{strategy!r} is no strategy: {', '.join(STRATEGIES)}")
    _hold_open(session, merge)
    rows = unanswered(conflicts_of(session, merge))
    for row in rows:
        entry = entry_of(row)
        reason = row.advice[strategy]["reason"] if strategy in row.advice else ""
        _answer(session, row, entry.chosen_by(strategy), by, f"{strategy}: {reason}" if reason else strategy)
    session.flush()
    return len(rows)


def cancel_merge(session: Session, merge: MergeRequest, *, by: str) -> None:
    """Give the merge up; a cancelled one stays so. Raises Conflict when it is merged."""
    _hold(session, merge)
    if merge.state == "merged":
        made = "" if merge.version is None else merge.version.name
        raise Conflict(f"merge {merge.id} made {made} already: restore an older version instead")
    if merge.state == "open":
        _close(session, merge, "cancelled", by, None)


def get_merge(session: Session, merge_id: int) -> MergeRequest:
    """Raises NotFound."""
    found = session.get(MergeRequest, merge_id) if 0 < merge_id < 2**31 else None
    if found is None:
        raise NotFound(f"there is no merge {merge_id}")
    return found


def hold_merge(session: Session, merge: MergeRequest) -> None:
    """Keep others from changing it until the transaction ends, and bring ``merge`` up to date. Raises NotFound."""
    _hold(session, merge)


def list_merges(session: Session, dataset: Dataset, *, state: State | None = "open") -> list[MergeRequest]:
    """The dataset's merge requests in one state (None: in any), newest first."""
    query = select(MergeRequest).where(MergeRequest.dataset_id == dataset.id).order_by(MergeRequest.id.desc())
    return list(session.scalars(query if state is None else query.where(MergeRequest.state == state)))


def result_of(session: Session, merge: MergeRequest) -> MergeResult:
    """How a merge stands now."""
    rows = conflicts_of(session, merge)
    notes = tuple(merge.report.get("notes", ()))
    return MergeResult(merge.id, merge.state, merge.version, len(rows), len(unanswered(rows)), notes)


# --- the steps ---


@dataclass(frozen=True)
class _Attempt:
    """What merging into ``head`` with these answers gives. ``contents`` is None when the head has it all."""

    head: DatasetVersion
    base: DatasetVersion | None
    answers: Answers
    contents: Contents | None


def _attempt(
    session: Session, store: Store, theirs: DatasetVersion, answers: Answers, progress: Progress | None
) -> _Attempt:
    head = head_of(session, theirs.dataset)
    if head is None:
        raise Conflict(f"dataset {theirs.dataset.name} has no shared version to merge into: snapshot one first")
    if theirs.id in ancestors(session, head):
        return _Attempt(head, theirs, answers, None)

    def advisor(samples: set[str]) -> Advisor:
        return Advisor(_side(head), _side(theirs), votes_for(session, theirs.dataset_id, samples))

    base = merge_base(session, head, theirs)
    contents = merge_contents(store, base, head, theirs, advisor=advisor, answers=answers, progress=progress)
    reach("merge.objects-written")
    return _Attempt(head, base, answers, contents)


def _opened(
    session: Session, store: Store, theirs: DatasetVersion, owner: str, message: str, progress: Progress | None
) -> tuple[MergeRequest, _Attempt | None]:
    """The live request of ``theirs``; when it is new, with the attempt that found its conflicts."""
    if (earlier := _live(session, theirs)) is not None:
        return earlier, None
    ensure_hot(session, store, theirs)
    attempt = _attempt(session, store, theirs, Answers(), progress)
    if attempt.contents is None:
        raise Conflict(f"{theirs.name} is part of {attempt.head.name} already: there is nothing to merge")
    hold_row(session, theirs.dataset)
    if (earlier := _live(session, theirs)) is not None:
        return earlier, None
    merge = MergeRequest(
        dataset_id=theirs.dataset_id, base=attempt.base, ours=attempt.head, theirs=theirs, message=message, owner=owner
    )
    session.add(merge)
    session.flush()
    _bring_up_to_date(session, merge, attempt, attempt.contents)
    reach("merge.opened")
    return merge, attempt


def _completed(
    session: Session,
    store: Store,
    merge: MergeRequest,
    attempt: _Attempt | None,
    owner: str,
    progress: Progress | None,
) -> MergeResult:
    _hold(session, merge)
    if merge.state == "cancelled":
        raise Conflict(f"merge {merge.id} of {merge.theirs.name} was cancelled by {merge.closed_by}: open it anew")
    while merge.state == "open":
        answers, head = _answers(session, merge), head_of(session, merge.dataset)
        if attempt is None or attempt.head is not head or attempt.answers != answers:
            attempt = _attempt(session, store, merge.theirs, answers, progress)
        if attempt.contents is None:  # by way of another version, which came from it
            _close(session, merge, "merged", owner, attempt.head)
            break
        _bring_up_to_date(session, merge, attempt, attempt.contents)
        if _answers(session, merge) != answers:
            continue  # some held no more, and must not be in what is committed
        if unanswered(conflicts_of(session, merge)):
            break
        _commit(session, store, merge, attempt.head, attempt.contents, owner)
    return result_of(session, merge)


def _bring_up_to_date(session: Session, merge: MergeRequest, attempt: _Attempt, contents: Contents) -> None:
    """Make the stored conflicts those of ``contents``; an answer stays where its three values stay.

    They change when the head moved, and when an answer raises a new question (a kept label whose class was taken away).
    """
    stored = {row.place: row for row in conflicts_of(session, merge)}
    found = {entry.place: entry for entry in contents.conflicts}
    stale = {place for place, row in stored.items() if place not in found or row.values != found[place].values}
    for place in stale:
        session.delete(stored[place])
    session.flush()
    kept = stored.keys() - stale
    for place in kept:
        stored[place].advice = advice_of(found[place])
    session.add_all(row_of(merge, entry) for place, entry in found.items() if place not in kept)
    merge.base, merge.ours, merge.report = attempt.base, attempt.head, {"notes": list(contents.notes)}
    session.flush()
    reach("merge.conflicts-written")


def _commit(
    session: Session, store: Store, merge: MergeRequest, head: DatasetVersion, contents: Contents, owner: str
) -> None:
    if contents.problems:
        raise InvalidDataset(f"merge {merge.id}: change the answers; as they are:", contents.problems)
    tree_hash = store.write_tree(contents.tree)
    hold(session, store, tree_hash)
    reach("merge.tree-written")
    dataset, theirs, before = merge.dataset, merge.theirs, config_of(store, head)
    provenance = {"kind": "merge", "merge_id": merge.id, "merged": theirs.name}
    with writing(session, dataset, owner, f"merge of {theirs.name}") as lock:
        version = commit_head(
            session,
            dataset,
            tree_hash,
            config=contents.config,
            previous=before,
            parents=[head, theirs],
            token=lock.token,
            idempotency_key=f"merge-request:{merge.id}",
            files=len(contents.tree),
            bytes=store.total_size(contents.tree),
            owner=owner,
            message=merge.message or f"merge of {theirs.name}",
            provenance=provenance | ({"recipe": contents.recipe} if contents.recipe else {}),
        )
        reach("merge.version-added")
        _close(session, merge, "merged", owner, version)
        reach("merge.closed")


def _answers(session: Session, merge: MergeRequest) -> Answers:
    return answers_of(conflicts_of(session, merge))


def _side(version: DatasetVersion) -> Side:
    return Side(version.name, version.created_at, version.id)


def _live(session: Session, theirs: DatasetVersion) -> MergeRequest | None:
    query = select(MergeRequest).where(MergeRequest.theirs_id == theirs.id, MergeRequest.state != "cancelled")
    return session.scalar(query.execution_options(populate_existing=True))


def _hold(session: Session, merge: MergeRequest) -> None:
    """Lock the dataset's row and the request's until the transaction ends, and bring both up to date."""
    hold_row(session, merge.dataset)
    query = select(MergeRequest).where(MergeRequest.id == merge.id).with_for_update()
    if session.scalar(query.execution_options(populate_existing=True)) is None:
        raise NotFound(f"there is no merge {merge.id} any more")


def _hold_open(session: Session, merge: MergeRequest) -> None:
    _hold(session, merge)
    if merge.state != "open":
        raise Conflict(f"merge {merge.id} is {merge.state} (by {merge.closed_by}): its answers are fixed")


def _close(session: Session, merge: MergeRequest, state: State, by: str, version: DatasetVersion | None) -> None:
    merge.state, merge.version, merge.closed_by, merge.closed_at = state, version, by, clock(session)
    session.flush()


def _answer(session: Session, row: MergeConflict, choice: Choice, by: str, reason: str) -> None:
    row.answer, row.answered_by, row.answered_at, row.answer_reason = choice, by, func.clock_timestamp(), reason
    session.flush()
