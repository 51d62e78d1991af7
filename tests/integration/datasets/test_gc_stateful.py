"""Random interleavings of adding, committing, deleting, collecting and dying, against one invariant."""

import itertools
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import delete, select

from learnloop.database import Batch, Dataset, session
from learnloop.datasets import gc
from learnloop.datasets.gc import collect, objects_in
from learnloop.datasets.roots import hold, objects_of
from learnloop.datasets.store import Store
from learnloop.datasets.tree import Tree
from learnloop.errors import Conflict, NotFound

FILES = st.dictionaries(st.sampled_from("abc"), st.sampled_from([b"1", b"2", b"3", b"4"]), min_size=1, max_size=3)
POINTS = [
    "gc.marked",
    "gc.generation-odd",
    "gc.moved-one",
    "gc.moved",
    "gc.marked-again",
    "gc.put-back-one",
    "gc.deleted-one",
]
OUTSIDE_THE_LOCK = ("gc.marked", "gc.marked-again", "gc.deleted-one")
NUMBERS = itertools.count()


class Died(BaseException):
    """The collector stops where SIGKILL would stop it."""


class CollectorAndWriters(RuleBasedStateMachine):
    url = ""

    @initialize()
    def start(self):
        self.folder = TemporaryDirectory()
        self.store = Store(Path(self.folder.name))
        self.pending = []
        self.transaction = partial(session, self.url)
        with self.transaction() as db:
            db.execute(delete(Batch))
            db.execute(delete(Dataset))
            db.add(Dataset(name="lamps", task_type="image_classification", owner="ana"))

    def teardown(self):
        self.folder.cleanup()

    @rule(files=FILES, another_process=st.booleans())
    def write(self, files, another_process):
        # A store of its own knows nothing of what this one saw.
        store = Store(self.store.root) if another_process else self.store
        tree = store.write_tree(Tree({path: store.add_bytes(data) for path, data in files.items()}))
        self.pending.append((store, tree))

    @rule(which=st.integers(0, 9))
    def commit(self, which):
        if not self.pending:
            return
        store, tree = self.pending.pop(which % len(self.pending))
        path = store.path_of(tree)
        whole = path.exists() and all(store.path_of(name).exists() for name in objects_of(store, tree))
        try:
            with self.transaction() as db:
                hold(db, store, tree)
                owner = db.scalars(select(Dataset)).one()
                if db.scalar(select(Batch.id).where(Batch.tree == tree)) is None:
                    db.add(Batch(dataset_id=owner.id, name=str(next(NUMBERS)), tree=tree, samples=1, owner="ana"))
        except Conflict:
            assert not whole, "refused, though everything was there"
        else:
            assert whole, "a row for a tree of which something is gone"

    @rule(which=st.integers(0, 9))
    def delete_row(self, which):
        with self.transaction() as db:
            rows = db.scalars(select(Batch).order_by(Batch.id)).all()
            if rows:
                db.delete(rows[which % len(rows)])

    @rule()
    def collect_all(self):
        self._collect(lambda name: None)
        assert {name for name, _ in objects_in(self.store)} == self._needed()
        trash = self.store.root / "gc" / "trash"
        assert list(trash.iterdir()) == []

    @rule(
        write_at=st.sampled_from([None, *POINTS]),
        files=FILES,
        another_process=st.booleans(),
        die_at=st.sampled_from([None, *POINTS]),
        times=st.integers(1, 3),
    )
    def collect_among_others(self, write_at, files, another_process, die_at, times):
        """A writer acts at one point, and the collector may die at another.

        The writer commits there too, unless it would wait for the collector's lock; then it may do so later.
        """
        left = {write_at: 1, die_at: times}

        def reach(name):
            left[name] = left.get(name, 0) - 1
            if name == write_at and left[name] == 0:
                with suppress(NotFound):  # an object went between its adding and its tree
                    self.write(files, another_process)
                    if name in OUTSIDE_THE_LOCK:
                        self.commit(-1)
            if name == die_at and left[name] == 0:
                raise Died

        with suppress(Died):
            self._collect(reach)

    @invariant()
    def what_rows_need_is_whole(self):
        if hasattr(self, "store"):
            for name in self._needed():
                self.store.verify(name)

    def _needed(self):
        with self.transaction() as db:
            trees = db.scalars(select(Batch.tree)).all()
        return {name for tree in trees for name in (tree, *objects_of(self.store, tree))}

    def _collect(self, reach):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(gc, "reach", reach)
            collect(self.store, grace=timedelta(0), transaction=self.transaction)


@pytest.mark.timeout(900)
def test_collector_and_writers_in_any_order(database_url):
    machine = type("Machine", (CollectorAndWriters,), {"url": database_url})
    run = machine.TestCase
    run.settings = settings(
        max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run("runTest").debug()
