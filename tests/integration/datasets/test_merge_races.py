"""Many merges at once, and merges that are killed: none is lost, none is applied twice, none is half done."""

import multiprocessing
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from merges import changed, is_sound, labels_of
from sqlalchemy import func, select

from learnloop.database import DatasetVersion, Lock, MergeRequest, engine, session
from learnloop.datasets.merge.ancestry import ancestors
from learnloop.datasets.merge.requests import auto_merge, complete_merge, list_merges, open_merge, resolve_all
from learnloop.datasets.store import Store
from learnloop.datasets.versions import get_dataset, get_version, head_of, list_versions

FORK = multiprocessing.get_context("fork")
WRITERS = 16
POINTS = [
    "merge.objects-written",
    "merge.conflicts-written",
    "merge.tree-written",
    "merge.version-added",
    "merge.closed",
]


def label(name, by):
    return {"label": name, "annotator": by, "annotated_at": datetime(2026, 5, 1, tzinfo=UTC)}


def merging(url, root, name, start):
    start.wait(60)
    with session(url) as db:
        result = auto_merge(db, Store(root), get_version(db, name), owner="ben")
        assert result.state == "merged", result
    engine(url).dispose()


@pytest.mark.timeout(900)
def test_of_concurrent_merges_none_is_lost_and_none_is_applied_twice(db, store, head, database_url):
    branches = [
        changed(
            db, store, head, user=f"user{number}", records={f"s{number:03d}": label("bright", f"user{number}")},
            files={f"notes/{number}.txt": str(number).encode()},
        )
        for number in range(WRITERS - 4)
    ]  # fmt: skip
    # Four branches are merged by two processes each.
    names = [branch.name for branch in [*branches, *branches[:4]]]
    start = FORK.Barrier(WRITERS)
    writers = [FORK.Process(target=merging, args=(database_url, store.root, name, start)) for name in names]
    for process in writers:
        process.start()
    for process in writers:
        process.join(240)
    assert [process.exitcode for process in writers] == [0] * WRITERS
    db.expire_all()
    last = head_of(db, head.dataset)
    line, version = [], last
    while version.id != head.id:
        line.append(version.parents[1].id)
        version = version.parents[0]
    assert sorted(line) == sorted(branch.id for branch in branches)
    assert ancestors(db, last) >= {branch.id for branch in branches}
    labels, tree = labels_of(store, last), store.read_tree(last.tree)
    for number in range(len(branches)):
        assert labels[f"s{number:03d}"] == "bright"
        assert f"notes/{number}.txt" in tree
    is_sound(store, last)
    assert list_merges(db, head.dataset) == []
    assert db.scalar(select(func.count(MergeRequest.id))) == len(branches)


COMPLETE = """
import sys
from pathlib import Path
from learnloop.database import session
from learnloop.datasets.merge.requests import complete_merge, get_merge
from learnloop.datasets.store import Store
with session(sys.argv[1]) as db:
    complete_merge(db, Store(Path(sys.argv[2])), get_merge(db, int(sys.argv[3])), owner="ben")
"""

AUTO = """
import sys
from pathlib import Path
from learnloop.database import session
from learnloop.datasets.merge.requests import auto_merge
from learnloop.datasets.store import Store
from learnloop.datasets.versions import get_version
with session(sys.argv[1]) as db:
    auto_merge(db, Store(Path(sys.argv[2])), get_version(db, sys.argv[3]), owner="ben")
"""


def run_killed_at(point, script, *arguments):
    environment = {**os.environ, "LEARNLOOP_FAULT": point}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110)
    assert killed.returncode == -signal.SIGKILL, killed.stderr


def state(db, dataset):
    db.rollback()
    db.expire_all()
    rows = db.execute(select(MergeRequest.id, MergeRequest.state, MergeRequest.ours_id).order_by(MergeRequest.id)).all()
    return head_of(db, dataset).id, len(list_versions(db, dataset, user="ben")), rows


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_completion_changes_nothing_and_can_be_done_again(db, store, head, database_url, point):
    theirs = changed(db, store, head, user="ben", records={"s000": label("bright", "ben")}, files={"x": b"t"})
    ours = changed(db, store, head, records={"s000": label(None, "ana")}, files={"x": b"o", "y": b"o"})
    merge = open_merge(db, store, theirs, owner="ben")
    resolve_all(db, merge, "theirs", by="ben")
    db.commit()
    before = state(db, head.dataset)
    run_killed_at(point, COMPLETE, database_url, store.root, merge.id)
    assert state(db, head.dataset) == before
    assert db.scalar(select(func.count(Lock.id))) == 0
    result = complete_merge(db, store, merge, owner="ben")
    db.commit()
    assert result.version.parents == [ours, theirs]
    assert labels_of(store, result.version)["s000"] == "bright"
    assert set(store.read_tree(result.version.tree)) >= {"x", "y"}
    is_sound(store, result.version)


@pytest.mark.parametrize("point", [*POINTS, "merge.opened"])
def test_a_killed_auto_merge_leaves_nothing_and_can_be_done_again(db, store, head, database_url, point):
    theirs = changed(db, store, head, user="ben", records={"s000": label("bright", "ben")})
    changed(db, store, head, records={"s001": label("dark", "ana")})
    before = state(db, head.dataset)
    run_killed_at(point, AUTO, database_url, store.root, theirs.name)
    assert state(db, head.dataset) == before
    with session(database_url) as again:
        first = auto_merge(again, store, get_version(again, theirs.name), owner="ben").version.id
    with session(database_url) as again:
        assert auto_merge(again, store, get_version(again, theirs.name), owner="ben").version.id == first
        assert get_dataset(again, "lamps").head_id == first
        is_sound(store, again.get_one(DatasetVersion, first))
