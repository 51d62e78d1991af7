"""What must stay in the store, and how a row that names a tree comes to be safe from garbage collection.

Whoever writes a row that names a tree calls ``hold`` in the same transaction, before the row: from then until the
transaction ends nothing is collected, and all that the tree names is there. What the row needs afterwards, the
collector learns from the root that is registered for the row's table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from learnloop.database import (
    AnnotationTask,
    Batch,
    DatasetVersion,
    Decision,
    GoldQuestion,
    Round,
    StoreLease,
    VersionStorage,
)
from learnloop.datasets.store import Store
from learnloop.errors import Conflict, InvalidInput, NotFound, Unavailable

Root = Callable[[Session], Iterable[str]]

_LOCK = 0x4C4C5354  # "LLST": the advisory lock between rows that name trees (shared) and the collector
_PATIENCE = "10s"
_roots: dict[str, Root] = {}


def register_root(name: str, find: Root) -> None:
    """Let the collector keep what ``find`` gives: trees (and all that they name) and single objects.

    Raises:
        InvalidInput: another root has the name.
    """
    if _roots.setdefault(name, find) is not find:
        raise InvalidInput(f"a root called {name!r} is registered already")


def hold(session: Session, store: Store, tree: str) -> None:
    """Keep everything that ``tree`` names in the store until the transaction ends; call it before the row's insert.

    Cheap when nothing was collected since the tree was written: only then is every object looked for again.

    Raises:
        Conflict: an object was collected meanwhile; adding the files again puts it right.
    """
    session.execute(text("SELECT pg_advisory_xact_lock_shared(:lock)"), {"lock": _LOCK})
    if store.complete_since(tree):
        return
    missing = _missing(store, [tree]) or _missing(store, _names_in(store, tree))
    if missing:
        raise Conflict(
            f"{len(missing)} objects that {tree} needs, such as {missing[0]}, were collected as garbage while this"
            " was under way: nothing was written; run it again"
        )


def lease(session: Session, store: Store, tree: str, *, holder: str, owner: str, ttl: timedelta) -> None:
    """Keep what ``tree`` names for ``ttl`` from now, as a running job needs; the same holder's lease is renewed.

    Raises:
        Conflict: an object of it is not there.
    """
    if ttl <= timedelta(0):
        raise InvalidInput(f"a lease must last longer than nothing, not {ttl}")
    hold(session, store, tree)
    until = func.clock_timestamp() + ttl
    session.execute(
        insert(StoreLease)
        .values(tree=tree, holder=holder, owner=owner, expires_at=until)
        .on_conflict_do_update(index_elements=["tree", "holder"], set_={"expires_at": until})
    )


def release_lease(session: Session, tree: str, *, holder: str) -> None:
    """Give a lease back; nothing happens when it is not held."""
    session.execute(delete(StoreLease).where(StoreLease.tree == tree, StoreLease.holder == holder))


@contextmanager
def nothing_held(session: Session) -> Iterator[None]:
    """For the collector: wait until no transaction has called ``hold``, and keep others from it until this one ends.

    Raises:
        Unavailable: some transaction went on holding for longer than ten seconds.
    """
    session.execute(text(f"SET LOCAL lock_timeout = '{_PATIENCE}'"))
    try:
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != "55P03":
            raise
        raise Unavailable(
            f"versions are being written, and have been for {_PATIENCE}: nothing was collected; try again later"
        ) from error
    yield


class Marked:
    """What the database needs of the store; ``mark`` again adds what came since, without reading a tree twice.

    Args:
        trash: where a tree that the store has not is looked for: what was moved there may be needed after all.
        also: more roots than are registered.
    """

    def __init__(self, store: Store, trash: Path, also: Sequence[Root] = ()) -> None:
        self.names: set[str] = set()
        self._also = also
        self._store = store
        self._trash = trash
        self._read: set[str] = set()

    def mark(self, session: Session) -> None:
        """Add what all roots name.

        Raises:
            NotFound, Corrupted: a tree cannot be read, so that what it needs is not known.
        """
        for root in (*_roots.values(), *self._also):
            for name in root(session):
                self.names.add(name)
                if name.endswith(".dir") and name not in self._read:
                    self.names.update(self._names_in(name))
                    self._read.add(name)
        # The list of a version's files stays in the store whatever its tier: history, diffs and recalls read it.
        self.names.update(session.scalars(select(DatasetVersion.tree)))

    def _names_in(self, tree: str) -> list[str]:
        try:
            return _names_in(self._store, tree)
        except NotFound:
            path = self._trash / tree
            if not path.exists():
                raise
            return _md5s(path.read_bytes())


def _missing(store: Store, names: Iterable[str]) -> list[str]:
    # Plain strings: a Path for each of 50,000 objects would take four times as long.
    objects = str(store.path_of("0" * 32).parent.parent)
    return [name for name in names if not os.path.exists(f"{objects}/{name[:2]}/{name[2:]}")]  # noqa: PTH110


def objects_of(store: Store, tree: str) -> list[str]:
    """The md5s that a tree names, each once."""
    return list(dict.fromkeys(_names_in(store, tree)))


def _names_in(store: Store, tree: str) -> list[str]:
    return _md5s(store.read(tree))


def _md5s(data: bytes) -> list[str]:
    # Not as a Tree: the collector reads every tree there is and does not look at paths.
    entries: list[dict[str, Any]] = orjson.loads(data)
    return [entry["md5"] for entry in entries]


def _hot_versions(session: Session) -> Iterable[str]:
    cooled = select(VersionStorage.version_id).where(VersionStorage.tier != "hot")
    return session.scalars(select(DatasetVersion.tree).where(DatasetVersion.id.not_in(cooled)).distinct())


def _batches(session: Session) -> Iterable[str]:
    return session.scalars(select(Batch.tree))


def _results(session: Session) -> Iterable[str]:
    for results in (Round.metrics["results"], Decision.comparison["results"]):
        for trees in session.scalars(select(results).where(results.as_string().is_not(None))):
            yield from trees.values()


def _asked(session: Session) -> Iterable[str]:
    open_tasks = select(AnnotationTask.object).where(AnnotationTask.state.in_(("open", "claimed", "answered")))
    return session.scalars(open_tasks.union(select(GoldQuestion.object)))


def _leases(session: Session) -> Iterable[str]:
    return session.scalars(select(StoreLease.tree).where(StoreLease.expires_at > func.clock_timestamp()))


register_root("hot versions", _hot_versions)
register_root("batches", _batches)
register_root("results of trainings", _results)
register_root("samples that people are asked about", _asked)
register_root("leases", _leases)
