"""What is backed up comes back whole, and only what is new is copied; the place gives nothing away."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from backup_platform import Platform, new_key
from databases import create, with_database
from remote_places import tmpfs
from sqlalchemy import create_engine, func, select, text, update
from typer.testing import CliRunner

from learnloop import cli
from learnloop import settings as settings_module
from learnloop.backup import dumps, taking
from learnloop.backup.checking import verify
from learnloop.backup.opening import last_success, place_of
from learnloop.backup.place import Place
from learnloop.backup.restoring import restore
from learnloop.backup.sealing import Plain, Sealed, make_key, sealer_of
from learnloop.backup.upkeep import due, keep_up
from learnloop.database import BackupRun, VersionStorage, session
from learnloop.database.migrate import upgrade
from learnloop.datasets import gc
from learnloop.datasets.remotes import FolderRemote
from learnloop.datasets.tiers import ensure_hot, move_to
from learnloop.datasets.versions import get_version
from learnloop.errors import Conflict, Corrupted, InvalidInput, NotFound, OutOfSpace, Unavailable
from learnloop.settings import environment_of


def take(platform: Platform):
    return taking.take(platform.settings, platform.place, owner="ana")


def pieces(platform: Platform) -> list[Path]:
    return [path for path in (Path(platform.settings.backup_remote) / "pieces").rglob("*") if path.is_file()]


def test_what_was_backed_up_comes_back_whole_on_another_machine(platform, empty):
    versions = platform.versions()
    head = take(platform)
    assert (head.counts["versions"], head.lacking, head.notes) == (1, 0, ())
    with session(platform.url) as db:
        assert last_success(db) is not None
    done = restore(empty, place_of(empty))
    other = Platform(empty, platform.folder)
    other.assert_whole(versions)
    assert (empty.home / "secrets" / "fernet_seed").read_text() == "hush-hush"
    assert (empty.home / "secrets" / "fernet_seed").stat().st_mode & 0o777 == 0o600
    assert done.relocated == {"model_versions.source": 1, "model_versions.storage_location": 1}
    with create_engine(empty.mlflow_url).connect() as connection:
        found = connection.execute(text("SELECT source, storage_location FROM model_versions")).one()
    assert tuple(found) == (f"{empty.models}/lamps/1", f"file://{empty.models}/lamps/1")
    assert not (empty.home / "restoring.json").exists()
    assert other.change(1) == "lamps_v1.1"  # it goes on from there


def test_only_what_is_new_is_copied(platform):
    first = take(platform)
    before = set(pieces(platform))
    second = take(platform)
    # The dumps differ, since what was backed up is in them; of objects and files nothing was copied.
    contents = platform.place.contents(second)
    dumped = sum(dump.file.size for dump in contents.dumps)
    assert second.new_bytes < dumped + 1000 < first.new_bytes
    platform.change(1)
    third = platform.place.contents(take(platform))
    new = third.objects.keys() - contents.objects.keys()
    assert len(new) == 2  # an image and the tree: the table of labels is as it was
    assert before < set(pieces(platform))


def test_the_place_does_not_show_what_is_in_it(platform):
    take(platform)
    names = "\n".join(str(path) for path in Path(platform.settings.backup_remote).rglob("*"))
    for name in platform.store.names():
        assert name[:32] not in names
    for path in Path(platform.settings.backup_remote).rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"PNG" not in data[:64]
            assert not any(word in data for word in (b"hush-hush", b"weights", b"lamps", b"PGDMP"))


def test_without_a_key_no_secret_is_written(platform, tmp_path):
    place = Place(FolderRemote(tmp_path / "plain"), Plain(), tmp_path / "scratch")
    head = taking.take(platform.settings, place, owner="ana")
    assert "it is not encrypted" in head.notes[0]
    assert all(b"hush-hush" not in path.read_bytes() for path in (tmp_path / "plain").rglob("*") if path.is_file())
    assert not verify(place, head.name, tmp_path / "scratch", deep=True).problems


@pytest.mark.parametrize("key", ["another", "none"])
def test_a_wrong_key_is_refused_and_nothing_is_changed(platform, empty, tmp_path, key):
    take(platform)
    sealer = Plain() if key == "none" else sealer_of(str(new_key(tmp_path)))
    place = Place(FolderRemote(Path(platform.settings.backup_remote)), sealer, tmp_path / "scratch")
    with pytest.raises(InvalidInput, match="KEY_FILE must name" if key == "none" else "with another key"):
        restore(empty, place)
    with pytest.raises(InvalidInput):
        taking.take(platform.settings, place, owner="ana")
    assert not empty.store.exists()


def test_a_key_file_that_holds_none_is_told_from_one_that_is_not_there(tmp_path):
    (tmp_path / "key").write_text("secret")
    with pytest.raises(InvalidInput, match="holds no key: it must be 32 bytes in base64"):
        sealer_of(str(tmp_path / "key"))
    with pytest.raises(NotFound, match="learnloop backup key"):
        sealer_of(str(tmp_path / "nothing"))
    made = new_key(tmp_path)
    with pytest.raises(InvalidInput, match="exists already"):
        make_key(made)


def test_a_piece_under_another_name_or_changed_is_noticed(tmp_path):
    sealer = Sealed(b"k" * 32)
    (tmp_path / "in").write_bytes(b"a" * 3_000_000)
    with (tmp_path / "in").open("rb") as file:
        sealer.seal("one", file, 3_000_000, tmp_path / "sealed")
    read = bytearray()
    sealer.unseal("one", tmp_path / "sealed", read.extend)
    assert read == b"a" * 3_000_000
    whole = (tmp_path / "sealed").read_bytes()
    for name, data in (("two", whole), ("one", whole[:-1]), ("one", whole[:50]), ("one", b""), ("one", whole + b"x")):
        (tmp_path / "sealed").write_bytes(data)
        with pytest.raises(Corrupted):
            sealer.unseal(name, tmp_path / "sealed", lambda chunk: None)
    for place in (2, 20, 1000, len(whole) - 1):
        (tmp_path / "sealed").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(Corrupted):
            sealer.unseal("one", tmp_path / "sealed", lambda chunk: None)


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("what", ["piece", "head", "missing"])
def test_a_backup_that_was_tampered_with_is_refused_whole(platform, empty, tmp_path, what, sealed):
    sealer = sealer_of(platform.settings.backup_key_file) if sealed else Plain()
    place = Place(FolderRemote(tmp_path / "third"), sealer, tmp_path / "scratch")
    head = taking.take(platform.settings, place, owner="ana")
    found = sorted((tmp_path / "third" / "pieces").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    victim = tmp_path / "third" / "backups" / f"{head.name}.head" if what == "head" else found[-1]  # Airflow's dump
    data = bytearray(victim.read_bytes())
    if what == "missing":
        victim.unlink()
    else:
        data[len(data) // 2] ^= 0xFF
        victim.write_bytes(data)
    with pytest.raises(Corrupted):
        verify(place, head.name, tmp_path / "scratch", deep=True).raise_if_wrong()
    with pytest.raises(Corrupted):
        restore(empty, place)
    assert not any(empty.store.rglob("files/md5/*/*"))
    assert not any(path.is_file() for path in empty.models.rglob("*"))
    for url in (empty.database_url, empty.airflow_database_url, empty.mlflow_url):
        with dumps.connected("a", url) as connection:
            assert dumps.tables(connection) == set()


def test_a_restore_wants_an_empty_place(platform, empty):
    head = take(platform)
    with pytest.raises(Conflict) as refused:
        restore(platform.settings, platform.place)
    for words in ("learnloop's database has", "mlflow's database has 2 tables", "has objects", "has files"):
        assert words in str(refused.value)
    # The database was lost, the store was not.
    target = replace(empty, store=platform.settings.store, models=platform.settings.models)
    with pytest.raises(Conflict, match="--store-survived"):
        restore(target, platform.place)
    damaged = next(platform.store.names())
    platform.store.path_of(damaged).chmod(0o644)
    platform.store.path_of(damaged).write_bytes(b"junk")
    (platform.settings.models / "lamps" / "1" / "model.skops").write_bytes(b"junk")
    versions = platform.versions()
    assert restore(target, platform.place, head.name, store_survived=True).objects > 20
    Platform(target, platform.folder).assert_whole(versions)


def test_a_dry_run_looks_and_changes_nothing(platform, empty):
    take(platform)
    done = restore(empty, place_of(empty), dry_run=True)
    assert done.head.counts["versions"] == 1
    assert not empty.home.exists() or not any(path.is_file() for path in empty.home.rglob("*"))


def test_objects_in_no_row_are_not_copied_and_a_collector_waits(platform):
    stray = platform.store.add_bytes(b"nobody needs this")
    context = multiprocessing.get_context("fork")
    told, answer = context.Pipe()

    def collect() -> None:
        try:
            gc.collect(platform.store, grace=timedelta(0), transaction=partial(session, platform.url))
            answer.send("collected")
        except Conflict as error:
            answer.send(str(error))

    seen = []

    def progress(done: int, total: int) -> None:
        if not seen:
            process = context.Process(target=collect)
            process.start()
            seen.append(told.recv())
            process.join()

    head = taking.take(platform.settings, platform.place, owner="ana", progress=progress)
    assert "a backup of it is being taken" in seen[0]
    assert stray not in platform.place.contents(head).objects
    assert gc.collect(platform.store, grace=timedelta(0), transaction=partial(session, platform.url)).objects == 1


def test_rows_that_come_while_it_is_copied_are_the_next_backups(platform, empty):
    versions = platform.versions()
    added = []

    def progress(done: int, total: int) -> None:
        if not added:
            added.append(platform.change(1))

    head = taking.take(platform.settings, platform.place, owner="ana", progress=progress)
    assert head.counts["versions"] == 1
    restore(empty, place_of(empty))
    Platform(empty, platform.folder).assert_whole(versions)


@pytest.mark.parametrize("tier", ["warm", "cold"])
def test_versions_in_colder_tiers_are_backed_up_from_the_remote(platform, empty, tier):
    first = next(iter(platform.versions()))
    platform.change(1)
    remote = FolderRemote(Path(platform.settings.remote))
    remote.check(writing=True)
    with session(platform.url) as db:
        move_to(db, platform.store, get_version(db, first), tier, remote=remote)
    collected = gc.collect(platform.store, grace=timedelta(0), transaction=partial(session, platform.url))
    assert collected.objects == 0  # the second version has all of the first's files
    head, again = take(platform), take(platform)
    assert again.new_bytes < head.new_bytes
    restore(empty, place_of(empty))
    gc.collect(
        Platform(empty, platform.folder).store, grace=timedelta(0), transaction=partial(session, empty.database_url)
    )
    with session(empty.database_url) as db:
        assert db.scalar(select(VersionStorage.tier)) == tier
        version = get_version(db, first)
        ensure_hot(db, Platform(empty, platform.folder).store, version, remote=FolderRemote(Path(empty.remote)))
        tree = Platform(empty, platform.folder).store.read_tree(version.tree)
    assert not Platform(empty, platform.folder).store.absent(tree.values())


def test_an_object_that_is_lost_is_named_and_the_rest_is_backed_up(platform):
    tree = platform.store.read_tree(next(iter(platform.versions().values())))
    lost, damaged = tree["images/s001.png"], tree["images/s002.png"]
    platform.store.remove(lost)
    platform.store.path_of(damaged).chmod(0o644)
    platform.store.path_of(damaged).write_bytes(b"junk")
    head = take(platform)
    assert head.lacking == 2
    contents = platform.place.contents(head)
    assert set(contents.lacking) == {lost, damaged}
    assert "not in the store" in contents.lacking[lost]
    assert "damaged" in contents.lacking[damaged]
    with pytest.raises(Corrupted, match=lost):
        verify(platform.place, head.name, platform.settings.store / "tmp").raise_if_wrong()
    with session(platform.url) as db:
        assert last_success(db) is None
        assert db.scalar(select(BackupRun.state)) == "lacking"


def test_a_place_that_cannot_be_written_to_fails_and_says_so(platform, tmp_path):
    (tmp_path / "second").write_text("a file where a folder should be")
    with pytest.raises((Unavailable, NotFound, OSError)):
        take(platform)
    with session(platform.url) as db:
        assert db.scalar(select(func.count()).select_from(BackupRun)) in (0, 1)
        assert last_success(db) is None


def test_a_disk_that_is_full_is_said_and_what_was_there_stays(platform, empty, tmp_path):
    take(platform)
    # Objects are fetched side by side: who fetches says it, or who puts one in its place.
    said = "free some space|no space is left"
    with tmpfs(empty.store, "32k"), pytest.raises((OutOfSpace, Unavailable), match=said):
        restore(empty, place_of(empty))
    assert not (empty.home / "restoring.json").exists()
    versions = platform.versions()
    restore(empty, place_of(empty))
    Platform(empty, platform.folder).assert_whole(versions)
    with tmpfs(tmp_path / "second", "64k"), pytest.raises(Unavailable, match="no space is left"):
        take(platform)


def test_two_at_once_are_refused(platform):
    with taking.only_one(platform.settings), pytest.raises(Conflict, match="already"):
        take(platform)


def test_the_stores_own_remote_is_no_place_for_backups(platform):
    same = replace(platform.settings, backup_remote=platform.settings.remote)
    with pytest.raises(InvalidInput, match="a place of their own"):
        place_of(same)


def test_a_backup_of_a_newer_learnloop_is_refused(platform, empty):
    with session(platform.url) as db:
        db.execute(text("UPDATE learnloop_alembic_version SET version_num = '9999'"))
    take(platform)
    with pytest.raises(InvalidInput, match=r"schema \(9999\) this version does not know"):
        restore(empty, place_of(empty))


def test_a_database_that_is_being_restored_is_not_migrated(platform):
    with session(platform.url) as db:
        db.execute(text("CREATE TABLE learnloop_restoring (since timestamptz)"))
    with pytest.raises(Conflict, match="learnloop restore"):
        upgrade(platform.url)


def test_maintenance_takes_one_when_it_is_time_reads_it_back_and_removes_old_ones(platform):
    daily = replace(platform.settings, backup_keep_daily=1, backup_keep_weekly=0)
    assert due(daily)
    first = keep_up(daily, platform.place).head
    assert not due(daily)
    with session(platform.url) as db:
        assert db.scalar(select(BackupRun.verified_at)) is not None
        db.execute(update(BackupRun).values(finished_at=func.now() - timedelta(hours=25)))
    assert due(daily)
    second = keep_up(daily, platform.place)
    assert second.pruned.removed == [first.name]
    assert platform.place.names() == [second.head.name]


def test_the_commands_say_what_they_did(platform, empty, monkeypatch, tmp_path):
    def run(settings, *arguments):
        for name, value in environment_of(settings).items():
            monkeypatch.setenv(name, value)
        settings_module.settings.cache_clear()
        return CliRunner().invoke(cli.app, list(arguments))

    try:
        key = tmp_path / "made"
        assert "keep a copy" in run(platform.settings, "backup", "key", str(key)).output
        none = run(platform.settings, "backup", "list")
        assert (none.exit_code, "there is no remote at" in none.output) == (1, True), none.output
        taken = run(platform.settings, "backup")
        assert taken.exit_code == 0, taken.output
        assert "1 datasets, 1 versions" in taken.output
        (name,) = platform.place.names()
        for arguments in (("list",), ("status",), ("verify", "--deep"), ("prune", "--dry-run")):
            done = run(platform.settings, "backup", *arguments)
            assert done.exit_code == 0, done.output
            assert name in done.output
        looked = run(empty, "restore", "--dry-run")
        assert f"would restore {name}" in looked.output
        restored = run(empty, "restore")
        assert f"restored {name}" in restored.output
        again = run(empty, "restore")
        assert (again.exit_code, "into an empty place only" in again.output) == (1, True)
    finally:
        settings_module.settings.cache_clear()


def test_secrets_that_are_kept_elsewhere_are_in_it_where_it_is_encrypted(platform, empty, tmp_path):
    given = tmp_path / "run" / "fernet_key"
    given.parent.mkdir()
    given.write_text("the engine's")
    named = replace(platform.settings, backup_secrets=str(given))
    left = platform.settings.home / "secrets" / "fernet_key"
    left.write_text("what an earlier restore left")
    taking.take(named, place_of(named), owner="ana")
    restore(empty, place_of(empty))
    back = empty.home / "secrets" / "fernet_key"
    assert back.read_text() == "the engine's"
    assert back.stat().st_mode & 0o777 == 0o600
    plain = replace(named, backup_key_file="", backup_remote=str(tmp_path / "plain"))
    head = taking.take(plain, place_of(plain), owner="ana")
    assert not [file for file in place_of(plain).contents(head).files if file.root == "secrets"]


def test_a_secret_that_is_not_there_is_no_backup_without_it(platform, tmp_path):
    named = replace(platform.settings, backup_secrets=str(tmp_path / "nowhere"))
    with pytest.raises(InvalidInput, match="nowhere, and there is no such file"):
        taking.take(named, place_of(named), owner="ana")
    assert place_of(named).names() == []


def test_an_endpoint_of_backups_own_is_for_s3_only(platform):
    with pytest.raises(InvalidInput, match="are for a place on S3"):
        place_of(replace(platform.settings, backup_profile="backup"))


def test_a_backup_of_a_newer_postgresql_is_refused_by_an_older_one(platform, empty, tmp_path):
    """`make up` has PostgreSQL 18, docker-compose.yaml 16."""
    take(platform)
    with older_postgres() as server:
        urls = {}
        for name in ("learnloop", "airflow", "mlflow"):
            create(server, f"older_{name}", "template0")
            urls[name] = with_database(server, f"older_{name}")
        older = replace(
            empty, database_url=urls["learnloop"], airflow_database_url=urls["airflow"], mlflow_url=urls["mlflow"]
        )
        _there_and_back(urls["learnloop"], urls["airflow"], tmp_path / "dump")
        with pytest.raises(InvalidInput, match=r"were PostgreSQL 18\.\d+'s, and .* server here is 16\.\d+"):
            restore(older, place_of(older))
        with dumps.connected("mlflow", urls["mlflow"]) as connection:
            assert dumps.tables(connection) == set()


def _there_and_back(source: str, target: str, path: Path) -> None:
    """A dump of an older server's is loaded into one as old, though newer programs are here, too."""
    with create_engine(source).begin() as connection:
        connection.execute(text("CREATE TABLE learnloop_alembic_version AS SELECT '1' AS version_num"))
    with dumps.snapshots({"learnloop": source}) as taken:
        dumps.dump("learnloop", source, taken["learnloop"], path)
        server = taken["learnloop"].server
    dumps.load("learnloop", target, path, server)
    for url in (source, target):
        with dumps.connected("learnloop", url) as connection:
            assert dumps.tables(connection) == {"learnloop_alembic_version"}
            if url == target:
                connection.execute(text("DROP TABLE learnloop_alembic_version"))
                connection.commit()


@contextmanager
def older_postgres() -> Iterator[str]:
    """PostgreSQL 16, from the same wheel."""
    from learnloop.stack import postgres as embedded

    bin = Path(embedded.library().__file__).parent / "pginstall" / "bin"
    folder = Path(tempfile.mkdtemp(prefix="ll-pg16-", dir="/tmp"))  # short: socket paths end at 107 bytes
    as_whom = {"user": "nobody", "group": "nogroup"} if os.getuid() == 0 else {}
    if as_whom:
        shutil.chown(folder, **as_whom)

    def run(*command: str) -> None:
        subprocess.run([str(bin / command[0]), *command[1:]], check=True, capture_output=True, timeout=60, **as_whom)

    run("initdb", "--pgdata", str(folder / "data"), "--username", "postgres", "--auth", "trust")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder}"
    run(
        "pg_ctl",
        "--pgdata",
        str(folder / "data"),
        "--wait",
        "--log",
        str(folder / "log"),
        "--options",
        options,
        "start",
    )
    try:
        yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
    finally:
        run("pg_ctl", "--pgdata", str(folder / "data"), "--wait", "--mode", "immediate", "stop")
        shutil.rmtree(folder)
