import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pytest

from learnloop import faultpoints
from learnloop.database import session
from learnloop.datasets.restore import _staging, restore
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.errors import Conflict, Corrupted, NotFound


def test_a_version_comes_back_as_it_was(db, store, folder, tmp_path):
    version = snapshot(db, store, folder, owner="ana")
    assert restore(db, store, version.name, tmp_path / "deep" / "back") is version
    assert store.add_folder(tmp_path / "deep" / "back")[0] == store.add_folder(folder)[0]
    (tmp_path / "deep" / "back" / "dataset.yaml").write_text("mine now")
    assert store.add_folder(folder)[0] == store.read_tree(version.tree)


def test_nothing_is_overwritten_and_nothing_half_appears(db, store, folder, tmp_path):
    version = snapshot(db, store, folder, owner="ana")
    with pytest.raises(Conflict, match="not empty"):
        restore(db, store, version.name, folder)
    with pytest.raises(NotFound):
        restore(db, store, "lamps_v7.0", tmp_path / "back")
    damaged = store.path_of(store.read_tree(version.tree)["images/s005.png"])
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    with pytest.raises(Corrupted):
        restore(db, store, version.name, tmp_path / "back")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lamps", "store"]


FORK = multiprocessing.get_context("fork")


def die_at_event(folder, event, count):
    """Be killed at the ``count``-th time that ``event`` happens to something inside ``folder``."""
    left = [count]

    def watch(name, arguments):
        if name == event and any(isinstance(part, (str, Path)) and str(part).startswith(folder) for part in arguments):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def killed_restore(url, root, name, target, moment):
    if isinstance(moment, str):
        faultpoints._name, faultpoints._left = moment, 1
    else:
        die_at_event(f"{target.parent}/", *moment)
    with session(url) as db:
        restore(db, Store(root), name, target)
    os._exit(1)  # the moment did not come


@pytest.mark.parametrize(
    "moment",
    [("os.mkdir", 3), ("open", 2), ("open", 12), ("os.rename", 1), "restore.files-written", "restore.renamed"],
    ids=str,
)
def test_a_killed_restore_leaves_the_target_as_it_was_or_complete(db, store, folder, tmp_path, database_url, moment):
    version = snapshot(db, store, folder, owner="ana")
    db.commit()
    place = tmp_path / "place"
    place.mkdir()
    target = place / "back"
    process = FORK.Process(target=killed_restore, args=(database_url, store.root, version.name, target, moment))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert any(place.iterdir()), "it was killed before it began"
    if moment == "restore.renamed":
        assert store.add_folder(target)[0] == store.read_tree(version.tree)
        target.rename(tmp_path / "aside")  # for the retry, which refuses a folder with something in it
    assert not target.exists()
    assert all(left.name.startswith(".back.") for left in place.iterdir())
    restore(db, store, version.name, target)
    # The next restore ends as one without the fault, and removes what the killed one left.
    assert store.add_folder(target)[0] == store.read_tree(version.tree)
    assert list(place.iterdir()) == [target]


def test_the_next_restore_removes_what_a_dead_one_left_and_not_what_a_live_one_has(db, store, folder, tmp_path):
    version = snapshot(db, store, folder, owner="ana")
    dead, other = tmp_path / ".back.aaaa.restoring", tmp_path / ".elsewhere.aaaa.restoring"
    for left in (dead, other):
        (left / "files").mkdir(parents=True)
    with _staging(tmp_path / "back") as live:
        assert not dead.exists()
        restore(db, store, version.name, tmp_path / "back")
        assert live.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "back", "lamps", "store"]


def test_an_empty_folder_is_filled_and_a_link_is_not_followed(db, store, folder, tmp_path):
    version = snapshot(db, store, folder, owner="ana")
    (tmp_path / "back").mkdir()
    restore(db, store, version.name, tmp_path / "back")
    assert store.add_folder(tmp_path / "back")[0] == store.read_tree(version.tree)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    with pytest.raises(Conflict):
        restore(db, store, version.name, tmp_path / "link")
