"""Garbage of a remote: what no row of ours needs goes, whatever happens beside it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from dataset_folders import write_images
from sqlalchemy import delete, update

from learnloop.database import Dataset, DatasetVersion, DatasetVersionParent, session
from learnloop.datasets.batch import register_batch
from learnloop.datasets.gc import collect, nothing_collected
from learnloop.datasets.remotes import collect_remote, garbage, open_remote, push
from learnloop.datasets.remotes.base import relative_path
from learnloop.datasets.roots import objects_of
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.tiers import move_to
from learnloop.errors import Conflict, InvalidInput, NotFound, Unavailable

NOW = timedelta(0)


@pytest.fixture
def pair(db, store, folder):
    """Two versions; the second, the head, has one image more."""
    first = snapshot(db, store, folder, owner="ana")
    write_images(folder / "images", ["new"], [77])
    second = snapshot(db, store, folder, owner="ana")
    db.commit()
    return first, second


@pytest.fixture
def collecting(store, remote, database_url):
    return partial(collect_remote, store, remote, grace=NOW, transaction=partial(session, database_url))


def forget(db, version):
    """Delete a version's row, as `learnloop dataset delete` does."""
    db.execute(update(Dataset).where(Dataset.head_id == version.id).values(head_id=None))
    db.execute(delete(DatasetVersionParent).where(DatasetVersionParent.version_id == version.id))
    db.execute(delete(DatasetVersion).where(DatasetVersion.id == version.id))
    db.commit()


def needed(store, *trees):
    return {name for tree in trees for name in (tree, *objects_of(store, tree))}


def test_only_what_the_deleted_version_alone_needed_goes(db, store, remote, place, pair, collecting):
    first, second = pair
    push(store, remote, [first.tree, second.tree])
    remote.upload("files/md5/ab/notes.txt", store.path_of(first.tree))  # somebody's, and no object
    before = set(place.objects())
    deleted = second.tree
    forget(db, second)
    gone = needed(store, deleted) - needed(store, first.tree)
    assert collecting(grace=timedelta(hours=1)).young == len(gone)
    assert collecting(dry_run=True).objects == len(gone)
    assert set(place.objects()) == before
    steps = []
    done = collecting(progress=lambda *step: steps.append(step))
    assert (done.objects, done.kept, steps) == (len(gone), len(needed(store, first.tree)), [(len(gone), len(gone))])
    assert done.bytes == sum(store.size_of(name) for name in gone)
    assert set(place.objects()) == before - gone
    assert remote.has(["files/md5/ab/notes.txt"])
    assert collecting().objects == 0


def test_a_warm_version_is_kept_and_of_a_cold_one_the_archive(db, store, remote, place, pair, collecting, database_url):
    first, second = pair
    only = needed(store, first.tree) - needed(store, second.tree)
    move_to(db, store, first, "warm", remote=remote)
    db.commit()
    collect(store, grace=NOW, transaction=partial(session, database_url))
    assert collecting().objects == 0
    move_to(db, store, first, "cold", remote=remote)
    db.commit()
    # The list of its files stays in the store and at the remote; all else is in the archive.
    assert collecting().objects == len(needed(store, first.tree) - needed(store, second.tree) - {first.tree})
    assert not (only - {first.tree}) & set(place.objects())
    move_to(db, store, first, "hot", remote=remote)
    for name in needed(store, first.tree, second.tree):
        store.verify(name)


def test_what_is_named_and_pushed_meanwhile_stays(
    db, store, remote, place, head, batch, collecting, monkeypatch, tmp_path, database_url
):
    """Between the first look and the removal somebody registers, and pushes, what was garbage at the remote until then."""
    tree = batch.tree
    push(store, remote, [tree])
    there = set(place.objects())
    db.delete(batch)
    db.commit()
    assert collecting(dry_run=True).objects == len(there)
    sent = []

    def meanwhile(point):
        if point == "remote-gc.marked":
            with session(database_url) as other:
                dataset = other.get_one(Dataset, head.dataset_id)
                assert register_batch(other, store, dataset, tmp_path / "arrived", owner="ana").tree == tree
            sent.append(push(store, remote, [tree]).objects)

    monkeypatch.setattr(garbage, "reach", meanwhile)
    assert collecting().objects == 0
    assert sent == [0]  # all was there
    assert set(place.objects()) == there


def test_one_that_ended_in_between_is_gone_on_with(db, store, remote, place, pair, collecting, monkeypatch):
    first, second = pair
    push(store, remote, [first.tree, second.tree])
    rest = needed(store, first.tree)
    forget(db, second)
    monkeypatch.setattr(garbage, "JOBS", 1)

    def ended(point):
        if point == "remote-gc.removed-one":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(garbage, "reach", ended)
        with pytest.raises(KeyboardInterrupt):
            collecting()
    left = set(place.objects())
    assert rest < left
    assert collecting().objects == len(left - rest)
    assert set(place.objects()) == rest


def test_a_list_that_is_lost_stops_it(db, store, remote, place, pair, collecting):
    first, second = pair
    push(store, remote, [first.tree, second.tree])
    before = place.objects()
    store.remove(first.tree)
    with pytest.raises(NotFound, match=first.tree):
        collecting()
    assert place.objects() == before


def test_it_is_refused_beside_another_and_of_what_is_not_there(store, place, remote, pair, collecting):
    push(store, remote, [pair[0].tree])
    with nothing_collected(store), pytest.raises(Conflict, match="being collected already"):
        collecting()
    with pytest.raises(InvalidInput, match="cannot be negative"):
        collecting(grace=timedelta(seconds=-1))
    with pytest.raises((NotFound, Unavailable)):
        collect_remote(store, place.absent(), grace=NOW)


def test_an_object_of_unknown_age_is_spared(db, store, pair, database_url, tmp_path):
    """fsspec's memory filesystem says only when a file was made, in a word of its own."""
    first, second = pair
    remote = open_remote("memory://garbage")
    push(store, remote, [first.tree, second.tree])
    forget(db, second)
    done = collect_remote(store, remote, grace=NOW, transaction=partial(session, database_url))
    assert (done.objects, done.young > 0) == (0, True)
    assert remote.has([relative_path(name) for name in needed(store, first.tree)])
