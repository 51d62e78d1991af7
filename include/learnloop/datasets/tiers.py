"""Moving versions between tiers: hot (the store), warm (the remote, object by object), cold (one bundle there).

The bytes are copied to the colder place and read back before the row says so, and only a later garbage collection
takes them from the store: whoever is killed at any step leaves a version that is still where its row says. A version
that is not hot is recalled before it is read (``ensure_hot``); the list of its files stays in the store.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import exists, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import Batch, DatasetVersion, VersionStorage
from learnloop.datasets import copies
from learnloop.datasets.bundle import read_bundle, sha256_of, write_bundle
from learnloop.datasets.remotes import Remote, open_remote
from learnloop.datasets.remotes.base import relative_path
from learnloop.datasets.roots import hold, objects_of
from learnloop.datasets.store import Store
from learnloop.datasets.tier_policy import TIER_OF, TIERS, Tier
from learnloop.errors import Conflict, Corrupted, InvalidInput, Unavailable
from learnloop.faultpoints import reach
from learnloop.settings import settings

Progress = Callable[[int, int], None]
ARCHIVE = "archive"
_GROUP = 500
_LOCK = 0x4C4C5469  # "LLTi": with a version's id, the advisory lock of its readers (shared) and movers


@dataclass(frozen=True)
class Moved:
    """What a move did: ``bytes`` is what it added to the place it moved to."""

    version: str
    source: Tier
    target: Tier
    bytes: int


def tier_of(session: Session, version: DatasetVersion) -> Tier:
    """In which tier a version is."""
    tier = session.scalar(select(VersionStorage.tier).where(VersionStorage.version_id == version.id))
    return TIER_OF[tier or "hot"]


def refuse_cold(session: Session, version: DatasetVersion) -> None:
    """For what reads the remote object by object, such as a ``.dvc`` file's owner.

    Raises:
        Conflict: the version is in the archive.
    """
    if tier_of(session, version) == "cold":
        raise Conflict(f"{version.name} is in the cold tier, in one bundle: recall first, then run this again")


def move_to(
    session: Session,
    store: Store,
    version: DatasetVersion,
    tier: str,
    *,
    remote: Remote | None = None,
    progress: Progress | None = None,
) -> Moved:
    """Move a version to ``tier``; nothing is done when it is there. Commit to make it so.

    Args:
        remote: that of the settings when None.
        progress: called with the objects dealt with and their number.

    Raises:
        InvalidInput: there is no such tier, or no remote is configured.
        Corrupted: an object is damaged here or came back damaged from the remote; the version stays where it is.
        Unavailable: no space is left.
    """
    if tier not in TIER_OF:
        raise InvalidInput(f"{tier!r} is not a tier: it must be one of {', '.join(TIERS)}")
    source = tier_of(session, version)
    if tier == source:
        return Moved(version.name, source, source, 0)
    remote = remote or open_remote(settings().remote)
    bundle, added = None, 0
    # Down, readers go on while the bytes are copied: the version is where it was until its row changes.
    with _room(f"moving {version.name} to {tier}"):
        if source == "cold" or tier == "hot":
            _alone(session, version)
            added = _recall(session, store, version, remote, progress)
        if tier == "warm":
            added = _copy_objects(store, version, remote, progress)
        elif tier == "cold":
            bundle = _archive(store, version, remote, progress)
            added = bundle.bytes
    _alone(session, version)
    row = _row(session, version)
    row.tier, row.moved_at = tier, func.clock_timestamp()
    if tier == "warm":
        row.warm_bytes += added
    if bundle is not None:
        row.bundle, row.bundle_sha256, row.cold_bytes = bundle.name, bundle.sha256, bundle.bytes
    session.flush()
    reach("tiers.row-written")
    return Moved(version.name, source, TIER_OF[tier], added)


def ensure_hot(
    session: Session,
    store: Store,
    version: DatasetVersion,
    *,
    remote: Remote | None = None,
    progress: Progress | None = None,
) -> bool:
    """Recall a version that is not hot, before it is read; whether that was needed. Raises as ``move_to`` does.

    It stays hot until the transaction ends: who moves it waits. Readers do not wait for each other.
    """
    if tier_of(session, version) == "hot":
        _reading(session, version)
        if tier_of(session, version) == "hot":
            return False
    return move_to(session, store, version, "hot", remote=remote, progress=progress).source != "hot"


def ensure_tree_hot(
    session: Session,
    store: Store,
    tree: str,
    *,
    remote: Remote | None = None,
    progress: Progress | None = None,
) -> DatasetVersion | None:
    """As ``ensure_hot``, for who knows a version only by its tree; that version, or None for the tree of a batch."""
    if session.scalar(select(exists().where(Batch.tree == tree))):
        return None
    query = select(DatasetVersion).where(DatasetVersion.tree == tree).order_by(DatasetVersion.id.desc())
    found = session.scalars(query).all()
    if not found:
        return None
    version = next((version for version in found if tier_of(session, version) == "hot"), found[0])
    ensure_hot(session, store, version, remote=remote, progress=progress)
    return version


def sweep_archive(session: Session, remote: Remote) -> list[str]:
    """Remove the bundles of versions that were deleted; their names."""
    bundles = {name: int(name.rsplit(".", 3)[1]) for name in remote.files(ARCHIVE) if name.endswith(".tar.zst")}
    live = set(session.scalars(select(DatasetVersion.id).where(DatasetVersion.id.in_(bundles.values()))))
    gone = sorted(name for name, version_id in bundles.items() if version_id not in live)
    for name in gone:
        remote.remove(name)
    return gone


# --- down ---


def _copy_objects(store: Store, version: DatasetVersion, remote: Remote, progress: Progress | None) -> int:
    names = [version.tree, *objects_of(store, version.tree)]
    there, added = remote.has([relative_path(name) for name in names]), 0
    for done, name in enumerate(names, 1):
        if relative_path(name) not in there:
            store.verify(name)
            remote.upload(relative_path(name), store.path_of(name))
            reach("tiers.uploaded-one")
            added += store.size_of(name)
        # Read back also when it was there: nothing is taken from the store on somebody else's word.
        with _downloaded(store, remote, relative_path(name)) as copy, copy.open("rb") as file:
            if copies.md5_of(file) != name[:32]:
                raise Corrupted(
                    f"object {name} of {version.name} is damaged in the remote: push it again; nothing was moved"
                )
        if progress is not None:
            progress(done, len(names))
    reach("tiers.uploaded")
    return added


@dataclass(frozen=True)
class _Bundle:
    name: str
    sha256: str
    bytes: int


def _archive(store: Store, version: DatasetVersion, remote: Remote, progress: Progress | None) -> _Bundle:
    names = [version.tree, *sorted(objects_of(store, version.tree))]
    bundle, name = store.new_temporary(), f"{ARCHIVE}/{version.name}.{version.id}.tar.zst"
    fetched = store.new_temporary()

    def at(wanted: str) -> Path:
        path = store.path_of(wanted)
        if path.exists():
            return path
        fetched.unlink(missing_ok=True)
        remote.download(relative_path(wanted), fetched)
        return fetched

    try:
        sha256 = write_bundle(bundle, names, at, progress)
        reach("tiers.bundle-written")
        size = bundle.stat().st_size
        remote.upload(name, bundle)
        reach("tiers.uploaded")
    finally:
        bundle.unlink(missing_ok=True)
        fetched.unlink(missing_ok=True)
    with _downloaded(store, remote, name) as copy:
        if sha256_of(copy) != sha256:
            raise Corrupted(f"the bundle {name} came back from the remote with other bytes; nothing was moved")
    return _Bundle(name, sha256, size)


# --- up ---


def _recall(
    session: Session,
    store: Store,
    version: DatasetVersion,
    remote: Remote,
    progress: Progress | None,
) -> int:
    """Bring what is missing into the store, and hold it there until the transaction ends; the bytes brought."""
    row = _row(session, version)
    names, brought = objects_of(store, version.tree), 0
    for last in (False, True):
        missing = [name for name in names if not store.path_of(name).exists()]
        if row.tier == "cold":
            _unpack(store, row, remote, missing, progress)
        else:
            _fetch(store, remote, missing, progress)
        reach("tiers.fetched")
        brought += sum(store.size_of(name) for name in missing)
        try:
            hold(session, store, version.tree)
        except Conflict:  # an object that was there was collected while others were fetched
            if last:
                raise
        else:
            break  # held: a collector cannot come between any more
    return brought


def _unpack(
    store: Store, row: VersionStorage, remote: Remote, missing: Sequence[str], progress: Progress | None
) -> None:
    if missing and row.bundle is not None and row.bundle_sha256 is not None:  # as the table's constraint says
        with _downloaded(store, remote, row.bundle) as bundle:
            read_bundle(bundle, row.bundle_sha256, store, set(missing), row.bundle, progress)


def _fetch(store: Store, remote: Remote, missing: Sequence[str], progress: Progress | None) -> None:
    for start in range(0, len(missing), _GROUP):
        group = {name: store.new_temporary() for name in missing[start : start + _GROUP]}
        try:
            for done, (name, path) in enumerate(group.items(), start + 1):
                remote.download(relative_path(name), path)
                if progress is not None:
                    progress(done, len(missing))
            store.adopt(group, "the remote")
        finally:
            for path in group.values():
                path.unlink(missing_ok=True)


# --- both ---


def _row(session: Session, version: DatasetVersion) -> VersionStorage:
    """The version's row as the database has it now, made when there is none."""
    new = insert(VersionStorage).values(version_id=version.id, owner=version.owner)
    session.execute(new.on_conflict_do_nothing())
    return session.get_one(VersionStorage, version.id, populate_existing=True)


def _alone(session: Session, version: DatasetVersion) -> None:
    """Wait for those who read the version or move it, and keep others from both until the transaction ends."""
    session.execute(text("SELECT pg_advisory_xact_lock(:lock, :id)"), {"lock": _LOCK, "id": version.id})


def _reading(session: Session, version: DatasetVersion) -> None:
    """Keep the version where it is until the transaction ends."""
    session.execute(text("SELECT pg_advisory_xact_lock_shared(:lock, :id)"), {"lock": _LOCK, "id": version.id})


@contextmanager
def _downloaded(store: Store, remote: Remote, name: str) -> Iterator[Path]:
    path = store.new_temporary()
    try:
        remote.download(name, path)
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _room(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise Unavailable(
            f"no space left while {what} ({error.strerror}): it stays where it was; make room and run it again"
        ) from error
