import multiprocessing
import os
import signal
import sys
from datetime import timedelta

import pytest
from dataset_folders import CLASSES, write_dataset, write_images
from sqlalchemy import func, select

from learnloop.database import Dataset, DatasetVersion, Lock, engine, session
from learnloop.datasets import locks
from learnloop.datasets.contents import config_of
from learnloop.datasets.preprocess import preprocess
from learnloop.datasets.schema import DatasetConfig
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.versions import get_dataset, list_versions
from learnloop.errors import InvalidDataset, Locked

FORK = multiprocessing.get_context("fork")


def test_a_folder_becomes_a_version(db, store, folder):
    version = snapshot(db, store, folder, owner="ana", message="first", run_id="r1")
    assert (version.name, version.owner, version.message) == ("lamps_v1.0", "ana", "first")
    assert version.provenance == {"kind": "snapshot", "run_id": "r1"}
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert (version.files, version.bytes) == (len(files), sum(path.stat().st_size for path in files))
    assert isinstance(config_of(store, version), DatasetConfig)
    assert db.scalar(select(func.count(Lock.id))) == 0


def test_only_a_change_makes_a_version(db, store, folder):
    first = snapshot(db, store, folder, owner="ana")
    assert snapshot(db, store, folder, owner="ben") is first
    write_images(folder / "images", ["new"], [77])
    second = snapshot(db, store, folder, owner="ben")
    assert (second.name, second.parents, second.owner) == ("lamps_v1.1", [first], "ben")


def test_what_the_loop_added_is_kept_when_the_folder_is_as_it_was(db, store, folder, head):
    assert head.provenance["kind"] == "preprocess"
    assert snapshot(db, store, folder, owner="ana") is head


def test_other_classes_raise_the_major_number(db, store, folder, tmp_path):
    snapshot(db, store, folder, owner="ana")
    write_dataset(folder, classes=[*CLASSES, "off"], loop={"policy": {"labels": 7}})
    version = snapshot(db, store, folder, owner="ana")
    assert version.name == "lamps_v2.0"
    assert version.dataset.loop["policy"]["labels"] == 7
    assert version.dataset.loop["classes"] == [*CLASSES, "off"]


def test_a_run_snapshots_once(db, store, folder):
    first = snapshot(db, store, folder, owner="ana", run_id="r1")
    write_images(folder / "images", ["new"], [77])
    assert snapshot(db, store, folder, owner="ana", run_id="r1") is first
    assert snapshot(db, store, folder, owner="ana", run_id="r2").name == "lamps_v1.1"


def test_a_wrong_description_changes_nothing(db, store, folder):
    (folder / "dataset.yaml").write_text("name: lamps")
    with pytest.raises(InvalidDataset, match="classes: is missing"):
        snapshot(db, store, folder, owner="ana")
    assert db.scalar(select(func.count(Dataset.id))) == 0
    assert not store.root.exists()


def test_a_locked_dataset_refuses(db, store, folder):
    dataset = snapshot(db, store, folder, owner="ana").dataset
    locks.acquire_write(db, dataset, "ben", timedelta(minutes=1), "training")
    write_images(folder / "images", ["new"], [77])
    with pytest.raises(Locked, match=r"ben \(training\)"):
        snapshot(db, store, folder, owner="ana")
    assert len(list_versions(db, dataset)) == 1


def snapshot_apart(url, store, folder, run_id, kill_at=0):
    left = kill_at

    def hook(name, _):
        nonlocal left
        if name == "os.rename":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    with session(url) as db:
        snapshot(db, store, folder, owner="ana", run_id=run_id)
    engine(url).dispose()


@pytest.mark.parametrize("kill_at", [1, 9, 23])
def test_a_killed_snapshot_leaves_no_version_and_its_retry_makes_it(db, store, folder, database_url, kill_at):
    renames = 2 + 20 + 1  # description and annotations, images, tree
    assert kill_at <= renames
    process = FORK.Process(target=snapshot_apart, args=(database_url, store, folder, "r1", kill_at))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert db.scalar(select(func.count(DatasetVersion.id))) == 0
    version = snapshot(db, store, folder, owner="ana", run_id="r1")
    assert version.name == "lamps_v1.0"
    assert store.read_tree(version.tree) == store.add_folder(folder)[0]


@pytest.mark.parametrize(("runs", "versions"), [(["r1", "r2", "r3", "r4"], 4), (["r1"] * 4, 1)])
def test_of_concurrent_snapshots_each_run_has_one(db, store, tmp_path, database_url, runs, versions):
    processes = []
    for number, run_id in enumerate(runs):
        folder = write_dataset(tmp_path / f"folder{number}", samples=4 + number)
        processes.append(FORK.Process(target=snapshot_apart, args=(database_url, store, folder, run_id)))
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    made = list_versions(db, get_dataset(db, "lamps"))
    assert [version.name for version in made] == [f"lamps_v1.{minor}" for minor in reversed(range(versions))]
    assert len({version.tree for version in made}) == versions


def test_a_preprocessed_head_is_returned_by_both_steps(db, store, folder, head):
    assert preprocess(db, store, snapshot(db, store, folder, owner="ana", run_id="r9"), owner="ana") is head
