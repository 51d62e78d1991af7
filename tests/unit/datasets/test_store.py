import hashlib
import multiprocessing
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from learnloop.datasets import adding, sources
from learnloop.datasets.files import list_files, scan_folder
from learnloop.datasets.store import Store
from learnloop.datasets.tree import Tree, dumps, tree_hash
from learnloop.datasets.writing import Group
from learnloop.errors import Conflict, Corrupted, InvalidDataset, InvalidInput, NotFound

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def folder(tmp_path):
    """Everything a path can have in it, and what DVC leaves out."""
    root = tmp_path / "work" / "data"
    contents = {
        "plain.txt": b"plain",
        "empty": b"",
        "with space.txt": b"space",
        "größe/日本語/emoji 😀.bin": b"unicode",
        "a/b/c/d/e/f/deep": b"deep",
        "a b": b"sorts between a and a/",
        'quote"and\\backslash': b"quoted",
        "line\nbreak\ttab\x01control\x7f": b"control",
        "-leading dash": b"dash",
        "large": bytes(range(256)) * 40_000,
        f"{'x' * 200}/{'y' * 200}": b"long",
        "same": b"plain",
        ".hidden": b"hidden",
        ".hg": b"a file, not a repository",
        ".git/config": b"left out",
        "a/.git": b"left out",
        "nested/.dvc/config": b"left out",
        "nested/inside": b"left out, with its repository",
    }
    for path, data in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    (tmp_path / "work" / "elsewhere").write_bytes(b"elsewhere")
    (root / "link").symlink_to("../elsewhere")
    (root / "folder-link").symlink_to("a")
    return root


def objects(store):
    return {path.parent.name + path.name: path for path in (store.root / "files" / "md5").rglob("*") if path.is_file()}


def assert_whole(store):
    """Every object holds what its name says, and whatever a tree names is there."""
    for name, path in objects(store).items():
        assert hashlib.md5(path.read_bytes()).hexdigest() == name[:32]
        if name.endswith(".dir"):
            assert all(md5 in objects(store) for md5 in store.read_tree(name).values())


def damage(path):
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_the_stock_dvc_makes_the_same_of_a_folder(store, folder):
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(folder.parent / "site")}
    config = "[core]\n    analytics = false\n    check_update = false\n    no_scm = true\n"

    def dvc(*arguments):
        subprocess.run(
            [sys.executable, "-m", "dvc", *arguments], cwd=folder.parent, env=environment, check=True, timeout=100
        )

    dvc("init", "--quiet", "--no-scm")
    (folder.parent / ".dvc" / "config").write_text(config)
    dvc("add", "--quiet", "data")
    theirs = yaml.safe_load((folder.parent / "data.dvc").read_text())["outs"][0]

    tree, size = store.add_folder(folder)
    assert store.write_tree(tree) == theirs["md5"]
    assert (len(tree), size) == (theirs["nfiles"], theirs["size"])
    cache = Store(folder.parent / ".dvc" / "cache")
    assert {name: path.read_bytes() for name, path in objects(store).items()} == {
        name: path.read_bytes() for name, path in objects(cache).items()
    }
    # And the stock DVC takes our store for its cache.
    shutil.rmtree(cache.root)
    shutil.copytree(store.root / "files", cache.root / "files")
    shutil.rmtree(folder)
    dvc("checkout", "--quiet", "data.dvc")
    assert Store(store.root).add_folder(folder)[0] == tree


def test_objects_are_read_only_and_stored_once(store, tmp_path):
    first = store.add_bytes(b"x")
    (tmp_path / "x").write_bytes(b"x")
    before = store.path_of(first).stat()
    assert store.add_file(tmp_path / "x") == first == hashlib.md5(b"x").hexdigest()
    after = store.path_of(first).stat()
    assert (after.st_ino, stat.S_IMODE(after.st_mode)) == (before.st_ino, 0o444)
    assert (store.read(first), store.size_of(first)) == (b"x", 1)
    assert not any((store.root / "tmp").iterdir())


def test_large_files_are_streamed(store, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "IN_MEMORY", 10)
    data = os.urandom(3_000_000)
    (tmp_path / "large").write_bytes(data)
    md5 = store.add_file(tmp_path / "large")
    assert store.read(md5) == data
    assert store.add_file(tmp_path / "large") == md5
    assert stat.S_IMODE(store.path_of(md5).stat().st_mode) == 0o444


def test_many_files_take_several_groups(store, tmp_path, monkeypatch):
    monkeypatch.setattr(adding, "_GROUP", 20)
    (tmp_path / "many").mkdir()
    for number in range(50):
        (tmp_path / "many" / f"{number}").write_text(f"{number // 2}")
    tree, _ = store.add_folder(tmp_path / "many")
    assert (len(tree), len(objects(store))) == (50, 25)
    assert_whole(store)


@pytest.mark.parametrize("in_memory", [10, 1 << 20])
@pytest.mark.parametrize("change", ["append", "replace", "delete"])
def test_a_file_that_changes_while_it_is_read_is_noticed(store, tmp_path, monkeypatch, change, in_memory):
    monkeypatch.setattr(sources, "IN_MEMORY", in_memory)
    path = tmp_path / "file"
    path.write_bytes(b"first content")
    has = Group.has

    def changing(self, name, size):  # runs between the first read and the last look at the file
        if change == "append":
            with path.open("ab") as file:
                file.write(b"more")
        elif change == "delete":
            path.unlink(missing_ok=True)
        else:
            (tmp_path / "other").write_bytes(b"other content")
            (tmp_path / "other").rename(path)
        return has(self, name, size)

    monkeypatch.setattr(Group, "has", changing)
    with pytest.raises(Conflict, match=r"changed while it was read|not there"):
        store.add_file(path)
    assert objects(store) == {}
    assert not any((store.root / "tmp").glob("*"))


def test_a_folder_that_changes_while_it_is_read_is_noticed(store, folder, monkeypatch):
    seen = scan_folder(folder)
    monkeypatch.setattr(sources, "scan_folder", lambda *_: seen)
    (folder / "plain.txt").unlink()
    with pytest.raises(Conflict, match=r"plain\.txt is not there"):
        store.add_folder(folder)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda root: (root / "dangling").symlink_to("nowhere"), "link to a file that does not exist"),
        (lambda root: (root / "loop").symlink_to("loop"), "leads to itself"),
        (lambda root: os.mkfifo(root / "pipe"), "neither a file nor a folder"),
        (lambda root: (root / "a" / ".dvcignore").write_text("*"), ".dvcignore"),
        (lambda root: (root / os.fsdecode(b"\xff")).touch(), "UTF-8"),
    ],
)
def test_what_cannot_be_tracked_is_refused(store, folder, spoil, problem):
    spoil(folder)
    with pytest.raises(InvalidDataset, match=problem):
        store.add_folder(folder)
    assert objects(store) == {}


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root reads everything")
@pytest.mark.parametrize("place", ["plain.txt", "a"])
def test_what_cannot_be_read_is_named(tmp_path, folder, place):
    """In a process of an ordinary user, since root reads everything."""
    (folder / place).chmod(0)
    script = (
        "import sys; from learnloop.datasets.store import *; Store(Path(sys.argv[1])).add_folder(Path(sys.argv[2]))"
    )
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.is_relative_to(tempfile.gettempdir()) and parent != Path(tempfile.gettempdir()):
            parent.chmod(0o755)
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    command = [*user, sys.executable, "-c", script, str(tmp_path / "open"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    (folder / place).chmod(0o755)
    assert f"{folder / place} cannot be read: Permission denied" in done.stderr
    assert not any(path.is_file() for path in (tmp_path / "open").rglob("*"))


def test_a_flipped_byte_is_found_at_every_read(store, tmp_path):
    md5 = store.add_bytes(b"some bytes")
    tree = Tree({"file": md5, "other": store.add_bytes(b"fine")})
    name = store.write_tree(tree)
    damage(store.path_of(md5))
    damage(store.path_of(name))
    for read in (lambda: store.read(md5), lambda: store.verify(md5)):
        with pytest.raises(Corrupted, match=md5):
            read()
    with pytest.raises(Corrupted, match=name):
        store.read_tree(name)
    for writable in (False, True):
        with pytest.raises(Corrupted, match=md5):
            store.checkout(tree, tmp_path / "out", writable=writable)
        assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_an_object_that_was_cut_off_is_put_right_by_adding_it_again(store):
    md5 = store.add_bytes(b"some bytes")
    store.path_of(md5).chmod(0o644)
    store.path_of(md5).write_bytes(b"some")
    assert store.add_bytes(b"some bytes") == md5
    assert store.read(md5) == b"some bytes"


def test_what_is_not_there_is_named(store):
    with pytest.raises(NotFound, match="a" * 32):
        store.read("a" * 32)
    with pytest.raises(NotFound, match="file: object"):
        store.write_tree(Tree({"file": "a" * 32}))
    for name in ("../../etc/passwd", "a" * 31, "A" * 32):
        with pytest.raises(InvalidInput):
            store.read(name)


@pytest.mark.parametrize("writable", [False, True])
def test_checkout(store, folder, tmp_path, writable):
    tree, _ = store.add_folder(folder)
    (tmp_path / "out").mkdir()  # an empty folder may be there
    store.checkout(tree, tmp_path / "out", writable=writable)
    assert store.add_folder(tmp_path / "out")[0] == tree
    inode = (tmp_path / "out" / "plain.txt").stat().st_ino
    assert (inode == store.path_of(tree["plain.txt"]).stat().st_ino) is not writable
    if writable:
        (tmp_path / "out" / "plain.txt").write_bytes(b"changed")
        assert_whole(store)
    with pytest.raises(Conflict, match="not empty"):
        store.checkout(tree, tmp_path / "out")


def test_checkout_of_chosen_files(store, folder, tmp_path):
    tree, _ = store.add_folder(folder)
    store.checkout(tree, tmp_path / "out", include=["a/*", "plain.txt"])
    assert list_files(tmp_path / "out") == ["a/b/c/d/e/f/deep", "plain.txt"]
    with pytest.raises(InvalidInput, match="matches no file"):
        store.checkout(tree, tmp_path / "none", include=["*.jpeg"])


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second filesystem")
def test_checkout_to_another_filesystem_copies(store, folder):
    tree, _ = store.add_folder(folder)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        target = Path(elsewhere) / "out"
        store.checkout(tree, target)
        assert store.add_folder(target)[0] == tree
        assert stat.S_IMODE((target / "plain.txt").stat().st_mode) == 0o444


def killed_at(event, count, work):
    """Run ``work`` in a process that gets SIGKILL at the ``count``th ``event``; False when it ended before."""

    def run():
        left = count

        def hook(name, _):
            nonlocal left
            if name == event:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        work()
        os._exit(0)

    process = FORK.Process(target=run)
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@pytest.mark.parametrize("event", ["open", "os.rename"])
def test_a_killed_add_leaves_no_half_object_and_a_second_try_succeeds(store, folder, tmp_path, event):
    reference = Store(tmp_path / "reference")
    wanted = reference.write_tree(reference.add_folder(folder)[0])

    def add():
        store.write_tree(store.add_folder(folder)[0])

    count, kills = 1, 0
    while killed_at(event, count, add):
        kills += 1
        assert_whole(store)
        count += 5
    assert kills >= 2
    assert store.write_tree(store.add_folder(folder)[0]) == wanted
    assert_whole(store)


@pytest.mark.parametrize("writable", [False, True])
def test_a_killed_checkout_leaves_no_target(store, folder, tmp_path, writable):
    tree, _ = store.add_folder(folder)
    target = tmp_path / "out"
    for event, count in (("os.link" if not writable else "open", 7), ("os.rename", 1)):
        assert killed_at(event, count, lambda: store.checkout(tree, target, writable=writable))
        assert not target.exists()
    store.checkout(tree, target, writable=writable)
    assert store.add_folder(target)[0] == tree
    assert tree_hash(tree) == hashlib.md5(dumps(tree)).hexdigest() + ".dir"


def test_six_writers_of_one_folder(store, folder):
    writers = [FORK.Process(target=store.add_folder, args=(folder,)) for _ in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 6
    assert_whole(store)
