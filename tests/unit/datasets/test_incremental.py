"""What is read again and what is not: the index of a source, and the facts about objects."""

import os
import subprocess
import time
from datetime import timedelta

import pytest

from learnloop.datasets import generation
from learnloop.datasets.files import is_settled, scan_folder
from learnloop.datasets.index import Index, index_file, read_index
from learnloop.datasets.sources import FolderSource
from learnloop.datasets.store import Store
from learnloop.datasets.tree import Tree
from learnloop.errors import Corrupted, NotFound, OutOfSpace


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def folder(tmp_path):
    """Thirty files that are older than the clock's tick."""
    root = tmp_path / "data"
    (root / "deep" / "er").mkdir(parents=True)
    for number in range(30):
        (root / ("deep/er" if number % 2 else "deep") / f"{number} ü").write_text(f"content {number}")
    until_older(root)
    return root


def until_older(root):
    """Wait until a snapshot that starts now can tell these files from ones written while it reads."""
    stamps = scan_folder(root).values()
    while not all(is_settled(stamp, time.time_ns()) for stamp in stamps):
        time.sleep(0.001)


def add(store, folder):
    return store.add_source(FolderSource(folder))


def test_an_unchanged_file_is_not_read_again(store, folder):
    first = add(store, folder)
    assert first.read == 30
    again = add(store, folder)
    assert (again.read, again.tree, again.bytes) == (0, first.tree, first.bytes)


def test_only_what_changed_is_read(store, folder):
    before = add(store, folder)
    (folder / "deep" / "0 ü").write_text("other")
    (folder / "new").write_text("new")
    (folder / "deep" / "2 ü").unlink()
    until_older(folder)
    after = add(store, folder)
    assert after.read == 2
    assert after.tree == Store(store.root.parent / "fresh").add_folder(folder)[0]
    assert after.tree != before.tree
    assert add(store, folder).read == 0


def test_a_change_in_place_of_the_same_size_and_time_is_noticed(store, folder):
    path = folder / "deep" / "0 ü"
    before = path.stat()
    first = add(store, folder)
    with path.open("r+") as file:
        file.write("CONTENT")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    again = add(store, folder)
    assert again.read == 1
    assert again.tree["deep/0 ü"] != first.tree["deep/0 ü"]


@pytest.mark.parametrize(
    ("newest", "settled"),
    [
        (10_000_000_001, True),  # long ago
        (99_979_999_999, True),  # just before the tick
        (99_990_000_000, False),  # within it: could be written again without a sign
        (100_000_000_001, False),  # after
        (99_000_000_000, False),  # a whole second: the filesystem may keep no finer time
        (97_000_000_000, True),
    ],
)
def test_a_file_as_young_as_its_reading_is_read_again(newest, settled):
    for times in ((newest, 5), (5, newest)):
        assert is_settled(f"1 77 {times[0]} {times[1]}", 100_000_000_000) is settled


def test_a_young_file_is_left_out_of_the_index(store, folder):
    (folder / "young").write_text("young")
    os.utime(folder / "young", (time.time() + 3600,) * 2)  # younger than any reading for an hour
    assert [add(store, folder).read for _ in range(3)] == [31, 1, 1]


def test_another_stamp_is_a_change():
    index = Index({"file": "1 a", "gone": "1 b"}, {"file": "0" * 32, "gone": "1" * 32})
    assert index.unchanged({"file": "1 a", "new": "1 c"}) == {"file": "0" * 32}
    assert index.unchanged({"file": "1 A", "gone": "1 b"}) == {"gone": "1" * 32}
    assert index.unchanged(index.stamps) == index.hashes


@pytest.mark.parametrize("spoil", ["remove", "empty", "cut", "flip", "other"])
def test_a_lost_or_damaged_index_costs_time_only(store, folder, spoil):
    first = add(store, folder)
    file = index_file(store.root, str(folder))
    data = bytearray(file.read_bytes())
    if spoil == "remove":
        file.unlink()
    elif spoil == "flip":
        data[-20] ^= 1
        file.write_bytes(data)
    else:
        file.write_bytes({"empty": b"", "cut": data[:-9], "other": b"\xff\n\xff"}[spoil])
    assert read_index(file) == Index()
    again = add(store, folder)
    assert (again.read, again.tree) == (30, first.tree)
    assert add(store, folder).read == 0


def test_what_the_store_has_lost_is_read_again(store, folder):
    tree = add(store, folder).tree
    assert store.remove(tree["deep/0 ü"]) == len("content 0")
    assert store.remove(tree["deep/0 ü"]) == 0
    assert not store.has(tree["deep/0 ü"])
    assert add(store, folder).read == 1
    assert store.has(tree["deep/0 ü"])


def until_standing(store, folder):
    """Wait until an index written now would take every folder of the store for at rest, and write it."""
    while True:
        index = read_index(index_file(store.root, str(folder)))
        if index.shards and 0 not in index.shards.values():
            return index
        index_file(store.root, str(folder)).unlink()
        add(store, folder)


def test_an_unchanged_folder_costs_no_look_at_objects(store, folder, monkeypatch):
    store.write_tree(add(store, folder).tree)
    until_standing(store, folder)
    listed = []
    monkeypatch.setattr(Store, "_listed", lambda self, shard: listed.append(shard) or [])
    again = add(store, folder)
    name = store.write_tree(again.tree)
    assert listed == []
    assert (again.read, name) == (0, again.tree.object.name)


@pytest.mark.parametrize("replaced", [False, True])
def test_what_has_gone_from_a_folder_that_was_at_rest_is_read_again(store, folder, replaced):
    tree = add(store, folder).tree
    until_standing(store, folder)
    lost = tree["deep/0 ü"]
    store.path_of(lost).unlink()
    if replaced:  # something else came in its place
        (store.path_of(lost).parent / ("f" * 30)).touch()
    assert add(store, folder).read == 1
    assert store.has(lost)


def test_a_tree_is_looked_at_again_when_something_was_collected_since(store, folder):
    tree = add(store, folder).tree
    generation.begin(store.root)
    store.remove(tree["deep/0 ü"])
    generation.end(store.root)
    with pytest.raises(NotFound, match="deep/0 ü"):
        store.write_tree(tree)


def test_an_index_written_while_something_is_collected_trusts_no_folder(store, folder):
    generation.begin(store.root)
    add(store, folder)
    assert read_index(index_file(store.root, str(folder))).shards == {}
    generation.end(store.root)


def test_progress_is_told(store, folder):
    told = []
    store.add_folder(folder, progress=lambda *at: told.append(at))
    assert (told[0], told[-1]) == ((0, 30), (30, 30))
    store.checkout(store.add_folder(folder)[0], folder.parent / "out", progress=lambda *at: told.append(at))
    assert told[-1] == (30, 30)


def test_names_are_all_names(store, folder):
    tree = add(store, folder).tree
    name = store.write_tree(tree)
    assert list(store.names()) == sorted({*tree.values(), name})
    assert store.absent([name, "0" * 32, *tree.values()]) == {"0" * 32}


def test_a_few_names_are_asked_for_singly_in_a_large_store(store, folder):
    add(store, folder)
    for number in range(3000):
        store._objects.joinpath("00").mkdir(exist_ok=True)
        store._objects.joinpath("00", f"{number:030d}").touch()
    wanted = [*list(store.names())[:2], *(f"{shard:02x}" + "f" * 30 for shard in range(256))]
    assert store.absent(wanted) == set(wanted[2:])


# --- checkouts ---


@pytest.fixture
def verified(monkeypatch):
    """The names of the objects that were read to their end."""
    names = []
    verify = Store.verify
    monkeypatch.setattr(Store, "verify", lambda self, name: (names.append(name), verify(self, name)))
    return names


def checked_out(store, tree, target, **arguments):
    until_older(store.root)
    store.checkout(tree, target, **arguments)


def test_a_checkout_reads_an_object_once(store, folder, tmp_path, verified):
    tree = add(store, folder).tree
    for path in (store.root / "verified").glob("*"):
        path.unlink()
    checked_out(store, tree, tmp_path / "one")
    assert sorted(verified) == sorted(tree.values())
    checked_out(store, tree, tmp_path / "two")
    assert len(verified) == 30
    (store.root / "verified" / next(iter(tree.values()))[:2]).write_bytes(b"damaged")
    checked_out(store, tree, tmp_path / "three")
    assert 30 < len(verified) < 60


def test_what_a_snapshot_wrote_is_known(store, tmp_path, verified, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("content")
    monkeypatch.setattr("learnloop.datasets.verified._TICK", 0)
    checked_out(store, add(store, tmp_path / "data").tree, tmp_path / "out")
    assert verified == []


@pytest.mark.parametrize("mode_too", [True, False])
@pytest.mark.parametrize("writable", [True, False])
def test_a_bit_flipped_through_a_link_is_found_at_the_next_checkout(store, folder, tmp_path, writable, mode_too):
    if not mode_too and os.geteuid() != 0:
        pytest.skip("only root writes to a file of mode 0444")
    tree = add(store, folder).tree
    checked_out(store, tree, tmp_path / "first")
    link = tmp_path / "first" / "deep" / "0 ü"
    if mode_too:
        link.chmod(0o644)
    with link.open("r+") as file:
        file.write("C")
    with pytest.raises(Corrupted, match=tree["deep/0 ü"]):
        store.checkout(tree, tmp_path / "second", writable=writable)
    assert not (tmp_path / "second").exists()


def test_a_write_that_hides_itself_is_found_by_verify_and_then_by_every_checkout(store, folder, tmp_path):
    tree = add(store, folder).tree
    checked_out(store, tree, tmp_path / "first")
    path = store.path_of(tree["deep/0 ü"])
    before = path.stat()
    path.chmod(0o644)
    path.write_text("Content 0")
    path.chmod(0o444)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    store.checkout(tree, tmp_path / "second")  # the limit of the signs, as `verified` says
    with pytest.raises(Corrupted):
        store.verify(tree["deep/0 ü"])
    with pytest.raises(Corrupted, match=tree["deep/0 ü"]):
        store.checkout(tree, tmp_path / "third")


def test_a_damaged_object_is_put_right_from_elsewhere(store, folder, tmp_path):
    tree = add(store, folder).tree
    name = tree["deep/0 ü"]
    store.path_of(name).chmod(0o644)
    store.path_of(name).write_text("damaged")
    (tmp_path / "good").write_text("content 0")
    with pytest.raises(Corrupted, match=name):
        store.put_from(name, folder / "deep" / "2 ü")
    store.put_from(name, tmp_path / "good")
    checked_out(store, tree, tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "0 ü").read_text() == "content 0"
    assert not any((store.root / "tmp").iterdir())


@pytest.mark.parametrize("writable", [True, False])
def test_large_files_are_placed_by_threads_and_checked(store, tmp_path, writable):
    (tmp_path / "data").mkdir()
    for number in range(4):
        (tmp_path / "data" / f"{number}").write_bytes(os.urandom((1 << 20) + number))
    tree = add(store, tmp_path / "data").tree
    store.checkout(tree, tmp_path / "out", writable=writable)
    assert store.add_folder(tmp_path / "out")[0] == tree
    with store.path_of(tree["3"]).open("r+b") as file:
        file.write(b"damaged")
    with pytest.raises(Corrupted, match=tree["3"]):
        store.checkout(tree, tmp_path / "again", writable=writable)


# --- what is left behind, and what does not fit ---


def test_leftovers_are_removed_when_they_are_old(store):
    store.add_bytes(b"x")
    old, young = store.new_temporary(), store.new_temporary()
    old.write_bytes(b"old")
    young.write_bytes(b"young")
    os.utime(old, (time.time() - 7200,) * 2)
    assert store.remove_leftovers(timedelta(hours=1)) == 3
    assert (old.exists(), young.exists()) == (False, True)


@pytest.fixture
def small_disk(tmp_path):
    """A filesystem of 1 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a small filesystem needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("sizes", [[100_000] * 20, [9 << 20]])
def test_a_full_disk_is_said_and_nothing_is_changed(small_disk, tmp_path, sizes):
    store = Store(small_disk / "store")
    kept = store.add_bytes(b"before")
    (tmp_path / "data").mkdir()
    for number, size in enumerate(sizes):
        (tmp_path / "data" / f"{number}").write_bytes(os.urandom(size))
    with pytest.raises(OutOfSpace, match="No space left"):
        store.add_folder(tmp_path / "data")
    assert list(store.names()) == [kept]
    assert not any((store.root / "tmp").iterdir())
    assert not (store.root / "index").exists()


def test_a_checkout_to_a_full_disk_leaves_nothing(small_disk, tmp_path):
    store = Store(tmp_path / "store")
    tree = Tree({"a": store.add_bytes(os.urandom(900_000)), "b": store.add_bytes(os.urandom(900_000))})
    with pytest.raises(OutOfSpace):
        store.checkout(tree, small_disk / "out", writable=True)
    assert list(small_disk.iterdir()) == []
