"""Restoring a backup into an empty place: all of it, or nothing.

1. Look: the head, the list of contents, that all pieces are there, that databases and folders are empty.
2. Mark: ``restoring.json`` in the state directory, and a table in each database. A stack with a mark does not start.
3. Objects, archives and files, each compared with its checksum before it gets its name; then the databases, each in one
   transaction, Learnloop's last. Paths in rows that name the old machine's folders are changed to this one's.
4. The marks go. An error before takes away what was written; who was killed is made good by restoring again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from learnloop.backup import dumps, gathering, relocation
from learnloop.backup.contents import Contents, File, Head
from learnloop.backup.mark import MARK, unfinished
from learnloop.backup.place import Place
from learnloop.backup.taking import databases_of
from learnloop.database.migrate import revisions
from learnloop.datasets import durable
from learnloop.datasets.remotes import Remote, open_remote
from learnloop.datasets.remotes.base import relative_path
from learnloop.datasets.remotes.parallel import JOBS, each, shares
from learnloop.datasets.store import Store
from learnloop.errors import Conflict, Corrupted, InvalidInput
from learnloop.faultpoints import reach
from learnloop.settings import Settings

_TOGETHER = 64

Progress = Callable[[int, int], None]


@dataclass
class Restored:
    """What was restored, or would be."""

    head: Head
    objects: int = 0
    files: int = 0
    bytes: int = 0
    databases: list[str] = field(default_factory=list)
    relocated: dict[str, int] = field(default_factory=dict)
    """Rows whose paths were changed, by column."""
    lacking: dict[str, str] = field(default_factory=dict)


def restore(
    settings: Settings,
    place: Place,
    name: str = "",
    *,
    dry_run: bool = False,
    store_survived: bool = False,
    remote: Remote | None = None,
    progress: Progress | None = None,
) -> Restored:
    """Restore the backup ``name`` (the newest, without) to where ``settings`` say.

    Args:
        store_survived: the store and the folder of models may have something in them; it is compared, and what differs
            is replaced. Without, they must be empty, as the databases must be anyway.
        remote: for what belongs there; the settings' one when None.

    Raises:
        NotFound: there is no such backup, or a piece of it is missing.
        Conflict: a database or a folder is not empty.
        InvalidInput: the backup is of a newer Learnloop, or of a newer PostgreSQL.
        Corrupted: a piece is damaged or was tampered with; nothing was restored.
    """
    place.open(writing=False)
    head, contents = _chosen(place, name)
    urls = _targets(settings, contents)
    _refuse_newer(head)
    _refuse_older_server(urls, contents)
    _refuse_incomplete(place, contents)
    again = unfinished(settings.home) == head.name
    done = Restored(
        head, len(contents.all_objects()), len(contents.files), contents.size, list(urls), lacking=contents.lacking
    )
    if again and not dry_run and _has_ended(urls):
        (settings.home / MARK).unlink()  # it was killed when all was done but this
        return done
    _refuse_taken(settings, urls, contents, again=again, store_survived=store_survived)
    if dry_run:
        return done
    remote = remote or (open_remote(settings.remote) if settings.remote else None)
    owned = [] if store_survived else _folders(settings, contents)
    with durable.telling_of_a_full_disk(settings.store), _marked(settings, urls, head, owned, again=again):
        _fill_store(settings, place, contents, progress)
        _fill_remote(settings, place, contents, remote)
        _write_files(settings, place, contents)
        reach("restore.files-written")
        with _fetched_dumps(settings, place, contents) as paths:
            for dump in sorted(contents.dumps, key=lambda dump: dump.database == "learnloop"):
                dumps.load(dump.database, urls[dump.database], paths[dump.database], dump.server)
                reach("restore.database-loaded")
        done.relocated = relocation.relocate(urls, head.roots, gathering.places_of(settings))
    return done


# --- looking ---


def _chosen(place: Place, name: str) -> tuple[Head, Contents]:
    names = place.names()
    if not name and not names:
        raise InvalidInput(f"there is no complete backup at {place.remote.address}")
    head = place.head(name or names[-1])
    return head, place.contents(head)


def _targets(settings: Settings, contents: Contents) -> dict[str, str]:
    urls, wanted = databases_of(settings), [dump.database for dump in contents.dumps]
    if missing := [name for name in wanted if name not in urls]:
        raise InvalidInput(
            f"the backup has the database of {' and of '.join(missing)}, and where to restore it is not said:"
            f" set {', '.join(f'LEARNLOOP_{name.upper()}_DATABASE_URL' for name in missing)}".replace(
                "LEARNLOOP_MLFLOW_DATABASE_URL", "LEARNLOOP_MLFLOW_URL"
            )
        )
    return {name: urls[name] for name in wanted}


def _refuse_newer(head: Head) -> None:
    revision = head.revisions["learnloop"]
    if revision not in revisions():
        raise InvalidInput(
            f"backup {head.name} is of Learnloop {head.product}, whose schema ({revision}) this version does not know:"
            f" restore it with that version or a newer one"
        )


def _refuse_older_server(urls: dict[str, str], contents: Contents) -> None:
    """A dump goes into the same major version of PostgreSQL or a newer one."""
    for dump in contents.dumps:
        with dumps.connected(dump.database, urls[dump.database]) as connection:
            server = dumps.server_of(connection)
        if dumps.major_of(server) < dumps.major_of(dump.server):
            raise InvalidInput(
                f"the backup's databases were PostgreSQL {dump.server}'s, and {dump.database}'s server here is"
                f" {server}: a dump is loaded into the same major version or a newer one. Nothing was changed; restore"
                f" into a PostgreSQL {dumps.major_of(dump.server)} or newer"
            )


def _refuse_incomplete(place: Place, contents: Contents) -> None:
    things = [*contents.all_objects().items(), *((file.sha256, file.size) for file in contents.all_files())]
    missing = [checksum for checksum, size in things if not place.holds(size, checksum)]
    if missing:
        raise Corrupted(
            f"{len(missing)} things that the backup needs are missing at {place.remote.address}, such as {missing[0]}:"
            " nothing was restored; choose another backup (`learnloop backup list`, `learnloop backup verify`)"
        )


def _refuse_taken(
    settings: Settings, urls: dict[str, str], contents: Contents, *, again: bool, store_survived: bool
) -> None:
    problems = []
    for name, url in urls.items():
        with dumps.connected(name, url) as connection:
            if (found := dumps.tables(connection)) and not (again or dumps.being_restored(connection)):
                problems.append(f"{name}'s database has {len(found)} tables")
    if not again and not store_survived:
        if next(Store(settings.store).names(), None) is not None:
            problems.append(f"the store {settings.store} has objects")
        for folder in _folders(settings, contents)[1:]:
            if folder.is_dir() and any(path.is_file() for path in folder.rglob("*")):
                problems.append(f"the folder {folder} has files")
    if problems:
        raise Conflict(
            "\n  - ".join(["a backup is restored into an empty place only, and nothing was changed:", *problems])
            + ("" if any("database" in one for one in problems) else "\nIf they survived, say --store-survived")
        )


def _folders(settings: Settings, contents: Contents) -> list[Path]:
    """What a restore fills: the store's objects, and the folders that files are written into."""
    roots = gathering.roots_of(settings, sealed=True)
    return [settings.store / "files", *(roots[name] for name in sorted({file.root for file in contents.files}))]


# --- marks ---


def _has_ended(urls: dict[str, str]) -> bool:
    with dumps.connected("learnloop", urls["learnloop"]) as connection:
        return bool(dumps.tables(connection)) and not dumps.being_restored(connection)


@contextmanager
def _marked(settings: Settings, urls: dict[str, str], head: Head, owned: list[Path], *, again: bool) -> Iterator[None]:
    mark = settings.home / MARK
    settings.home.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps({"backup": head.name}))
    durable.sync([mark, settings.home])
    try:
        for name, url in urls.items():
            dumps.begin_restore(name, url, again=again)
        reach("restore.marked")
        yield
        # Learnloop's last: while its mark is there nothing starts.
        for name in sorted(urls, key=lambda name: name == "learnloop"):
            dumps.end_restore(name, urls[name])
            reach("restore.mark-removed")
    except Exception:
        for name, url in urls.items():
            dumps.undo_restore(name, url)
        for folder in owned:
            shutil.rmtree(folder, ignore_errors=True)
        mark.unlink()
        raise
    mark.unlink()
    durable.sync([settings.home])


# --- filling ---


def _fill_store(settings: Settings, place: Place, contents: Contents, progress: Progress | None) -> None:
    store = Store(settings.store)
    there = set(store.names())
    for name in there & contents.objects.keys():
        try:
            store.verify(name)
        except Corrupted:
            there.discard(name)
    missing = [name for name in contents.objects if name not in there]

    def fetch(group: list[str]) -> int:
        paths = {name: store.new_temporary() for name in group}
        try:
            for name, path in paths.items():
                place.get(contents.objects[name], name, path)
            store.adopt(paths, "the backup")
        finally:
            for path in paths.values():
                path.unlink(missing_ok=True)
        return len(group)

    # Files before the trees that name them, as ever.
    done = 0
    for kind in (False, True):
        names = [name for name in missing if name.endswith(".dir") is kind]
        for count in each(shares(names, JOBS, _TOGETHER), fetch, JOBS):
            done += count
            reach("restore.objects-placed")
            if progress is not None:
                progress(done, len(missing))


def _fill_remote(settings: Settings, place: Place, contents: Contents, remote: Remote | None) -> None:
    if not contents.remote and not contents.bundles:
        return
    if remote is None:
        raise InvalidInput("versions of the backup are in the warm or cold tier: LEARNLOOP_REMOTE must name a remote")
    remote.check(writing=True)
    store = Store(settings.store)
    things = [(relative_path(name), size, name) for name, size in contents.remote.items()]
    things += [(bundle.path, bundle.size, bundle.sha256) for bundle in contents.bundles]
    there = remote.has([path for path, _, _ in things])
    for path, size, checksum in things:
        if path in there:
            continue
        temporary = store.new_temporary()
        try:
            place.get(size, checksum, temporary)
            remote.upload(path, temporary)
        finally:
            temporary.unlink(missing_ok=True)


def _write_files(settings: Settings, place: Place, contents: Contents) -> None:
    roots = gathering.roots_of(settings, sealed=True)

    def write(group: list[File]) -> None:
        for file in group:
            target = _inside(roots[file.root], file.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f"{target.name}.restore.part")
            temporary.unlink(missing_ok=True)
            place.get(file.size, file.sha256, temporary)
            temporary.chmod(file.mode)
            durable.sync([temporary])
            temporary.replace(target)

    for _ in each(shares(contents.files, JOBS, _TOGETHER), write, JOBS):
        reach("restore.files-placed")
    if (roots[gathering.SECRETS]).is_dir():
        roots[gathering.SECRETS].chmod(0o700)


def _inside(root: Path, path: str) -> Path:
    target = (root / path).resolve()
    if not target.is_relative_to(root.resolve()):
        raise Corrupted(f"the backup has a file {path!r} that leads out of {root}")
    return target


@contextmanager
def _fetched_dumps(settings: Settings, place: Place, contents: Contents) -> Iterator[dict[str, Path]]:
    store = Store(settings.store)
    paths = {dump.database: store.new_temporary() for dump in contents.dumps}
    try:
        for dump in contents.dumps:
            place.get(dump.file.size, dump.file.sha256, paths[dump.database])
        yield paths
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)
