"""How a personal version comes back to everybody: merged at once, or as a branch with a merge request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion
from learnloop.datasets.branches import open_branch
from learnloop.datasets.merge.requests import auto_merge, open_merge, result_of
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

    So too when somebody holds the dataset's write lock: nobody waits for a person who may hold it for hours.

    Args:
        run_id: again with the same one ends in the same merge or branch.
    """
    key, held = f"branch:{version.id}:{run_id}"[:250], ""
    branched = committed(session, key)
    if branched is None:
        if version.personal_to is None:
            return Outcome("unchanged", version.name, None, 0, f"{version.name} is shared already: nothing to merge")
        merged, held = _try_merge(session, store, version, owner=owner)
        if merged is not None:
            return merged
        branched = _branch(session, store, version, owner=owner, key=key)
    merge = open_merge(session, store, branched, owner=owner, message=f"of {version.name}, trained in a workspace")
    found = result_of(session, merge)
    if found.version is not None:
        return Outcome("merged", found.version.name, merge.id, 0, f"{branched.name} was merged since")
    why = held or (f"{found.unanswered} conflicts need a person" if found.unanswered else "it need only be completed")
    says = f"{branched.name} waits in merge request {merge.id}: {why}"
    return Outcome("open", branched.name, merge.id, found.conflicts, says)


def _try_merge(session: Session, store: Store, version: DatasetVersion, *, owner: str) -> tuple[Outcome | None, str]:
    """The merge; or None, with who holds the lock if that is why, and then nothing of the attempt remains."""
    attempt = session.begin_nested()
    try:
        result = auto_merge(session, store, version, owner=owner, message=f"trained in a workspace by {owner}")
    except Locked as error:
        attempt.rollback()
        return None, str(error)
    except BaseException:
        attempt.rollback()
        raise
    if result.version is None:
        attempt.rollback()
        return None, ""
    attempt.commit()
    name = result.version.name
    return Outcome("merged", name, result.merge_id, 0, f"{version.name} was merged: the head is {name}"), ""


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
