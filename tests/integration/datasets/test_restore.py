import pytest

from learnloop.datasets.restore import restore
from learnloop.datasets.snapshot import snapshot
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
