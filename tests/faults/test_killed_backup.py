"""SIGKILL at every step of a backup, a restore, a removal: nothing half counts, and doing it again ends well."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from backup_platform import Platform, databases, filled, new_key, prepare_template, settings_of
from sqlalchemy import select

from learnloop.backup import taking
from learnloop.backup.checking import verify
from learnloop.backup.opening import place_of
from learnloop.backup.restoring import restore
from learnloop.backup.retention import prune
from learnloop.database import BackupRun, session
from learnloop.database.migrate import upgrade
from learnloop.errors import Conflict

TAKE = "from learnloop.backup.taking import take\ntake(settings, place, owner='ana')"
RESTORE = "from learnloop.backup.restoring import restore\nrestore(settings, place)"
PRUNE = "from learnloop.backup.retention import prune\nprune(place, daily=1, weekly=0)"


@pytest.fixture(scope="module")
def migrated(postgres: str) -> str:
    prepare_template(postgres)
    return postgres


@pytest.fixture
def platform(migrated: str, tmp_path: Path) -> Iterator[Platform]:
    home = tmp_path / "home"
    home.mkdir()
    with databases(migrated, migrated=True, models=home / "models") as urls:
        yield filled(settings_of(home, urls, str(tmp_path / "second"), new_key(tmp_path)), tmp_path / "lamps")


def kill(platform: Platform, code: str, point: str) -> None:
    killed = platform.run_apart(code, point)
    assert killed.returncode == -signal.SIGKILL, f"{point}: {killed.returncode} {killed.stderr}"


@pytest.mark.parametrize(
    "point",
    [
        "backup.head-written",
        "backup.objects-copied@2",
        "backup.listed",
        "backup.dumped-one",
        "backup.dumped-one@3",
        "backup.objects-copied",
        "backup.files-copied",
        "backup.copied",
        "backup.contents-written",
    ],
)
def test_a_killed_backup_is_none_and_the_next_copies_only_what_is_left(platform: Platform, point: str) -> None:
    kill(platform, TAKE, point)
    there = platform.place.names() if (Path(platform.settings.backup_remote) / "backups").is_dir() else []
    assert len(there) == (point == "backup.head-written")
    copied = sum(path.stat().st_size for path in Path(platform.settings.backup_remote).rglob("pieces/*/*"))
    head = taking.take(platform.settings, platform.place, owner="ana")
    dumped = sum(dump.file.size for dump in platform.place.contents(head).dumps)
    assert not verify(platform.place, head.name, platform.settings.store / "tmp", deep=True).problems
    if point in ("backup.copied", "backup.contents-written", "backup.head-written"):
        assert head.new_bytes < dumped + 1000 < copied
    with session(platform.url) as db:
        states = list(db.scalars(select(BackupRun.state).order_by(BackupRun.id)))
    assert states == ["failed", "complete"]


@pytest.mark.parametrize(
    "point",
    [
        "restore.database-loaded@2",
        "restore.objects-placed",
        "restore.marked",
        "restore.files-placed",
        "restore.files-written",
        "restore.database-loaded",
        "restore.database-loaded@3",
        "restore.mark-removed",
        "restore.mark-removed@2",
    ],
)
def test_a_killed_restore_shows_nothing_and_is_done_again(
    platform: Platform, migrated: str, tmp_path: Path, point: str
) -> None:
    versions = platform.versions()
    taking.take(platform.settings, platform.place, owner="ana")
    home = tmp_path / "other"
    with databases(migrated, migrated=False, models=home) as urls:
        key = Path(platform.settings.backup_key_file)
        other = Platform(settings_of(home, urls, platform.settings.backup_remote, key), platform.folder)
        kill(other, RESTORE, point)
        with pytest.raises(Conflict, match="a restore into this database has not ended"):
            upgrade(other.url)
        restore(other.settings, other.place)
        other.assert_whole(versions)
        upgrade(other.url)
        with pytest.raises(Conflict, match="into an empty place only"):
            restore(other.settings, other.place)


def test_who_is_killed_when_all_is_done_but_the_mark_just_takes_it_away(
    platform: Platform, migrated: str, tmp_path: Path
) -> None:
    taking.take(platform.settings, platform.place, owner="ana")
    home = tmp_path / "other"
    with databases(migrated, migrated=False, models=home) as urls:
        key = Path(platform.settings.backup_key_file)
        other = Platform(settings_of(home, urls, platform.settings.backup_remote, key), platform.folder)
        kill(other, RESTORE, "restore.mark-removed@3")
        assert other.change(1) == "lamps_v1.1"
        restore(other.settings, other.place)
        assert not (home / "restoring.json").exists()
        assert set(other.versions()) == {"lamps_v1.0", "lamps_v1.1"}


@pytest.mark.parametrize("point", ["prune.head-removed", "prune.piece-removed@2"])
def test_a_killed_removal_leaves_what_is_kept_whole(platform: Platform, point: str) -> None:
    taking.take(platform.settings, platform.place, owner="ana")
    platform.change(1)
    last = taking.take(platform.settings, platform.place, owner="ana")
    kill(platform, PRUNE, point)
    prune(platform.place, daily=1, weekly=0)
    assert platform.place.names() == [last.name]
    assert not verify(platform.place, last.name, platform.settings.store / "tmp", deep=True).problems
    needed = platform.place.contents(last)
    pieces = len(platform.place.all_pieces())
    assert pieces == 1 + len({*needed.all_objects(), *(file.sha256 for file in needed.all_files())})


def test_an_error_in_the_middle_leaves_the_place_as_empty_as_it_was(
    platform: Platform, migrated: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking.take(platform.settings, platform.place, owner="ana")
    home = tmp_path / "other"
    with databases(migrated, migrated=False, models=home) as urls:
        key = Path(platform.settings.backup_key_file)
        other = Platform(settings_of(home, urls, platform.settings.backup_remote, key), platform.folder)
        # Somebody connects Learnloop's database to a server that breaks off: its user may not make tables.
        wrong = replace(
            other.settings, airflow_database_url=other.settings.airflow_database_url.replace("airflow_", "x_")
        )
        with pytest.raises(Exception, match="does not answer"):
            restore(wrong, place_of(wrong))
        monkeypatch.setattr("learnloop.backup.restoring.relocation.relocate", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            restore(other.settings, other.place)
        monkeypatch.undo()
        assert not any((home / "store").rglob("files/md5/*/*"))
        assert not (home / "restoring.json").exists()
        restore(other.settings, other.place)
        other.assert_whole(platform.versions())
