"""How personal work comes back: merged, or as a branch that waits, and nothing in between."""

from __future__ import annotations

from datetime import timedelta

import pytest
from merges import changed
from sqlalchemy import func, select

from learnloop.database import DatasetBranch, DatasetVersion, MergeRequest
from learnloop.datasets import locks
from learnloop.datasets.contents import annotations_of
from learnloop.datasets.merge.requests import complete_merge
from learnloop.datasets.merge_or_branch import merge_or_branch
from learnloop.datasets.versions import get_version


@pytest.fixture
def bring(db, store):
    def call(version, run_id="r1"):
        return merge_or_branch(db, store, version, owner="bo", run_id=run_id)

    return call


def label(store, version, sample):
    rows = annotations_of(store, version).select(["sample_id", "label"]).to_pylist()
    return {row["sample_id"]: row["label"] for row in rows}[sample]


def count(db, table):
    return db.scalar(select(func.count()).select_from(table))


def test_what_nobody_contradicts_is_merged_once(db, store, head, bring):
    mine = changed(db, store, head, records={"s000": {"label": "bright"}}, user="bo")
    changed(db, store, head, records={"s001": {"label": "dark"}})  # the head moves on
    done = bring(mine)
    assert (done.state, done.conflicts) == ("merged", 0)
    merged = get_version(db, done.version)
    assert merged.dataset.head == merged
    assert (label(store, merged, "s000"), label(store, merged, "s001")) == ("bright", "dark")
    versions = count(db, DatasetVersion)
    assert bring(mine) == done
    assert count(db, DatasetVersion) == versions
    assert count(db, DatasetBranch) == 0


def test_a_conflict_becomes_a_branch_and_one_open_request(db, store, head, bring):
    mine = changed(db, store, head, records={"s000": {"label": "bright"}}, user="bo")
    theirs = changed(db, store, head, records={"s000": {"label": None}})
    done = bring(mine)
    assert (done.state, done.conflicts) == ("open", 1)
    branch = get_version(db, done.version)
    assert (branch.personal_to, branch.tree, branch.dataset.head) == (None, mine.tree, theirs)
    assert [parent.name for parent in branch.parents] == [head.name, mine.name]
    # Of the attempt to merge it at once nothing is left: one request, for the branch.
    (request,) = db.scalars(select(MergeRequest))
    assert (request.id, request.theirs, request.state) == (done.merge_id, branch, "open")
    assert bring(mine) == done
    assert count(db, DatasetBranch) == count(db, MergeRequest) == 1


def test_a_held_lock_makes_nobody_wait(db, store, head, bring):
    mine = changed(db, store, head, records={"s000": {"label": "bright"}}, user="bo")
    token = locks.acquire_write(db, head.dataset, "cy", timedelta(minutes=5), "a long import").token
    done = bring(mine)
    assert (done.state, done.conflicts) == ("open", 0)
    assert "somebody has the write lock" in done.says
    branch = get_version(db, done.version)
    assert (branch.tree, branch.dataset.head) == (mine.tree, head)
    assert bring(mine) == done
    locks.check(db, head.dataset, token)  # and takes nothing from the holder
    locks.release(db, head.dataset, token)
    merged = complete_merge(db, store, db.get_one(MergeRequest, done.merge_id), owner="bo").version
    assert label(store, merged, "s000") == "bright"
    again = bring(mine)
    assert (again.state, again.version) == ("merged", merged.name)


def test_what_is_shared_already_is_left_alone(db, store, head, bring):
    done = bring(head)
    assert (done.state, done.version, done.merge_id) == ("unchanged", head.name, None)
    assert count(db, MergeRequest) == 0
