"""SIGKILL at every write step of a snapshot: no half version, and a retry that ends as if nothing had happened."""

import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from dataset_folders import write_dataset, write_images
from sqlalchemy import func, select

from learnloop.database import DatasetVersion
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.errors import NotFound

POINTS = [
    "store.temporary-written",
    "store.temporary-written@5",
    "store.objects-published",
    "snapshot.index-written",
    "store.temporary-written@23",  # the tree's; 22 files come before it
    "store.objects-published@2",
    "snapshot.tree-written",
]

SCRIPT = """
import sys
from pathlib import Path
from learnloop.database import session
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
url, store, folder = sys.argv[1:]
with session(url) as db:
    snapshot(db, Store(Path(store)), Path(folder), owner="ana", run_id="r1")
"""


def snapshot_apart(url, store, folder, point=""):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, url, str(store.root), str(folder)],
        env={**os.environ, "LEARNLOOP_FAULT": point},
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def assert_nothing_half(db, store):
    assert db.scalar(select(func.count(DatasetVersion.id))) == 0
    for name in store.names():
        store.verify(name)
        if name.endswith(".dir"):
            assert not store.absent(store.read_tree(name).values())


@pytest.mark.parametrize("point", POINTS)
def test_a_snapshot_killed_after_a_step_is_made_by_its_retry(db, database_url, store, tmp_path, point):
    folder = write_dataset(tmp_path / "lamps", samples=20)
    reference = Store(tmp_path / "reference")
    wanted = reference.write_tree(reference.add_folder(folder)[0])

    killed = snapshot_apart(database_url, store, folder, point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert_nothing_half(db, store)

    version = snapshot(db, store, folder, owner="ana", run_id="r1")
    assert (version.name, version.tree) == ("lamps_v1.0", wanted)
    assert list(store.names()) == list(reference.names())
    left = [path.stat().st_size for path in (store.root / "tmp").iterdir()]
    assert bool(left) is point.startswith("store.temporary")
    assert store.remove_leftovers(timedelta(seconds=-1)) == sum(left)
    assert not any((store.root / "tmp").iterdir())


def test_an_incremental_snapshot_killed_after_a_step_keeps_the_version_before(db, database_url, store, tmp_path):
    folder = write_dataset(tmp_path / "lamps", samples=20)
    first = snapshot(db, store, folder, owner="ana")
    db.commit()
    write_images(folder / "images", ["new"], [77])
    for point in ("store.temporary-written", "store.objects-published", "snapshot.index-written"):
        killed = snapshot_apart(database_url, store, folder, point)
        # What an earlier, killed try has done need not be done again, so a point may not be reached.
        assert killed.returncode in (-signal.SIGKILL, 0), killed.stderr
        store.checkout(store.read_tree(first.tree), tmp_path / f"out-{point}")
    assert snapshot_apart(database_url, store, folder).returncode == 0
    versions = db.scalars(select(DatasetVersion).order_by(DatasetVersion.id)).all()
    assert [version.name for version in versions] == ["lamps_v1.0", "lamps_v1.1"]
    assert store.read_tree(versions[1].tree) == Store(tmp_path / "reference").add_folder(folder)[0]


def test_a_store_without_an_object_refuses_the_tree(store, tmp_path):
    tree, _ = store.add_folder(write_dataset(tmp_path / "lamps", samples=2))
    store.remove(tree["dataset.yaml"])
    with pytest.raises(NotFound, match=r"dataset\.yaml"):
        store.write_tree(tree)
