"""How a personal version comes back to everybody: merged at once, or as a branch with a merge request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion
from learnloop.datasets.branches import open_branch
from learnloop.datasets.merge.requests import MergeResult, auto_merge, open_merge, result_of
from learnloop.datasets.roots import hold
from learnloop.datasets.store import Store
from learnloop.datasets.versions import commit, committed
from learnloop.errors import Locked

_OPEN_FOR = timedelta(hours=1)  # the branch is committed in the same transaction; it only must not be born expired


@dataclass(frozen=True)
class Outcome:
    """``state``: ``merged`` (``version`` is the head now), ``open`` (``version`` is a branch, ``merge_id`` waits for a
    person), or ``unchanged`` (there was nothing to bring back)."""

    state: str
    version: str
    merge_id: int | None
    conflicts: int
    says: str


def merge_or_branch(session: Session, store: Store, version: DatasetVersion, *, owner: str, run_id: str) -> Outcome:
    """Merge ``version`` into the head when nothing conflicts. Else share it as a branch version with an open request.

    Args:
        run_id: again with the same one ends in the same merge or branch.

    It does not wait for who has the write lock: then, too, the version becomes a branch.
    """
    key = f"branch:{version.id}:{run_id}"[:250]
    branched = committed(session, key)
    if branched is None:
        if version.personal_to is None:
            return Outcome("unchanged", version.name, None, 0, f"{version.name} is shared already: nothing to merge")
        result = _merged(session, store, version, owner)
        if result is not None and result.version is not None:
            name = result.version.name
            return Outcome("merged", name, result.merge_id, 0, f"{version.name} was merged: the head is {name}")
        branched = _branch(session, store, version, owner=owner, key=key)
    merge = open_merge(session, store, branched, owner=owner, message=f"of {version.name}, trained in a workspace")
    found = result_of(session, merge)
    if found.version is not None:
        return Outcome("merged", found.version.name, merge.id, 0, f"{branched.name} was merged since")
    why = f"{found.unanswered} conflicts need a person" if found.unanswered else "somebody has the write lock"
    says = f"{why}: {branched.name} waits in merge request {merge.id}"
    return Outcome("open", branched.name, merge.id, found.conflicts, says)


def _merged(session: Session, store: Store, version: DatasetVersion, owner: str) -> MergeResult | None:
    """The merge, if it could be completed; else None, and nothing of it remains: others do not see personal versions."""
    try:
        with session.begin_nested() as attempt:
            result = auto_merge(session, store, version, owner=owner, message=f"trained in a workspace by {owner}")
            if result.version is None:
                attempt.rollback()
                return None
            return result
    except Locked:
        return None


def _branch(session: Session, store: Store, version: DatasetVersion, *, owner: str, key: str) -> DatasetVersion:
    """Everybody's to see: the tree of a personal version under a number of its own, continuing the shared one it is of."""
    base = version
    while base.personal_to is not None:
        base = base.parents[0]
    hold(session, store, version.tree)
    branch = open_branch(session, version.dataset, owner, base, _OPEN_FOR, f"of {version.name}"[:200], key=key)
    return commit(
        session,
        version.dataset,
        version.tree,
        files=version.files,
        bytes=version.bytes,
        owner=owner,
        message=f"branch of {base.name}: {version.message}",
        provenance={**version.provenance, "kind": "branch", "of": version.name},
        parents=[base, version],
        expected_head_id=None,
        token=None,
        branch=branch,
        idempotency_key=key,
    )
