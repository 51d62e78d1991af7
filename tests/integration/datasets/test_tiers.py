import os
import subprocess
import sys
import tarfile
from datetime import timedelta
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from dataset_folders import write_images
from sqlalchemy import func, select, text, update

from learnloop.database import DatasetVersion, Round, VersionStorage, VersionUse, session
from learnloop.datasets import uses
from learnloop.datasets.gc import collect, objects_in
from learnloop.datasets.remotes import FolderRemote, open_remote
from learnloop.datasets.remotes.base import relative_path
from learnloop.datasets.restore import restore
from learnloop.datasets.roots import lease, objects_of
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.datasets.tier_runs import apply_tiers, likely, plan_tiers, prefetch
from learnloop.datasets.tiers import ensure_hot, ensure_tree_hot, move_to, refuse_cold, sweep_archive, tier_of
from learnloop.datasets.uses import record_use
from learnloop.errors import Conflict, Corrupted, InvalidInput, NotFound


@pytest.fixture
def remote(tmp_path):
    return FolderRemote(tmp_path / "remote")


@pytest.fixture
def gc(store, database_url):
    return partial(collect, store, transaction=partial(session, database_url), grace=timedelta(0))


@pytest.fixture
def pair(db, store, folder):
    """Two versions; the second, the head, lacks nothing of the first but one image and has one more."""
    first = snapshot(db, store, folder, owner="ana")
    (folder / "images" / "s003.png").unlink()
    table = folder / "annotations.parquet"
    rows = pq.read_table(table)
    pq.write_table(rows.filter(pc.not_equal(rows["sample_id"], "s003")), table)
    write_images(folder / "images", ["new"], [77])
    second = snapshot(db, store, folder, owner="ana")
    db.commit()
    return first, second


def there(store, *versions):
    return all(store.path_of(name).exists() for version in versions for name in objects_of(store, version.tree))


def own(store, version, other):
    return set(objects_of(store, version.tree)) - set(objects_of(store, other.tree))


def files_under(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("tier", ["warm", "cold"])
def test_a_version_moves_down_and_comes_back_when_it_is_restored(
    db, store, remote, pair, gc, tmp_path, tier, monkeypatch
):
    first, second = pair
    restore(db, store, first.name, tmp_path / "before")
    steps = []
    moved = move_to(db, store, first, tier, remote=remote, progress=lambda *step: steps.append(step))
    db.commit()
    names = 1 + len(objects_of(store, first.tree))
    assert steps == [(done, names) for done in range(1, names + 1)]
    assert (moved.version, moved.source, moved.target) == (first.name, "hot", tier)
    assert tier_of(db, first) == tier
    if tier == "warm":
        assert moved.bytes == first.bytes + store.size_of(first.tree)
    assert there(store, first), "only a collection takes bytes from the store"
    expected = own(store, first, second)
    assert gc().objects == len(expected) == 2
    assert there(store, second)
    assert store.path_of(first.tree).exists()

    monkeypatch.setattr("learnloop.datasets.tiers.open_remote", lambda address: remote)
    steps.clear()
    restore(db, store, first.name, tmp_path / "after", user="ben", progress=lambda *step: steps.append(step))
    db.commit()
    assert steps == [(1, 2), (2, 2)]
    assert files_under(tmp_path / "after") == files_under(tmp_path / "before")
    assert tier_of(db, first) == "hot"
    assert gc().objects == 0
    last = db.scalars(select(VersionUse).order_by(VersionUse.id.desc())).first()
    assert (last.version_id, last.kind, last.owner) == (first.id, "restore", "ben")


def test_moving_there_again_adds_nothing(db, store, remote, pair):
    first, second = pair
    move_to(db, store, first, "warm", remote=remote)
    assert move_to(db, store, first, "warm", remote=remote).bytes == 0
    shared = move_to(db, store, second, "warm", remote=remote)
    assert shared.bytes == sum(store.size_of(name) for name in own(store, second, first)) + store.size_of(second.tree)


def test_a_version_goes_from_warm_to_cold_to_warm(db, store, remote, pair, gc):
    first, second = pair
    move_to(db, store, first, "warm", remote=remote)
    db.commit()
    gc()
    assert not there(store, first)
    move_to(db, store, first, "cold", remote=remote)  # what the store has not comes from the remote
    db.commit()
    refuse_cold(db, second)
    with pytest.raises(Conflict, match="recall first"):
        refuse_cold(db, first)
    for name in own(store, first, second):
        remote.remove(relative_path(name))
    move_to(db, store, first, "warm", remote=remote)
    db.commit()
    gc()
    assert ensure_hot(db, store, first, remote=remote)
    assert there(store, first)
    assert not ensure_hot(db, store, first, remote=remote)


def test_stock_tools_open_a_bundle_as_a_cache(db, store, remote, pair, tmp_path):
    move_to(db, store, pair[0], "cold", remote=remote)
    row = db.scalars(select(VersionStorage)).one()
    assert row.bundle == f"archive/{pair[0].name}.{pair[0].id}.tar.zst"
    data = (remote.root / row.bundle).read_bytes()
    assert row.cold_bytes == len(data)
    with tarfile.open(fileobj=pa.input_stream(pa.BufferReader(data), compression="zstd"), mode="r|") as tar:
        tar.extractall(tmp_path / "cache", filter="data")
    cache = Store(tmp_path / "cache")
    for name in (pair[0].tree, *objects_of(cache, pair[0].tree)):
        cache.verify(name)
    assert {name for name, _ in objects_in(cache)} == {pair[0].tree, *objects_of(store, pair[0].tree)}


@pytest.mark.parametrize("damage", ["cut short", "flipped", "gone"])
def test_a_damaged_bundle_is_named_and_nothing_changes(db, store, remote, pair, gc, damage):
    first, _ = pair
    move_to(db, store, first, "cold", remote=remote)
    db.commit()
    gc()
    bundle = next((remote.root / "archive").iterdir())
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.write_bytes(data[: len(data) // 2] if damage == "cut short" else data)
    if damage == "gone":
        bundle.unlink()
    before = {name for name, _ in objects_in(store)}
    with pytest.raises((Corrupted, NotFound), match=bundle.name):
        ensure_hot(db, store, first, remote=remote)
    db.rollback()
    assert tier_of(db, first) == "cold"
    assert {name for name, _ in objects_in(store)} == before
    assert list((store.root / "tmp").iterdir()) == []


def test_a_remote_that_lies_keeps_the_version_hot(db, store, remote, pair, gc):
    first, second = pair
    lied = min(own(store, first, second))
    path = remote.root / relative_path(lied)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    with pytest.raises(Corrupted, match=f"{lied} of {first.name} is damaged in the remote"):
        move_to(db, store, first, "warm", remote=remote)
    db.rollback()
    assert tier_of(db, first) == "hot"
    gc()
    assert there(store, first)


def test_an_object_damaged_in_the_remote_later_is_refused_at_recall(db, store, remote, pair, gc):
    first, second = pair
    move_to(db, store, first, "warm", remote=remote)
    db.commit()
    gc()
    damaged = min(own(store, first, second))
    (remote.root / relative_path(damaged)).write_bytes(b"something else")
    with pytest.raises(Corrupted, match=damaged):
        ensure_hot(db, store, first, remote=remote)
    db.rollback()
    assert tier_of(db, first) == "warm"
    assert not store.path_of(damaged).exists()


def test_a_damaged_object_is_not_archived(db, store, remote, pair):
    path = store.path_of(min(own(store, *pair)))
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    for tier in ("warm", "cold"):
        with pytest.raises(Corrupted, match=path.name):
            move_to(db, store, pair[0], tier, remote=remote)
        db.rollback()
        assert tier_of(db, pair[0]) == "hot"
    assert remote.files("archive") == []


def test_bad_requests_change_nothing(db, store, pair):
    with pytest.raises(InvalidInput, match="'tepid' is not a tier: it must be one of hot, warm, cold"):
        move_to(db, store, pair[0], "tepid")
    with pytest.raises(InvalidInput, match="LEARNLOOP_REMOTE must name"):
        open_remote("")
    with pytest.raises(InvalidInput, match="kind of use"):
        record_use(db, pair[0], "", "ana")
    assert db.scalar(select(func.count(VersionStorage.version_id))) == 0


MOVE = """
import resource, sys
from pathlib import Path
from sqlalchemy import select
from learnloop.database import DatasetVersion, session
from learnloop.datasets.remotes import FolderRemote
from learnloop.datasets.store import Store
from learnloop.datasets.tiers import move_to
root, remote, url, name, tier, limit = sys.argv[1:]
if int(limit):
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
with session(url) as db:
    version = db.scalars(select(DatasetVersion).where(DatasetVersion.name == name)).one()
    move_to(db, Store(Path(root)), version, tier, remote=FolderRemote(Path(remote)))
"""


def move_apart(store, remote, url, version, tier, fault="", limit=0):
    return subprocess.run(
        [sys.executable, "-c", MOVE, str(store.root), str(remote.root), url, version.name, tier, str(limit)],
        env={**os.environ, "LEARNLOOP_FAULT": fault},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("tier", ["warm", "cold"])
def test_a_full_disk_is_said_and_the_version_stays(db, store, remote, pair, database_url, tier):
    # No file may grow beyond this: what a full disk does, at a size of our choice.
    done = move_apart(store, remote, database_url, pair[0], tier, limit=60)
    assert done.returncode == 1
    assert f"no space left while moving {pair[0].name} to {tier}" in done.stderr
    assert tier_of(db, pair[0]) == "hot"
    assert there(store, *pair)
    assert [name for name in remote.files(".") if name.endswith(".tmp")] == []


@pytest.mark.parametrize(
    ("source", "target", "point"),
    [
        ("hot", "warm", "tiers.uploaded-one@3"),
        ("hot", "warm", "tiers.uploaded"),
        ("hot", "warm", "tiers.row-written"),
        ("hot", "cold", "tiers.bundle-written"),
        ("hot", "cold", "tiers.uploaded"),
        ("hot", "cold", "tiers.row-written"),
        ("warm", "cold", "tiers.bundle-written"),
        ("warm", "hot", "tiers.fetched"),
        ("warm", "hot", "tiers.row-written"),
        ("cold", "hot", "tiers.fetched"),
        ("cold", "hot", "tiers.row-written"),
        ("cold", "warm", "tiers.fetched"),
    ],
)
def test_who_is_killed_moving_leaves_the_version_where_it_was(
    db, store, remote, pair, gc, database_url, tmp_path, source, target, point
):
    first, second = pair
    move_to(db, store, first, source, remote=remote)
    db.commit()
    gc()
    assert move_apart(store, remote, database_url, first, target, fault=point).returncode == -9
    assert tier_of(db, first) == source
    db.rollback()
    gc()
    assert there(store, second)
    # From where its row says that it is, it can be read; and a retry ends as a run without the fault.
    again = move_apart(store, remote, database_url, first, target)
    assert again.returncode == 0, again.stderr
    assert tier_of(db, first) == target
    db.rollback()
    gc()
    ensure_hot(db, store, first, remote=remote)
    db.commit()
    for name in objects_of(store, first.tree):
        store.verify(name)
    gc()
    assert {name for name, _ in objects_in(store)} == {
        name for version in pair for name in (version.tree, *objects_of(store, version.tree))
    }


def test_a_reader_keeps_a_version_from_being_moved_but_not_from_other_readers(db, store, remote, pair, database_url):
    ensure_tree_hot(db, store, pair[0].tree, remote=remote)
    with session(database_url) as other:
        ensure_tree_hot(other, store, pair[0].tree, remote=remote)
        record_use(other, pair[0], "job", "ben")
    with session(database_url) as other:
        other.execute(text("SET LOCAL lock_timeout = '100ms'"))
        with pytest.raises(Exception, match="lock timeout"):
            move_to(other, store, pair[0], "warm", remote=remote)
        other.rollback()


def test_of_versions_with_one_tree_a_hot_one_is_enough(db, store, remote, pair, batch):
    assert ensure_tree_hot(db, store, pair[0].tree, remote=remote) is pair[0]
    assert ensure_tree_hot(db, store, batch.tree, remote=remote) is None
    assert ensure_tree_hot(db, store, "0" * 32 + ".dir", remote=remote) is None


def test_uses_are_bounded_and_counted(db, store, pair, monkeypatch):
    monkeypatch.setattr(uses, "KEPT", 3)
    for number in range(7):
        record_use(db, pair[0], "job", f"user{number}")
    record_use(db, pair[1], "restore", "ana")
    kept = db.scalars(select(VersionUse.owner).where(VersionUse.version_id == pair[0].id).order_by(VersionUse.id))
    assert kept.all() == ["user4", "user5", "user6"]
    assert db.scalars(select(VersionStorage.uses).order_by(VersionStorage.version_id)).all() == [7, 1]


def age(db, version, days):
    then = func.now() - timedelta(days=days)
    db.execute(update(DatasetVersion).where(DatasetVersion.id == version.id).values(created_at=then))
    db.execute(update(VersionStorage).where(VersionStorage.version_id == version.id).values(last_used_at=then))
    db.execute(update(VersionUse).where(VersionUse.version_id == version.id).values(created_at=then))
    db.commit()


def test_the_policy_moves_what_nobody_reads(db, store, remote, pair, database_url):
    first = pair[0]
    for version in pair:
        age(db, version, 200)
    transaction = partial(session, database_url)
    planned = plan_tiers(db)
    assert [(move.version, move.source, move.target) for move in planned] == [(first.name, "hot", "cold")]
    assert "made 200 days ago" in planned[0].reason
    db.rollback()
    lease(db, store, first.tree, holder="job", owner="ana", ttl=timedelta(hours=1))
    assert plan_tiers(db) == []
    db.rollback()
    applied = apply_tiers(store, remote, transaction=transaction)
    assert [(move.version, move.target) for move in applied.moved] == [(first.name, "cold")]
    assert applied.failed == ()
    assert tier_of(db, first) == "cold"
    assert apply_tiers(store, remote, transaction=transaction).moved == ()


def test_one_move_that_fails_does_not_stop_the_others(db, store, remote, folder, pair, database_url):
    first, second = pair
    write_images(folder / "images", ["newer"], [78])
    snapshot(db, store, folder, owner="ana")
    db.commit()
    for version in pair:
        age(db, version, 40)
    path = remote.root / relative_path(min(own(store, first, second)))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    applied = apply_tiers(store, remote, transaction=partial(session, database_url))
    assert [move.version for move in applied.moved] == [second.name]
    assert [(name, "damaged in the remote" in reason) for name, reason in applied.failed] == [(first.name, True)]


def test_what_the_next_runs_read_is_recalled(db, store, remote, pair, gc, database_url):
    first, _ = pair
    move_to(db, store, first, "cold", remote=remote)
    db.commit()
    gc()
    assert likely(db) == {}
    for _ in range(3):
        record_use(db, first, "job", "ana")
    db.commit()
    assert likely(db) == {first.id: "used 3 times in 7 days"}
    age(db, first, 8)
    assert likely(db) == {}
    db.add(Round(dataset_id=first.dataset_id, number=1, base_version_id=first.id, owner="ana"))
    db.commit()
    assert likely(db) == {first.id: "a round that is due reads it"}
    done = prefetch(store, remote, transaction=partial(session, database_url))
    assert [(move.version, move.source, move.target) for move in done.moved] == [(first.name, "cold", "hot")]
    assert there(store, first)


def test_bundles_of_deleted_versions_are_swept(db, store, remote, pair):
    first, second = pair
    move_to(db, store, first, "cold", remote=remote)
    move_to(db, store, second, "cold", remote=remote)
    assert sweep_archive(db, remote) == []
    kept, gone = (f"archive/{version.name}.{version.id}.tar.zst" for version in (second, first))
    (remote.root / kept).rename(remote.root / kept.replace(f".{second.id}.", f".{second.id + 99}."))
    assert sweep_archive(db, remote) == [kept.replace(f".{second.id}.", f".{second.id + 99}.")]
    assert remote.files("archive") == [gone]
