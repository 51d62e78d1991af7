import os
import subprocess
import sys
from datetime import timedelta
from functools import partial
from types import SimpleNamespace

import pytest
from dataset_folders import write_dataset, write_images
from sqlalchemy import delete, func, select, update

from learnloop.database import Batch, Dataset, DatasetVersion, DatasetVersionParent, Round, StoreLease, session
from learnloop.datasets import generation, roots
from learnloop.datasets.gc import collect, objects_in
from learnloop.datasets.roots import lease, objects_of, release_lease
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.datasets.tree import Tree
from learnloop.errors import Conflict, Corrupted, InvalidInput, NotFound

NOW = timedelta(0)


@pytest.fixture
def gc(store, database_url):
    return partial(collect, store, transaction=partial(session, database_url), grace=NOW)


def names(store):
    return {name for name, _ in objects_in(store)}


def needed(store, *trees):
    return {name for tree in trees for name in (tree, *objects_of(store, tree))}


def forget(db, version):
    """Delete a version's row, as `learnloop dataset delete` does."""
    db.execute(update(Dataset).where(Dataset.head_id == version.id).values(head_id=None))
    db.execute(delete(DatasetVersionParent).where(DatasetVersionParent.version_id == version.id))
    db.execute(delete(DatasetVersion).where(DatasetVersion.id == version.id))
    db.commit()


def assert_whole(store, *trees):
    for tree in trees:
        for name in needed(store, tree):
            store.verify(name)


def test_what_rows_need_stays_and_the_rest_goes(db, store, head, batch, gc):
    results = store.write_tree(Tree({"model.skops": store.add_bytes(b"weights")}))
    db.add(
        Round(
            dataset_id=head.dataset_id, number=1, state="accepted", owner="ana", metrics={"results": {"model": results}}
        )
    )
    db.commit()
    orphans = {store.add_bytes(b"nobody's"), store.add_bytes(b"nor this")}
    before = names(store)
    steps = []
    done = gc(progress=lambda *step: steps.append(step))
    assert (done.objects, done.bytes, done.young, done.put_back) == (2, 16, 0, 0)
    assert names(store) == before - orphans
    assert done.kept == len(before) - 2
    assert_whole(store, head.tree, head.parents[0].tree, batch.tree, results)
    assert steps == [(1, 2), (2, 2)]
    assert gc().objects == 0


def test_a_deleted_version_gives_back_only_what_no_other_needs(db, store, folder, gc):
    first = snapshot(db, store, folder, owner="ana")
    write_images(folder / "images", ["new"], [77])
    second = snapshot(db, store, folder, owner="ana")
    db.commit()
    only = needed(store, second.tree) - needed(store, first.tree)
    forget(db, second)
    assert gc().objects == len(only) == 2
    assert_whole(store, first.tree)


def test_a_dry_run_says_what_would_go_and_changes_nothing(store, head, gc):
    store.add_bytes(b"nobody's")
    before = names(store)
    dry = gc(dry_run=True)
    assert dry.dry_run
    assert (dry.objects, dry.bytes) == (1, 8)
    assert [(row.older_than, row.objects, row.bytes) for row in dry.ages] == [(NOW, 1, 8)]
    assert names(store) == before
    assert generation.read(store.root) == 0
    done = gc()
    assert (done.objects, done.bytes, done.kept) == (dry.objects, dry.bytes, dry.kept)


def test_what_is_young_stays(store, head, gc, monkeypatch):
    store.add_bytes(b"nobody's")
    left = store.root / "tmp" / "left by a dead writer"
    left.write_bytes(b"half")
    grace = timedelta(days=2)
    young = gc(grace=grace)
    assert (young.objects, young.young, young.temporary) == (0, 1, 0)
    later = left.stat().st_ctime + 8 * 86400
    monkeypatch.setattr("learnloop.datasets.gc.time", SimpleNamespace(time=lambda: later))
    dry = gc(grace=grace, dry_run=True)
    assert (dry.objects, dry.temporary) == (1, 1)
    assert [(row.older_than.days, row.objects) for row in dry.ages] == [(7, 1)]
    old = gc(grace=grace)
    assert (old.objects, old.young, old.temporary) == (1, 0, 1)
    assert not left.exists()


def test_what_a_writer_finds_known_becomes_young(store, monkeypatch):
    md5 = store.add_bytes(b"known")
    monkeypatch.setattr("learnloop.datasets.writing.TOUCH_AFTER", -1)
    before = store.path_of(md5).stat()
    store.add_bytes(b"known")
    after = store.path_of(md5).stat()
    assert after.st_ctime_ns > before.st_ctime_ns
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)  # what checkouts know it by


def test_a_lease_keeps_a_tree_while_it_lasts(db, store, head, gc):
    tree = store.write_tree(Tree({"a": store.add_bytes(b"pinned")}))
    lease(db, store, tree, holder="job 1", owner="ana", ttl=timedelta(hours=1))
    lease(db, store, tree, holder="job 2", owner="ben", ttl=timedelta(hours=1))
    lease(db, store, tree, holder="job 2", owner="ben", ttl=timedelta(hours=2))
    db.commit()
    assert gc().objects == 0
    release_lease(db, tree, holder="job 1")
    db.commit()
    assert gc().objects == 0
    db.execute(update(StoreLease).values(expires_at=func.now() - timedelta(seconds=1)))
    db.commit()
    assert gc().objects == 2
    assert db.scalar(select(func.count(StoreLease.id))) == 0


def test_a_lease_is_given_only_on_what_is_there(db, store):
    tree = store.write_tree(Tree({"a": store.add_bytes(b"pinned")}))
    with pytest.raises(InvalidInput, match="longer than nothing"):
        lease(db, store, tree, holder="job", owner="ana", ttl=NOW)
    again = Store(store.root)
    again.path_of(objects_of(store, tree)[0]).unlink()
    with pytest.raises(Conflict, match="run it again"):
        lease(db, again, tree, holder="job", owner="ana", ttl=timedelta(hours=1))


def test_another_piece_registers_what_it_needs(db, store, head, gc, monkeypatch):
    monkeypatch.setattr(roots, "_roots", dict(roots._roots))
    tree = store.write_tree(Tree({"a": store.add_bytes(b"a workspace's")}))
    single = store.add_bytes(b"alone")
    roots.register_root("workspaces", lambda session: [tree, single])
    with pytest.raises(InvalidInput, match="'workspaces' is registered already"):
        roots.register_root("workspaces", lambda session: [])
    assert gc().objects == 0
    assert_whole(store, tree)
    store.verify(single)


@pytest.mark.parametrize("damage", ["gone", "flipped"])
def test_nothing_goes_when_a_tree_cannot_be_read(store, head, gc, damage):
    store.add_bytes(b"nobody's")
    path = store.path_of(head.tree)
    data = bytearray(path.read_bytes())
    path.unlink()
    if damage == "flipped":
        data[5] ^= 1
        path.write_bytes(data)
    before = names(store)
    with pytest.raises((NotFound, Corrupted), match=head.tree):
        gc()
    assert names(store) == before


def test_a_negative_grace_is_refused(store, gc):
    with pytest.raises(InvalidInput, match="cannot be negative"):
        gc(grace=timedelta(days=-1))


COLLECT = """
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from learnloop.database import session
from learnloop.datasets.gc import collect
from learnloop.datasets.store import Store
collect(Store(Path(sys.argv[1])), grace=timedelta(0), transaction=partial(session, sys.argv[2]))
"""

POINTS = [
    "gc.marked",
    "gc.generation-odd",
    "gc.moved-one",
    "gc.moved-one@4",
    "gc.moved",
    "gc.marked-again",
    "gc.put-back-one",
    "gc.deleted-one",
    "gc.deleted-one@4",
]


@pytest.mark.parametrize("point", POINTS)
def test_a_collector_killed_anywhere_loses_nothing_and_the_next_takes_the_rest(
    db, store, tmp_path, head, batch, gc, database_url, point
):
    gone = write_dataset(tmp_path / "other", samples=6, name="other")
    write_images(gone / "images", [f"o{number}" for number in range(6)], range(200, 206))
    other = snapshot(db, store, gone, owner="ana")
    db.commit()
    forget(db, other)
    if point == "gc.put-back-one":  # a collector before it died when it had moved what a row then named
        lost = next(iter(objects_of(store, batch.tree)))
        (store.root / "gc" / "trash").mkdir(parents=True)
        store.path_of(lost).rename(store.root / "gc" / "trash" / lost)
    killed = subprocess.run(
        [sys.executable, "-c", COLLECT, str(store.root), database_url],
        env={**os.environ, "LEARNLOOP_FAULT": point},
        capture_output=True,
        timeout=60,
    )
    assert killed.returncode == -9, killed.stderr.decode()
    assert_whole(store, head.tree, head.parents[0].tree, batch.tree)
    # A writer that comes next is not misled by what the dead one left.
    again = snapshot(db, store, write_dataset(tmp_path / "third", samples=6, name="third"), owner="ana")
    db.commit()
    gc()
    kept = [head.tree, head.parents[0].tree, batch.tree, again.tree]
    assert_whole(store, *kept)
    assert names(store) == needed(store, *kept)
    assert list((store.root / "gc" / "trash").iterdir()) == []
    assert db.scalar(select(func.count(Batch.id))) == 1
