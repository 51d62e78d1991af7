"""Any order of commits, branches, merges, expiries, deletions, collections and crashes leaves a sound graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test
from sqlalchemy import select
from version_graph import CONTESTED, CRASH, NUMBER, PEOPLE, VersionGraph

from learnloop.database import DatasetVersion, MergeRequest, session
from learnloop.datasets import gc, versions
from learnloop.datasets.gc import collect, objects_in
from learnloop.datasets.merge import requests
from learnloop.datasets.merge.ancestry import ancestors, merge_base
from learnloop.datasets.merge.report import STRATEGIES
from learnloop.datasets.merge.requests import MergeResult, auto_merge, cancel_merge, complete_merge, resolve_all
from learnloop.datasets.store import Store
from learnloop.errors import Conflict, Locked

MERGE_POINTS = [
    "merge.objects-written",
    "merge.opened",
    "merge.conflicts-written",
    "merge.tree-written",
    "commit.version-written",
    "commit.head-moved",
    "merge.version-added",
    "merge.closed",
]
GC_POINTS = ["gc.marked", "gc.generation-odd", "gc.moved-one", "gc.moved", "gc.marked-again", "gc.deleted-one"]
DEATH = st.sampled_from([None, None, None, None, *MERGE_POINTS])


class Died(BaseException):
    """What is at work stops where SIGKILL would stop it."""


class MergingGraph(VersionGraph):
    """The graph of versions, in which people also merge, and the store's garbage is collected."""

    happened: Counter[str]
    """How many merges of which kind were confirmed, in all examples."""

    @rule(who=PEOPLE, first=st.booleans(), contest=st.sampled_from([None, True]))
    def diverge(self, who: str, first: bool, contest: bool | None) -> None:
        """Somebody goes on from the head, and so does the head: perhaps both with the same file."""
        if (head := self.head()) is None:
            return
        if first:
            self.write_at_once(crash=False, contest=contest)
        self.confirm(self.commit(who, [head], personal_to=who, contest=contest), crash=False)
        if not first:
            self.write_at_once(crash=False, contest=contest)

    @rule(who=PEOPLE, which=NUMBER, die_at=DEATH, crash=CRASH)
    def merge(self, who: str, which: int, die_at: str | None, crash: bool) -> None:
        """Clean ones are committed, others leave a request that is open."""
        if not (found := self.versions()):
            return
        head = self.head()
        if head is not None and which % 5:  # mostly one that is not in yet
            found = [version for version in found if version.id not in ancestors(self.db, head)] or found
        theirs = found[which % len(found)]
        earlier = self.requests(theirs)
        done = head is None or theirs.id in ancestors(self.db, head)
        contested = None if done or earlier else self.contested(head, theirs)
        try:
            with dying(die_at):
                result = auto_merge(self.db, self.store, theirs, owner=who)
        except Died:
            self.db.rollback()
            return
        except Locked:  # a Conflict too
            assert any(self.tokens.values())
            assert not contested
            self.db.rollback()
            return
        except Conflict:
            assert done
            assert head is None or not earlier
            self.db.rollback()
            return
        if contested is not None:
            assert (result.state, result.conflicts) == (("open", 1) if contested else ("merged", 0))
        self.finish("clean", result, head, theirs, crash)

    @rule(who=PEOPLE, contest=st.booleans(), strategy=st.sampled_from(STRATEGIES), die_at=DEATH, crash=CRASH)
    def diverge_and_merge(self, who: str, contest: bool, strategy: str, die_at: str | None, crash: bool) -> None:
        """The whole way at once, which single steps in any order seldom come to."""
        self.release_lock()
        self.diverge(who, first=True, contest=contest)
        self.the_graph_is_sound()  # it follows the head from step to step
        newest = len(self.versions()) - 1
        self.merge(who, 5 * len(self.versions()) + newest, die_at, crash=False)
        self.the_graph_is_sound()
        self.complete(who, len(self.requests(state="open")) - 1, strategy, die_at, crash)

    @rule(which=NUMBER, strategy=st.sampled_from(STRATEGIES), crash=CRASH)
    def answer(self, which: int, strategy: str, crash: bool) -> None:
        if waiting := self.requests(state="open"):
            resolve_all(self.db, waiting[which % len(waiting)], strategy, by="ana")
            self.end(crash)

    @rule(who=PEOPLE, which=NUMBER, strategy=st.sampled_from([None, *STRATEGIES]), die_at=DEATH, crash=CRASH)
    def complete(self, who: str, which: int, strategy: str | None, die_at: str | None, crash: bool) -> None:
        if not (waiting := self.requests(state="open")):
            return
        head, request = self.head(), waiting[which % len(waiting)]
        try:
            with dying(die_at):
                if strategy is not None:
                    resolve_all(self.db, request, strategy, by=who)
                result = complete_merge(self.db, self.store, request, owner=who)
        except Died:
            self.db.rollback()
            return
        except Locked:
            assert any(self.tokens.values())
            self.db.rollback()
            return
        assert (result.state == "open") == bool(result.unanswered)
        self.finish("answered", result, head, request.theirs, crash)

    @rule(which=NUMBER, crash=CRASH)
    def cancel(self, which: int, crash: bool) -> None:
        if waiting := self.requests(state="open"):
            cancel_merge(self.db, waiting[which % len(waiting)], by="ana")
            self.end(crash)

    @rule(die_at=st.sampled_from([None, *GC_POINTS]), times=st.integers(1, 3))
    def collect_garbage(self, die_at: str | None, times: int) -> None:
        self.end(crash=False)
        try:
            with dying(die_at, times):
                self.collect()
        except Died:
            pass
        else:
            trees = set(self.db.scalars(select(DatasetVersion.tree)))
            needed = trees.union(*(self.store.read_tree(tree).values() for tree in trees))
            assert {name for name, _ in objects_in(self.store)} == needed
        self.store = Store(self.store.root)  # writers that come next; those under way are test_gc_stateful's

    @invariant()
    def each_merge_is_in_once(self) -> None:
        version, merged = self.head(), []
        while version is not None:
            merged += [parent.id for parent in version.parents[1:]]
            version = version.parents[0] if version.parents else None
        assert len(merged) == len(set(merged))
        for request in self.requests(state="merged"):
            assert request.version is not None
            assert request.theirs_id in ancestors(self.db, request.version)

    # --- how they do it ---

    def finish(self, kind: str, result: MergeResult, head: DatasetVersion, theirs: DatasetVersion, crash: bool) -> None:
        if result.version is None or result.version.name in self.given:  # open, or it was in already
            self.end(crash)
            return
        assert not any(self.tokens.values())
        assert result.version.parents == [head, theirs]
        base = merge_base(self.db, head, theirs)
        sides = [self.file(side) for side in (base, head, theirs)]
        assert self.file(result.version) in sides
        if sides[0] == sides[1]:
            assert self.file(result.version) == sides[2]
        self.confirm(result.version, crash)
        self.happened[kind] += not crash

    def contested(self, head: DatasetVersion, theirs: DatasetVersion) -> bool:
        """Whether both changed the one file, each in another way."""
        return len({self.file(side) for side in (merge_base(self.db, head, theirs), head, theirs)}) == 3

    def file(self, version: DatasetVersion | None) -> str | None:
        return None if version is None else self.store.read_tree(version.tree).get(CONTESTED)

    def requests(self, theirs: DatasetVersion | None = None, state: str | None = None) -> list[MergeRequest]:
        """The dataset's, of one version if it is given: in one state, or in any but cancelled."""
        wanted = select(MergeRequest).where(
            MergeRequest.dataset_id == self.dataset.id,
            MergeRequest.state == state if state else MergeRequest.state != "cancelled",
        )
        if theirs is not None:
            wanted = wanted.where(MergeRequest.theirs_id == theirs.id)
        return list(self.db.scalars(wanted.order_by(MergeRequest.id)))

    def collect(self) -> None:
        collect(self.store, grace=timedelta(0), transaction=partial(session, self.url))

    def teardown(self) -> None:
        self.db.rollback()  # a step that failed holds the tree lock
        self.collect()  # what anybody left, a later collection takes
        super().teardown()


@contextmanager
def dying(point: str | None, times: int = 1) -> Iterator[None]:
    left = times

    def reach(name: str) -> None:
        nonlocal left
        left -= name == point
        if left == 0:
            raise Died

    with pytest.MonkeyPatch.context() as patched:
        for module in (requests, versions, gc):
            patched.setattr(module, "reach", reach)
        yield


@pytest.mark.timeout(900)
def test_any_order_of_events_leaves_a_sound_graph(database_url, tmp_path):
    happened: Counter[str] = Counter()
    here = {"url": database_url, "store": Store(tmp_path / "store"), "happened": happened}
    machine = type("VersionGraphHere", (MergingGraph,), here)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    # The orders are random; that they came to merges of both kinds is not left to chance unseen.
    assert happened["clean"], happened
    assert happened["answered"], happened
