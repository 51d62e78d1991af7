"""Garbage collection of the store, while others write to it.

1. What the roots (``roots.register_root``) name is needed; an object that no root names, and that nothing was done
   with for a grace period, is a candidate. Writers bring the change time of what they find known up to date, so
   that a running writer's objects are young.
2. Candidates are moved aside, into ``gc/trash``, under a lock that keeps transactions from naming trees, and only
   after a second look at the roots under that lock: a row committed before it counts.
3. A writer that found an object before it was moved sees, under the same lock, that the store's generation is not the
   one it knew, looks for everything again, and writes no row when something is gone (``roots.hold``): the grace
   period makes this rare, the lock makes it certain.
4. Before anything is deleted for good the roots are looked at a third time, and what they name is put back: this
   also mends what an earlier collector left when it died in between.
5. Whoever dies at any of these steps has lost nothing that is needed: what is in the trash is either put back or
   deleted by the next collection, and what is in the store is whole.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep

from sqlalchemy import delete, func
from sqlalchemy.orm import Session

from learnloop import database
from learnloop.database import StoreLease
from learnloop.datasets import generation
from learnloop.datasets.roots import Marked, nothing_held
from learnloop.datasets.store import Store
from learnloop.errors import Conflict, InvalidInput
from learnloop.faultpoints import reach

GRACE = timedelta(days=2)
AGES = (timedelta(days=1), timedelta(days=7), timedelta(days=30), timedelta(days=365))

Progress = Callable[[int, int], None]
Transaction = Callable[[], AbstractContextManager[Session]]


@dataclass(frozen=True)
class Garbage:
    """Objects of which nothing was done for at least ``older_than``, and less than the next one's."""

    older_than: timedelta
    objects: int
    bytes: int


@dataclass(frozen=True)
class Collection:
    """What a collection deleted, or would delete when it was a dry run."""

    dry_run: bool
    objects: int
    bytes: int
    ages: tuple[Garbage, ...]
    """The same by age; objects left over from a collection that died count as the youngest."""
    young: int
    """Objects that no root names, but that are within the grace period: a later collection's."""
    put_back: int
    """Objects that were in the trash and are needed."""
    temporary: int
    """Files that dead writers left."""
    kept: int
    """Objects that are needed."""


@dataclass(frozen=True)
class Found:
    """An object that nothing needs; its age is in seconds."""

    name: str
    bytes: int
    age: float


def collect(
    store: Store,
    *,
    grace: timedelta = GRACE,
    dry_run: bool = False,
    transaction: Transaction = database.session,
    progress: Progress | None = None,
) -> Collection:
    """Delete the objects that nothing needs. Safe beside any number of writers and readers.

    Args:
        grace: how long an object must have been left alone.
        dry_run: say what would go, and change nothing.
        transaction: opens a transaction on Learnloop's database.
        progress: called with the candidates dealt with and their number.

    Raises:
        Conflict: another collection of the store is running.
        Unavailable: transactions that name trees have not ended within ten seconds.
        NotFound, Corrupted: a tree cannot be read, so that what it needs is not known; nothing was collected.
    """
    if grace < timedelta(0):
        raise InvalidInput(f"the grace period cannot be negative, as {grace} is")
    with nothing_collected(store):
        marked = Marked(store, trash_folder(store))
        with transaction() as session:
            marked.mark(session)
        unneeded, kept = _unneeded(store, marked)
        old = [found for found in unneeded if found.age >= grace.total_seconds()]
        reach("gc.marked")
        trash = _trash(store)
        if dry_run:
            gone = [*old, *(found for found in trash if found.name not in marked.names)]
            put_back = sum(found.name in marked.names for found in trash)
            leftovers = _leftovers(store, grace)
        else:
            leftovers = _remove_leftovers(store, grace)
            with transaction() as session, nothing_held(session):
                _move_aside(store, marked, session, old, grace)
            with transaction() as session:
                marked.mark(session)
                session.execute(delete(StoreLease).where(StoreLease.expires_at < func.clock_timestamp()))
            reach("gc.marked-again")
            gone, put_back = _empty_trash(store, marked, {found.name: found.age for found in old}, progress)
        return Collection(
            dry_run=dry_run,
            objects=len(gone),
            bytes=sum(found.bytes for found in gone),
            ages=by_age(gone, grace),
            young=len(unneeded) - len(old),
            put_back=put_back,
            temporary=len(leftovers),
            kept=kept,
        )


def objects_in(store: Store) -> Iterator[tuple[str, os.stat_result]]:
    """The name and state of every object of the store, in no order."""
    with _scan(store.root / "files" / "md5") as folders:
        for folder in folders:
            with _scan(Path(folder.path)) as objects:
                for found in objects:
                    try:
                        yield folder.name + found.name, found.stat()
                    except FileNotFoundError:
                        continue  # collected since the folder was read


# --- the steps ---


@contextmanager
def nothing_collected(store: Store, patience: timedelta = timedelta(0)) -> Iterator[None]:
    """Be the only one who may take objects away, or who keeps others from it, as a backup does.

    Args:
        patience: how long to wait for who does so already.

    Raises:
        Conflict: that one has not ended.
    """
    # The kernel gives the lock back when its holder dies.
    folder = store.root / "gc"
    folder.mkdir(parents=True, exist_ok=True)
    deadline = monotonic() + patience.total_seconds()
    with (folder / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if monotonic() >= deadline:
                    raise Conflict(
                        f"garbage of {store.root} is being collected already, or a backup of it is being taken:"
                        " wait until that has ended"
                    ) from error
            sleep(0.5)
        yield


def find(store: Store, name: str) -> Path:
    """Where an object is for who keeps collectors away: in the store, or aside, where one that died has left it."""
    path = store.path_of(name)
    aside = trash_folder(store) / name
    return aside if aside.exists() and not path.exists() else path


def _unneeded(store: Store, marked: Marked) -> tuple[list[Found], int]:
    now, unneeded, kept = time.time(), [], 0
    for name, state in objects_in(store):
        if name in marked.names:
            kept += 1
        else:
            # The change time: every write, rename, link and touch moves it, and nothing can set it back.
            unneeded.append(Found(name, state.st_size, now - state.st_ctime))
    return unneeded, kept


def _trash(store: Store) -> list[Found]:
    with _scan(trash_folder(store)) as files:
        return [Found(file.name, file.stat().st_size, 0.0) for file in files]


def _move_aside(store: Store, marked: Marked, session: Session, old: list[Found], grace: timedelta) -> None:
    marked.mark(session)
    trash_folder(store).mkdir(exist_ok=True)
    generation.begin(store.root)
    reach("gc.generation-odd")
    for found in old:
        path = store.path_of(found.name)
        if found.name in marked.names or not _still_old(path, grace):
            continue
        path.rename(trash_folder(store) / found.name)
        reach("gc.moved-one")
    generation.end(store.root)
    reach("gc.moved")


def _still_old(path: Path, grace: timedelta) -> bool:
    try:
        return time.time() - path.stat().st_ctime >= grace.total_seconds()
    except FileNotFoundError:
        return False


def _empty_trash(
    store: Store, marked: Marked, ages: dict[str, float], progress: Progress | None
) -> tuple[list[Found], int]:
    gone, put_back, trash = [], 0, _trash(store)
    needed = [found for found in trash if found.name in marked.names]
    for found in needed:
        _put_back(store, found.name)
        put_back += 1
        reach("gc.put-back-one")
    for done, found in enumerate((found for found in trash if found.name not in marked.names), 1):
        (trash_folder(store) / found.name).unlink()
        gone.append(Found(found.name, found.bytes, ages.get(found.name, 0.0)))
        reach("gc.deleted-one")
        if progress is not None:
            progress(done, len(trash) - len(needed))
    return gone, put_back


def _put_back(store: Store, name: str) -> None:
    target = store.path_of(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The same bytes, should a writer have added them again meanwhile.
    (trash_folder(store) / name).replace(target)


def _leftovers(store: Store, grace: timedelta) -> list[Path]:
    """Temporary files of writers that died; a live writer's are young."""
    grace = max(grace, timedelta(hours=1))
    with _scan(store.root / "tmp") as files:
        return [Path(file.path) for file in files if file.is_file() and _still_old(Path(file.path), grace)]


def _remove_leftovers(store: Store, grace: timedelta) -> list[Path]:
    leftovers = _leftovers(store, grace)
    for path in leftovers:
        path.unlink(missing_ok=True)
    return leftovers


def trash_folder(store: Store) -> Path:
    """Where a collector puts what it takes away, until it is sure."""
    return store.root / "gc" / "trash"


@contextmanager
def _scan(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        yield iter(())
        return
    with entries:
        yield entries


def by_age(gone: list[Found], grace: timedelta) -> tuple[Garbage, ...]:
    """Sums by age, the youngest first."""
    bounds = [timedelta(0), *(age for age in AGES if age > grace)]
    if grace > timedelta(0):
        bounds.insert(1, grace)
    rows = []
    for lower, upper in zip(bounds, [*bounds[1:], timedelta.max], strict=True):
        here = [found for found in gone if lower.total_seconds() <= found.age < upper.total_seconds()]
        rows.append(Garbage(lower, len(here), sum(found.bytes for found in here)))
    return tuple(row for row in rows if row.objects)
