"""SIGKILL inside a commit: it was not made, what was there is whole, gc takes its objects, and a retry makes it."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from functools import partial

import pytest
from dataset_folders import write_dataset
from sqlalchemy import func, select

from learnloop.database import Dataset, DatasetBranch, DatasetVersion, DatasetVersionParent, Lock, session
from learnloop.datasets.branches import open_branch
from learnloop.datasets.gc import collect, objects_in
from learnloop.datasets.names import parse_name
from learnloop.datasets.roots import objects_of
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.datasets.versions import get_version

COMMIT = """
import sys
from pathlib import Path
from sqlalchemy import select
from learnloop.database import DatasetBranch, session
from learnloop.datasets.contents import config_of
from learnloop.datasets.locks import writing
from learnloop.datasets.roots import hold
from learnloop.datasets.store import Store
from learnloop.datasets.versions import commit, commit_head, get_dataset, head_of
url, root, kind = sys.argv[1:]
store = Store(Path(root))
with session(url) as db:
    dataset = get_dataset(db, "lamps")
    head = head_of(db, dataset)
    tree = store.read_tree(head.tree).updated({"notes.txt": store.add_bytes(b"new")})
    name = store.write_tree(tree)
    hold(db, store, name)
    stored = dict(files=len(tree), bytes=store.total_size(tree), owner="ana", message="", provenance={"kind": "test"},
                  parents=[head], idempotency_key="once")
    if kind == "head":
        config = config_of(store, head)
        with writing(db, dataset, "ana", "test") as lock:
            made = commit_head(db, dataset, name, config=config, previous=config, token=lock.token, **stored)
    else:
        apart = {"personal_to": "ana"} if kind == "personal" else {"branch": db.scalars(select(DatasetBranch)).one()}
        made = commit(db, dataset, name, expected_head_id=None, token=None, **apart, **stored)
    print(made.name)
"""


def commit_apart(url, store, kind, point=""):
    return subprocess.run(
        [sys.executable, "-c", COMMIT, url, str(store.root), kind],
        env={**os.environ, "LEARNLOOP_FAULT": point},
        capture_output=True,
        text=True,
        timeout=100,
    )


def rows(db):
    """All that a commit writes."""
    db.rollback()
    return [
        db.execute(select(*columns).order_by(columns[0])).all()
        for columns in (
            (DatasetVersion.id, DatasetVersion.name, DatasetVersion.tree),
            (DatasetVersionParent.version_id, DatasetVersionParent.parent_id),
            (Dataset.id, Dataset.head_id),
            (DatasetBranch.id, DatasetBranch.state, DatasetBranch.version_id),
            (Lock.id, Lock.owner),
        )
    ]


@pytest.mark.parametrize("point", ["commit.version-written", "commit.head-moved"])
@pytest.mark.parametrize("kind", ["head", "personal", "branch"])
def test_a_killed_commit_was_not_made_and_its_retry_makes_it(db, database_url, tmp_path, kind, point):
    store = Store(tmp_path / "store")
    first = snapshot(db, store, write_dataset(tmp_path / "lamps", samples=6), owner="ana")
    if kind == "branch":
        open_branch(db, first.dataset, "ana", first, timedelta(hours=1))
    db.commit()
    before, needed = rows(db), {first.tree, *objects_of(store, first.tree)}

    killed = commit_apart(database_url, store, kind, point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert rows(db) == before
    assert {name for name, _ in objects_in(store)} > needed
    collect(store, grace=timedelta(0), transaction=partial(session, database_url))
    assert {name for name, _ in objects_in(store)} == needed
    for name in needed:
        store.verify(name)

    # Again, and once more, as by somebody who did not hear the answer.
    names = [commit_apart(database_url, store, kind).stdout.strip() for _ in range(2)]
    assert names[0] == names[1]
    db.rollback()
    db.expire_all()
    assert db.scalar(select(func.count(DatasetVersion.id))) == 2
    made = get_version(db, names[0])
    assert store.read(store.read_tree(made.tree)["notes.txt"]) == b"new"
    assert made.parents == [first]
    assert first.dataset.head_id == (made.id if kind == "head" else first.id)
    if kind == "personal":
        assert parse_name(made.name).user == "ana"
    else:
        assert made.name == "lamps_v1.1"  # a number that was not confirmed is not used up
