"""Every way in which a writer and the collector can meet, with real processes that wait for each other.

Two points to wait at: the collector at a fault point (`at`), and the writer between its steps. A third wait, for a
process to stand in the queue of the lock, reads PostgreSQL's own list of locks.
"""

import multiprocessing
import os
import random
import signal
from contextlib import suppress
from datetime import timedelta
from functools import partial

import pytest
from dataset_folders import write_dataset, write_images
from sqlalchemy import delete, select, text

from learnloop.database import Batch, DatasetVersion, DatasetVersionParent, engine, session
from learnloop.datasets import gc, generation
from learnloop.datasets.gc import collect, objects_in
from learnloop.datasets.roots import hold, objects_of
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.datasets.tree import Tree
from learnloop.errors import Conflict, NotFound, Unavailable

FORK = multiprocessing.get_context("fork")
CONTENTS = (b"one", b"two", b"three")


class Apart:
    """A process that stops at each ``pause`` until it is told to go on, and reports its end."""

    def __init__(self, work, *arguments):
        self.here, there = FORK.Pipe()
        self.process = FORK.Process(target=self._run, args=(there, work, arguments))
        self.process.start()

    @staticmethod
    def _run(there, work, arguments):
        def pause(name):
            there.send(name)
            there.recv()

        try:
            there.send(("ended", work(pause, *arguments)))
        except (Conflict, Unavailable) as error:
            there.send(("refused", str(error)))

    def wait(self):
        assert self.here.poll(60), "the other process does not answer"
        return self.here.recv()

    def go_on(self):
        self.here.send("go on")

    def end(self):
        self.go_on()
        return self.ended()

    def ended(self):
        said = self.wait()
        self.process.join(60)
        assert self.process.exitcode == 0
        return said


def collecting(pause, root, url, at=()):
    left = list(at)

    def reach(name):
        if left and name == left[0]:
            left.pop(0)
            pause(name)

    gc.reach = reach  # of this process only: it is a fork
    return collect(Store(root), grace=timedelta(0), transaction=partial(session, url)).objects


def writing(pause, root, url, dataset_id, held=False):
    """Write a tree and then a batch's row that names it, as `register_batch` does, pausing in between."""
    store = Store(root)
    tree = store.write_tree(Tree({data.decode(): store.add_bytes(data) for data in CONTENTS}))
    pause("tree written")
    with session(url) as db:
        hold(db, store, tree)
        if held:
            pause("held")
        db.add(Batch(dataset_id=dataset_id, name=tree, tree=tree, samples=3, owner="ana"))
        if held:
            db.flush()
            pause("row written")
    return tree


@pytest.fixture
def writer(store, head, database_url):
    return lambda **more: Apart(partial(writing, **more), store.root, database_url, head.dataset_id)


@pytest.fixture
def collector(store, database_url):
    return lambda *at: Apart(collecting, store.root, database_url, at)


def assert_whole_rows(db, store):
    for tree in db.scalars(select(Batch.tree).union(select(DatasetVersion.tree))):
        for name in (tree, *objects_of(store, tree)):
            store.verify(name)


def until_somebody_waits_for_the_lock(db):
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    while db.scalar(waiting) == 0:
        db.rollback()
    db.rollback()


def test_collected_between_tree_and_row_the_writer_is_refused_and_its_retry_succeeds(db, store, writer, collector):
    first = writer()
    assert first.wait() == "tree written"
    assert collector().ended() == ("ended", len(CONTENTS) + 1)
    kind, message = first.end()
    assert kind == "refused"
    assert "run it again" in message
    assert db.scalar(select(Batch.id)) is None
    again = writer()
    again.wait()
    assert again.end()[0] == "ended"
    assert_whole_rows(db, store)


def test_a_row_committed_after_the_first_look_counts(db, store, writer, collector):
    first = writer()
    first.wait()
    gathering = collector("gc.marked")
    assert gathering.wait() == "gc.marked"  # has not seen the row, and has listed the objects as unneeded
    assert first.end()[0] == "ended"
    assert gathering.end() == ("ended", 0)
    assert_whole_rows(db, store)


@pytest.mark.parametrize("step", ["held", "row written"])
def test_the_collector_waits_for_who_holds(db, store, writer, collector, step):
    first = writer(held=True)
    first.wait()
    first.go_on()
    assert first.wait() == "held"
    if step == "row written":
        first.go_on()
        assert first.wait() == "row written"
    gathering = collector()
    until_somebody_waits_for_the_lock(db)
    assert not gathering.here.poll()
    if step == "held":
        first.go_on()
        assert first.wait() == "row written"
    assert first.end()[0] == "ended"
    assert gathering.ended() == ("ended", 0)
    assert_whole_rows(db, store)


def test_the_collector_gives_up_when_the_holder_does_not_end(db, store, writer, collector, monkeypatch):
    monkeypatch.setattr("learnloop.datasets.roots._PATIENCE", "200ms")
    first = writer(held=True)
    first.wait()
    first.go_on()
    first.wait()
    kind, message = collector().ended()
    assert kind == "refused"
    assert "nothing was collected" in message
    assert generation.read(store.root) == 0
    first.go_on()
    first.wait()
    assert first.end()[0] == "ended"
    assert_whole_rows(db, store)


def test_a_tree_checked_while_objects_are_being_moved_is_checked_again(db, store, writer, collector):
    for data in CONTENTS:
        store.add_bytes(data)
    gathering = collector("gc.generation-odd")
    gathering.wait()  # holds the lock; has moved nothing
    first = writer()
    assert first.wait() == "tree written"  # found all three objects
    first.go_on()
    until_somebody_waits_for_the_lock(db)
    assert gathering.end() == ("ended", len(CONTENTS))
    assert first.ended()[0] == "refused"
    assert db.scalar(select(Batch.id)) is None


def test_a_tree_checked_while_a_collector_dies_is_checked_again(db, store, writer, collector):
    for data in CONTENTS:
        store.add_bytes(data)
    gathering = collector("gc.generation-odd", "gc.moved-one")
    gathering.wait()
    first = writer()
    assert first.wait() == "tree written"
    gathering.go_on()
    assert gathering.wait() == "gc.moved-one"
    os.kill(gathering.process.pid, signal.SIGKILL)
    gathering.process.join(60)
    assert first.end()[0] == "refused"
    assert db.scalar(select(Batch.id)) is None
    assert collector().ended()[0] == "ended"
    assert {name for name, _ in objects_in(store)} & {store.add_bytes(data) for data in CONTENTS} == set()


def test_what_a_row_names_that_never_held_is_put_back(db, store, head, collector):
    tree = store.write_tree(Tree({data.decode(): store.add_bytes(data) for data in CONTENTS}))
    gathering = collector("gc.moved")
    gathering.wait()
    with pytest.raises(FileNotFoundError):
        store.path_of(tree).stat()
    db.add(Batch(dataset_id=head.dataset_id, name="careless", tree=tree, samples=3, owner="ana"))
    db.commit()
    # The tree's own list is in the trash too.
    assert gathering.end() == ("ended", 0)
    assert_whole_rows(db, store)


def test_a_second_collector_is_refused(collector, head):
    first = collector("gc.marked")
    first.wait()
    kind, message = collector().ended()
    assert kind == "refused"
    assert "being collected already" in message
    assert first.end()[0] == "ended"


def churning(pause, root, url, folder, seed):
    """Snapshot and delete, over and over, datasets whose files overlap."""
    store, chance, refused = Store(root), random.Random(seed), 0
    for turn in range(12):
        name = f"d{seed}"
        write_dataset(folder, samples=4, name=name)
        write_images(folder / "images", [f"x{turn}"], [chance.randrange(100, 106)])
        # NotFound: an object went between the look at the file and the tree. Without a grace period, it may.
        with suppress(Conflict, NotFound), session(url) as db:
            refused += 1
            version = snapshot(db, store, folder, owner="ana")
            older = db.scalars(
                select(DatasetVersion).where(
                    DatasetVersion.dataset_id == version.dataset_id, DatasetVersion.id != version.id
                )
            ).all()
            for row in older:
                db.execute(delete(DatasetVersionParent).where(DatasetVersionParent.version_id >= row.id))
                db.delete(row)
            refused -= 1
    return refused


def test_writers_and_a_collector_at_full_speed(db, store, head, database_url, tmp_path):
    writers = [Apart(churning, store.root, database_url, tmp_path / f"w{seed}", seed) for seed in range(3)]
    rounds = 0
    while any(writer.process.is_alive() and not writer.here.poll() for writer in writers):
        collect(store, grace=timedelta(0), transaction=partial(session, database_url))
        rounds += 1
        assert_whole_rows(db, store)
        db.rollback()
    assert rounds > 3
    assert [writer.ended()[0] for writer in writers] == ["ended"] * 3
    assert_whole_rows(db, store)
    collect(store, grace=timedelta(0), transaction=partial(session, database_url))
    rows = db.scalars(select(DatasetVersion.tree)).all()
    needed = {name for tree in rows for name in (tree, *objects_of(store, tree))}
    assert {name for name, _ in objects_in(store)} == needed
    engine(database_url).dispose()
