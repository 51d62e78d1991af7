"""Taking a backup.

1. Nobody else takes or prunes one (an advisory lock of Learnloop's database), and nothing is collected (the collector's
   lock).
2. Snapshots of the databases; what Learnloop's names is listed from its snapshot. From here on rows may come and go.
3. The databases are dumped from the snapshots; objects, archives and files that the place lacks are copied.
4. The list of contents, then the head. A backup that was killed before has no head: it is none, and what it copied need not
   be copied again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from learnloop import __version__, database
from learnloop.backup import dumps, gathering
from learnloop.backup.contents import Contents, Dump, File, Head
from learnloop.backup.place import Place
from learnloop.database import BackupRun
from learnloop.datasets import gc
from learnloop.datasets.durable import telling_of_a_full_disk
from learnloop.datasets.remotes import Remote, open_remote
from learnloop.datasets.remotes.base import relative_path
from learnloop.datasets.remotes.parallel import JOBS, each, shares
from learnloop.datasets.store import Store
from learnloop.errors import Conflict, Corrupted, InvalidInput, LearnloopError, NotFound
from learnloop.faultpoints import reach
from learnloop.settings import Settings

_LOCK = 0x4C4C424B  # "LLBK"
_TOGETHER = 64
_PATIENCE = timedelta(minutes=10)  # for a collector to end

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Work:
    settings: Settings
    store: Store
    place: Place
    remote: Remote | None
    progress: Progress | None


def take(
    settings: Settings,
    place: Place,
    *,
    owner: str,
    remote: Remote | None = None,
    progress: Progress | None = None,
) -> Head:
    """Take a backup of everything that ``settings`` name.

    Args:
        remote: the store's, where it needs other credentials than the environment's.
        progress: called with the objects done and their number.

    Raises:
        Conflict: another is being taken, or garbage collected for longer than ten minutes.
        Unavailable: a database, the remote or the place does not answer, or is full.
        OutOfSpace: the store's disk has no room for what is on its way.
    """
    urls = databases_of(settings)
    store = Store(settings.store)
    work = _Work(settings, store, place, remote or _remote_of(settings), progress)
    with only_one(settings):
        place.open(writing=True)
        now = datetime.now(UTC)
        name = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        with (
            _told(settings, name, place, owner) as tell,
            gc.nothing_collected(store, _PATIENCE),
            telling_of_a_full_disk(settings.store),
        ):
            head, contents = _copy_all(work, urls, name, now)
            reach("backup.copied")
            head = replace(head, contents=place.put_contents(contents), finished_at=datetime.now(UTC).isoformat())
            reach("backup.contents-written")
            place.put_head(head)
            reach("backup.head-written")
            tell(head)
    return head


def databases_of(settings: Settings) -> dict[str, str]:
    """The databases that are backed up, by name: Airflow's where it is named, MLflow's where it is one of ours."""
    urls = {
        "airflow": settings.airflow_database_url,
        "learnloop": settings.database_url,
        "mlflow": "" if settings.mlflow_url.startswith("http") else settings.mlflow_url,
    }
    if not urls["learnloop"]:
        raise InvalidInput("LEARNLOOP_DATABASE_URL is not set: nothing to back up is known. `make up` sets it")
    return {name: url for name, url in urls.items() if url}


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Be the only one who writes to the place of backups; the database forgets who dies.

    Raises:
        Conflict: somebody else does.
    """
    with dumps.connected("learnloop", settings.database_url) as connection:
        if not connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}):
            raise Conflict("a backup is being taken or removed already: wait until that has ended")
        connection.commit()  # the lock is the connection's: no transaction need wait with it
        yield


def _copy_all(work: _Work, urls: dict[str, str], name: str, now: datetime) -> tuple[Head, Contents]:
    before = _before(work.place)
    new, dumped = 0, []
    scratch = work.store.new_temporary()
    with dumps.snapshots(urls) as snapshots:
        with Session(snapshots["learnloop"].connection) as session:
            contents = gathering.objects(session, work.store)
            counts = gathering.counts(session)
        reach("backup.listed")
        for database_name, snapshot in snapshots.items():
            try:
                dumps.dump(database_name, urls[database_name], snapshot, scratch)
                file = _described(scratch, "dump", database_name)
                new += work.place.put(scratch, file.size, file.sha256)
            finally:
                scratch.unlink(missing_ok=True)
            dumped.append(Dump(database_name, file, snapshot.revision, snapshot.server))
            reach("backup.dumped-one")
    contents.dumps = dumped
    new += _copy_objects(work, contents, before)
    new += _copy_bundles(work, contents, before)
    new += _copy_files(work, contents, before)
    contents.lacking = dict(sorted(contents.lacking.items()))
    return Head(
        name=name,
        started_at=now.isoformat(),
        finished_at="",
        product=__version__,
        revisions={one.database: one.revision for one in dumped},
        contents=File("", "", 0, ""),
        objects=len(contents.all_objects()) + len(contents.all_files()),
        size=contents.size,
        new_bytes=new,
        roots=gathering.places_of(work.settings),
        counts=counts,
        notes=_notes(work),
        lacking=len(contents.lacking),
    ), contents


def _notes(work: _Work) -> tuple[str, ...]:
    notes = []
    if not work.settings.airflow_database_url:
        notes.append("without Airflow's database: LEARNLOOP_AIRFLOW_DATABASE_URL is not set")
    if work.settings.mlflow_url.startswith("http"):
        notes.append(f"without MLflow's server at {work.settings.mlflow_url}, which has its own operator")
    if not work.place.sealed:
        notes.append("without the stack's secrets (Airflow's Fernet key): it is not encrypted")
    return tuple(notes)


def _before(place: Place) -> Contents:
    """What the last readable backup holds: what is as it was then need not be read or fetched."""
    for name in reversed(place.names()):
        try:
            return place.contents(place.head(name))
        except (Corrupted, NotFound):
            continue  # `verify` tells of it; here it only costs time
    return Contents()


def _copy_objects(work: _Work, contents: Contents, before: Contents) -> int:
    known = before.all_objects()
    for listed in (contents.objects, contents.remote):
        listed.update({name: known.get(name, 0) for name, size in listed.items() if not size})
    wanted = contents.all_objects()
    names = [name for name, size in wanted.items() if not (size and work.place.holds(size, name))]
    done = 0

    def copy(group: list[str]) -> list[tuple[str, int, int, str]]:
        return [(name, *_copy_object(work, name)) for name in group]

    new = 0
    for group in each(shares(names, JOBS, _TOGETHER), copy, JOBS):
        for name, size, copied, lacking in group:
            new += copied
            done += 1
            for listed in (contents.objects, contents.remote):
                if name in listed:
                    listed[name] = size
                    if lacking:
                        del listed[name]
                        contents.lacking[name] = lacking
        if work.progress is not None:
            work.progress(done, len(names))
        reach("backup.objects-copied")
    return new


def _copy_object(work: _Work, name: str) -> tuple[int, int, str]:
    """Its size, the bytes that were copied for it, and why it could not be had."""
    path = gc.find(work.store, name)
    try:
        size = path.stat().st_size
        return size, work.place.put(path, size, name), ""
    except (FileNotFoundError, Corrupted) as error:
        here = "it is damaged in the store" if isinstance(error, Corrupted) else "it is not in the store"
    fetched = work.store.new_temporary()
    try:
        if work.remote is None:
            return 0, 0, f"{here}, and there is no remote"
        work.remote.download(relative_path(name), fetched)
        size = fetched.stat().st_size
        if work.place.holds(size, name):
            return size, 0, ""
        return size, work.place.put(fetched, size, name), ""
    except (NotFound, Corrupted) as error:
        return 0, 0, f"{here}, and at the remote: {error}"
    finally:
        fetched.unlink(missing_ok=True)


def _copy_bundles(work: _Work, contents: Contents, before: Contents) -> int:
    new, bundles = 0, []
    known = {(one.path, one.sha256): one for one in before.bundles}
    for bundle in contents.bundles:
        file = known.get((bundle.path, bundle.sha256))
        if file is None or not work.place.holds(file.size, file.sha256):
            path = work.store.new_temporary()
            try:
                if work.remote is None:
                    raise NotFound("there is no remote")
                work.remote.download(bundle.path, path)
                file = replace(bundle, size=path.stat().st_size)
                new += work.place.put(path, file.size, file.sha256)
            except (NotFound, Corrupted) as error:
                contents.lacking[bundle.path] = f"the archive of a version could not be had: {error}"
                continue
            finally:
                path.unlink(missing_ok=True)
        bundles.append(file)
    contents.bundles = bundles
    return new


def _copy_files(work: _Work, contents: Contents, before: Contents) -> int:
    new, known = 0, {(file.root, file.path): file for file in before.files}
    named = gathering.secret_files(work.settings) if work.place.sealed else []
    for path in named:
        file = replace(_described(path, gathering.SECRETS, path.name), mode=0o600)
        new += work.place.put(path, file.size, file.sha256)
        contents.files.append(file)
    there = {(file.root, file.path) for file in contents.files}
    for root, folder in gathering.roots_of(work.settings, sealed=work.place.sealed).items():
        for file, path in gathering.files_below(root, folder, known):
            if (file.root, file.path) in there:
                continue  # what a restore left of the same name: that which is named is in use
            if not work.place.holds(file.size, file.sha256):
                try:
                    new += work.place.put(path, file.size, file.sha256)
                except (FileNotFoundError, Corrupted):
                    continue  # removed or written to meanwhile: it came after the moment that is backed up
            contents.files.append(file)
        reach("backup.files-copied")
    return new


def _described(path: Path, root: str, name: str) -> File:
    with path.open("rb") as file:
        return File(root, name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _remote_of(settings: Settings) -> Remote | None:
    return open_remote(settings.remote) if settings.remote else None


@contextmanager
def _told(settings: Settings, name: str, place: Place, owner: str) -> Iterator[Callable[[Head], None]]:
    """Keep the row of the backup true, whatever becomes of it."""
    url = settings.database_url
    running = update(BackupRun).where(BackupRun.state == "running")
    with database.session(url) as session:
        # We hold the lock, so whoever began these is dead.
        session.execute(running.values(state="failed", error="it was killed"))
        session.add(BackupRun(name=name, place=place.remote.address, owner=owner))

    def tell(head: Head) -> None:
        with database.session(url) as session:
            row = session.scalars(select(BackupRun).where(BackupRun.name == name)).one()
            row.state = "lacking" if head.lacking else "complete"
            row.finished_at = None if head.lacking else func.clock_timestamp()
            row.objects, row.bytes, row.new_bytes = head.objects, head.size, head.new_bytes

    try:
        yield tell
    except (LearnloopError, OSError) as error:
        with database.session(url) as session:
            session.execute(running.where(BackupRun.name == name).values(state="failed", error=str(error)[:2000]))
        raise
