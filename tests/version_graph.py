"""A graph of versions in which things happen in any order: commits, branches, expiries, releases, deletions, crashes.

One database for the whole run; each example has a dataset of its own in it. Each commit adds a file of its own,
``made/{number}``, which nobody removes: a version has those of itself and of all it came from, each once, or a
commit was lost on the way. Commits may also change the file ``contested``.
"""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
import yaml
from dataset_folders import description
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from learnloop.database import Dataset, DatasetBranch, DatasetVersion, DeletedVersion, Lock, engine
from learnloop.datasets import locks
from learnloop.datasets.branches import abandon, ancestors, open_branch, unmerged_branches, write_or_branch
from learnloop.datasets.deletion import delete_version, referrers_of
from learnloop.datasets.history import show
from learnloop.datasets.reading import read_lease
from learnloop.datasets.roots import hold
from learnloop.datasets.schema import CONFIG_FILE, DatasetConfig
from learnloop.datasets.store import Store
from learnloop.datasets.tables import ANNOTATIONS, ANNOTATIONS_FILE, write_table
from learnloop.datasets.tree import Tree
from learnloop.datasets.versions import commit, create_dataset, get_version
from learnloop.errors import Conflict, Locked, NotFound, StaleToken

HOUR = timedelta(hours=1)
PEOPLE = st.sampled_from(["ana", "ben", "cy"])
CRASH = st.sampled_from([False, False, False, True])
NUMBER = st.integers(0, 1000)
MADE, CONTESTED = "made/", "contested"
names = (f"graph-{number}" for number in itertools.count())


class VersionGraph(RuleBasedStateMachine):
    """Does things in transactions of their own, some of which crash, and remembers what was confirmed."""

    url: str
    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.db = Session(engine(self.url), expire_on_commit=False)
        self.given: dict[str, str] = {}  # every name that was ever confirmed, and its tree
        self.gone: set[str] = set()
        self.reserved: set[str] = set()
        self.heads: list[int] = []
        self.tokens: dict[int, bool] = {}  # token -> whether it may still write

    @initialize(empty=CRASH)
    def begin(self, empty: bool) -> None:
        self.config = description(name=next(names))
        self.dataset = create_dataset(self.db, DatasetConfig.model_validate(self.config), "ana")
        self.db.commit()
        if not empty:
            self.write_at_once(False)

    # --- what people do ---

    @rule(who=PEOPLE)
    def take_lock(self, who: str) -> None:
        try:
            token = locks.acquire_write(self.db, self.dataset, who, HOUR).token
        except Locked:
            assert any(self.tokens.values())
            self.db.rollback()
            return
        assert not any(self.tokens.values())
        assert token not in self.tokens
        self.end(crash=False)
        self.tokens[token] = True

    @rule()
    def release_lock(self) -> None:
        held = [token for token, live in self.tokens.items() if live]
        for token in self.tokens:
            released = locks.release(self.db, self.dataset, token)
            assert released or token not in held  # one that has expired may still be there to give back
            self.tokens[token] = False
        self.end(crash=False)

    @rule()
    def lock_expires(self) -> None:
        self.db.execute(update(Lock).where(Lock.mode == "write").values(expires_at=func.clock_timestamp()))
        self.end(crash=False)
        self.tokens = dict.fromkeys(self.tokens, False)

    @rule(which=NUMBER, major=st.booleans(), crash=CRASH, merged=NUMBER)
    def commit_with_a_token(self, which: int, major: bool, crash: bool, merged: int) -> None:
        if not self.tokens:
            return
        token = sorted(self.tokens)[-1 - which % min(3, len(self.tokens))]
        apart = [branch.version for branch in unmerged_branches(self.db, self.dataset)]
        others = [apart[merged % len(apart)]] if apart and merged % 2 else []
        head = self.head()
        try:
            version = self.commit(
                "ana", [*([head] if head else []), *others], token=token, bump="major" if major else "minor"
            )
        except StaleToken:
            assert not self.tokens[token]
            self.db.rollback()
            return
        assert self.tokens[token]
        self.confirm(version, crash)

    @rule(crash=CRASH)
    def write_at_once(self, crash: bool, contest: bool | None = None) -> None:
        head = self.head()
        try:
            with locks.writing(self.db, self.dataset, "ana", "test") as lock:
                version = self.commit("ana", [head] if head else [], token=lock.token, contest=contest)
        except Locked:
            assert any(self.tokens.values())
            self.db.rollback()
            return
        assert not any(self.tokens.values())
        self.confirm(version, crash)

    @rule(who=PEOPLE, which=NUMBER, crash=CRASH)
    def branch_off(self, who: str, which: int, crash: bool) -> None:
        bases = [version for version in self.versions() if version.personal_to in (None, who)]
        if bases:
            branch = open_branch(self.db, self.dataset, who, bases[which % len(bases)], HOUR)
            self.reserve(branch, crash)

    @rule(who=PEOPLE, crash=CRASH)
    def write_or_branch_off(self, who: str, crash: bool) -> None:
        try:
            got = write_or_branch(self.db, self.dataset, who, HOUR)
        except Locked:
            assert self.head() is None
            self.db.rollback()
            return
        if isinstance(got, DatasetBranch):
            assert any(self.tokens.values())
            self.reserve(got, crash)
        elif self.end(crash):
            self.tokens[got.token] = True

    @rule(which=NUMBER, crash=CRASH)
    def commit_on_a_branch(self, which: int, crash: bool) -> None:
        if (branch := self.any_branch(which)) is None:
            return
        may = branch.state == "open" and branch.expires_at > locks.clock(self.db)
        base = [branch.base] if branch.base is not None else []
        try:
            version = self.commit(branch.owner, base, branch=branch)
        except StaleToken:
            assert not may
            self.db.rollback()
            return
        assert may
        assert version.name in self.reserved
        self.confirm(version, crash)

    @rule(which=NUMBER, how=st.sampled_from(["expire", "abandon"]))
    def branch_ends(self, which: int, how: str) -> None:
        if (branch := self.any_branch(which)) is None:
            return
        if how == "abandon":
            abandon(self.db, branch)
        else:
            branch.expires_at = locks.clock(self.db)
        self.end(crash=False)

    @rule(who=PEOPLE, which=NUMBER, crash=CRASH)
    def commit_personal(self, who: str, which: int, crash: bool) -> None:
        if versions := self.versions():
            self.confirm(self.commit(who, [versions[which % len(versions)]], personal_to=who), crash)

    @rule(which=NUMBER)
    def read(self, which: int) -> None:
        if versions := self.versions():
            read_lease(self.db, versions[which % len(versions)], "reader", HOUR)
            self.end(crash=False)

    @rule()
    def readers_lapse(self) -> None:
        self.db.execute(update(Lock).where(Lock.mode == "read").values(expires_at=func.clock_timestamp()))
        self.end(crash=False)

    @rule()
    def reconcile(self) -> None:
        locks.release_expired(self.db)
        self.end(crash=False)

    @rule(which=NUMBER, crash=CRASH)
    def delete(self, which: int, crash: bool) -> None:
        if not (versions := self.versions()):
            return
        version = versions[which % len(versions)]
        reasons = referrers_of(self.db, version)
        try:
            delete_version(self.db, self.store, version.name, by="ana", allow=lambda _: None)
        except Conflict:
            assert reasons
            self.db.rollback()
            return
        assert not reasons
        if self.end(crash):
            self.gone.add(version.name)

    # --- what must hold whatever they did ---

    @invariant()
    def lies_to_the_head_as_ancestry_says(self) -> None:
        self.db.expire_all()
        head = self.dataset.head_id
        before = set() if head is None else set(self.db.scalars(ancestors(head)))
        for version in self.versions():
            if version.personal_to is None:
                line = "head" if version.id == head else "merged" if version.id in before else "branch"
                assert show(self.db, version.name).line == line

    @invariant()
    def the_graph_is_sound(self) -> None:
        self.db.expire_all()
        versions = {version.id: version for version in self.versions()}
        # Every confirmed version is there and readable, unless it was deleted; nothing else is.
        assert {version.name: version.tree for version in versions.values()} == {
            name: tree for name, tree in self.given.items() if name not in self.gone
        }
        made: dict[int, set[str]] = {}  # what each version and all it came from have made; parents come first
        for version in versions.values():
            tree = self.store.read_tree(version.tree)
            mine = {path for path in tree if path.startswith(MADE)}
            made[version.id] = mine
            inherited = set().union(*(made[parent.id] for parent in version.parents))
            assert mine >= inherited
            assert len(mine - inherited) == (0 if version.provenance["kind"] == "merge" else 1)
            assert not self.store.absent(tree.values())
        for name in self.gone:
            with pytest.raises(NotFound):
                get_version(self.db, name)
        notes = select(DeletedVersion.name).where(DeletedVersion.dataset_id == self.dataset.id)
        assert set(self.db.scalars(notes)) == self.gone
        # Parents exist and are older, and so nothing descends from itself.
        for version in versions.values():
            assert all(parent.id in versions and parent.id < version.id for parent in version.parents)
        # One head, shared, that only ever goes forward.
        head_id = self.db.scalar(select(Dataset.head_id).where(Dataset.id == self.dataset.id))
        if head_id is not None and head_id != (self.heads[-1] if self.heads else None):
            assert not self.heads or versions[head_id].parents[0].id == self.heads[-1]
            self.heads.append(head_id)
        assert head_id == (self.heads[-1] if self.heads else None)
        assert head_id is None or versions[head_id].personal_to is None

    def teardown(self) -> None:
        self.db.close()

    # --- how they do it ---

    def commit(self, owner, parents, *, token=None, contest=None, **options):
        entries = {
            CONFIG_FILE: self.store.add_bytes(yaml.safe_dump(self.config).encode()),
            ANNOTATIONS_FILE: self.store.add_bytes(write_table(ANNOTATIONS.empty_table())),
        }
        for parent in reversed(parents):
            entries |= self.store.read_tree(parent.tree)
        number = next(contents)  # its own content, so that whose it is can be told
        entries[f"{MADE}{number}"] = self.store.add_bytes(f"{self.dataset.id} {number}".encode())
        if number % 5 < 2 if contest is None else contest:
            entries[CONTESTED] = self.store.add_bytes(f"{number}".encode())
        tree = self.store.write_tree(Tree(entries))
        hold(self.db, self.store, tree)
        return commit(
            self.db, self.dataset, tree, files=len(entries), bytes=1, owner=owner, message="",
            provenance={"kind": "test"}, parents=parents, expected_head_id=self.dataset.head_id, token=token, **options,
        )  # fmt: skip

    def confirm(self, version, crash: bool) -> None:
        assert version.name not in self.given, "a number was given twice"
        on_branch = version.name in self.reserved
        taken = self.db.scalar(select(func.count(DatasetBranch.id)).where(
            DatasetBranch.dataset_id == self.dataset.id, DatasetBranch.version_id == version.id))  # fmt: skip
        assert on_branch == bool(taken), "a reserved number went to somebody else"
        if self.end(crash):
            self.given[version.name] = version.tree

    def reserve(self, branch, crash: bool) -> None:
        assert branch.name not in self.reserved | self.given.keys(), "a number was given twice"
        if self.end(crash):
            self.reserved.add(branch.name)

    def end(self, crash: bool) -> bool:
        """Commit the transaction, or lose it as a killed process would; whether it was confirmed."""
        if crash:
            self.db.rollback()
        else:
            self.db.commit()
        return not crash

    def head(self) -> DatasetVersion | None:
        self.db.refresh(self.dataset)
        return self.dataset.head

    def versions(self) -> list[DatasetVersion]:
        wanted = select(DatasetVersion).where(DatasetVersion.dataset_id == self.dataset.id)
        return list(self.db.scalars(wanted.order_by(DatasetVersion.id)))

    def any_branch(self, which: int) -> DatasetBranch | None:
        wanted = select(DatasetBranch).where(DatasetBranch.dataset_id == self.dataset.id).order_by(DatasetBranch.id)
        found = list(self.db.scalars(wanted))
        return found[which % len(found)] if found else None


contents = itertools.count()
