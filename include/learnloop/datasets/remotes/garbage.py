"""Garbage collection of a remote, while others push to it.

Only on request, and never of a replica: a remote may be one that others keep objects at too, of which our database knows
nothing. Here, an object is garbage when no row names it, and it was put there longer ago than the grace period. What rows
name includes the versions in the warm tier, whose objects are nowhere else; those of a version in the cold tier are in its
archive, and go.

Nobody pushes what no committed row names. So each group of objects is removed under the lock that keeps transactions from
naming trees (``roots.nothing_held``), after another look at the rows: whoever names a tree later finds its objects absent
at the remote, and sends them. Whoever dies has removed only what nobody needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop import database
from learnloop.database import DatasetVersion, VersionStorage
from learnloop.datasets.gc import GRACE, Collection, Found, by_age, nothing_collected, trash_folder
from learnloop.datasets.remotes.base import Progress, Remote, relative_path
from learnloop.datasets.remotes.parallel import JOBS, each
from learnloop.datasets.roots import Marked, nothing_held
from learnloop.datasets.store import Store
from learnloop.errors import InvalidInput
from learnloop.faultpoints import reach

_GROUP = 200  # objects removed under one lock: who commits meanwhile waits for so many


def collect_remote(
    store: Store,
    remote: Remote,
    *,
    grace: timedelta = GRACE,
    dry_run: bool = False,
    transaction: Callable[[], AbstractContextManager[Session]] = database.session,
    progress: Progress | None = None,
) -> Collection:
    """Remove from ``remote`` the objects that no version, batch, result or lease of ours needs.

    Args:
        store: where the lists of all versions' files are.
        grace: how long ago an object must have been put there.
        dry_run: say what would go, and remove nothing.
        transaction: opens a transaction on Learnloop's database.
        progress: called with the objects removed and their number.

    Raises:
        Conflict: garbage of the store is being collected, or a backup of it is being taken.
        NotFound: there is no such remote; or a list of files is lost, so that what it needs is not known.
        Unavailable: the remote does not answer; or transactions that name trees have not ended within ten seconds.
    """
    if grace < timedelta(0):
        raise InvalidInput(f"the grace period cannot be negative, as {grace} is")
    remote.check(writing=False)
    with nothing_collected(store):
        marked = Marked(store, trash_folder(store), also=(_warm_versions,))
        with transaction() as session:
            marked.mark(session)
        now, old, young, kept = time.time(), [], 0, 0
        for listed in remote.listed():
            if listed.name in marked.names:
                kept += 1
            elif listed.modified is None or now - listed.modified < grace.total_seconds():
                young += 1
            else:
                old.append(Found(listed.name, listed.bytes, now - listed.modified))
        reach("remote-gc.marked")
        gone = old if dry_run else _removed(remote, marked, old, transaction, progress)
    return Collection(
        dry_run=dry_run,
        objects=len(gone),
        bytes=sum(found.bytes for found in gone),
        ages=by_age(gone, grace),
        young=young,
        put_back=0,
        temporary=0,
        kept=kept + len(old) - len(gone),
    )


def _removed(
    remote: Remote,
    marked: Marked,
    old: list[Found],
    transaction: Callable[[], AbstractContextManager[Session]],
    progress: Progress | None,
) -> list[Found]:
    # Trees before what they name: a tree that is at a remote has its files there.
    old = sorted(old, key=lambda found: not found.name.endswith(".dir"))
    gone: list[Found] = []
    for start in range(0, len(old), _GROUP):
        with transaction() as session, nothing_held(session):
            marked.mark(session)
            group = [found for found in old[start : start + _GROUP] if found.name not in marked.names]
            for _ in each([relative_path(found.name) for found in group], remote.remove, JOBS):
                reach("remote-gc.removed-one")
        gone += group
        if progress is not None:
            progress(start + len(old[start : start + _GROUP]), len(old))
    return gone


def _warm_versions(session: Session) -> Iterable[str]:
    warm = select(VersionStorage.version_id).where(VersionStorage.tier == "warm")
    return session.scalars(select(DatasetVersion.tree).where(DatasetVersion.id.in_(warm)).distinct())
