"""Work shared among processes: the same results, whatever becomes of one of them.

Each test is a program of its own: processes are only shared where no other thread runs, and pytest has some.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

PREPARED = """
import os, signal, sys, threading
from pathlib import Path
from learnloop.datasets import adding, files, parallel, placing
from learnloop.datasets.parallel import shared
from learnloop.datasets.store import Store
from learnloop.errors import InvalidDataset
parallel._processors = lambda: 3
adding._SHAREABLE = files._MANY = placing._SHAREABLE = 10
parent = os.getpid()
"""


def run(tmp_path: Path, program: str) -> str:
    """What ``program`` prints; it must end well."""
    ended = subprocess.run(
        [sys.executable, "-c", PREPARED + textwrap.dedent(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_parts_keep_their_order_and_are_done_by_several(tmp_path) -> None:
    printed = run(
        tmp_path,
        """
        parts = shared(lambda part: (os.getpid(), list(part)), range(10))
        print(len({pid for pid, _ in parts}), [number for _, part in parts for number in part] == list(range(10)))
        print(shared(list, []), shared(list, [1]))
        """,
    )
    assert printed == "3 True\n[[]] [[1]]\n"


def test_an_error_of_another_process_is_raised_here(tmp_path) -> None:
    printed = run(
        tmp_path,
        """
        def work(part):
            if os.getpid() != parent:
                raise InvalidDataset("two things are wrong", ["a", "b"])
        try:
            shared(work, range(3))
        except InvalidDataset as error:
            print(error, error.problems)
        """,
    )
    assert printed == "two things are wrong\n  - a\n  - b ('a', 'b')\n"


def test_the_part_of_a_killed_process_is_done_again(tmp_path) -> None:
    printed = run(
        tmp_path,
        """
        def work(part):
            if os.getpid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)
            return list(part)
        print(shared(work, range(7)))
        """,
    )
    assert printed == "[[0, 1, 2], [3, 4, 5], [6]]\n"


def test_where_threads_run_all_is_done_here(tmp_path) -> None:
    printed = run(
        tmp_path,
        """
        stop = threading.Event()
        threading.Thread(target=stop.wait).start()
        print(shared(lambda part: os.getpid() == parent, range(9)))
        stop.set()
        """,
    )
    assert printed == "[True]\n"


def test_what_a_child_inherits_is_not_ended_by_it(tmp_path) -> None:
    printed = run(
        tmp_path,
        """
        import atexit
        atexit.register(lambda: print("at the end"))
        sys.stdout.write("once ")
        shared(list, range(9))
        """,
    )
    assert printed == "once at the end\n"


def test_shared_and_alone_make_the_same_store_and_the_same_folder(tmp_path) -> None:
    for number in range(120):
        path = tmp_path / "data" / f"{number // 10:02d}" / f"{number:03d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % (number % 100))  # some twice
    printed = run(
        tmp_path,
        """
        def look(folder):
            return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        trees, objects, folders = [], [], []
        for name, processors in (("alone", 1), ("shared", 3)):
            parallel._processors = lambda processors=processors: processors
            store = Store(Path(name))
            for _ in range(2):
                told = []
                tree, size = store.add_folder(Path("data"), lambda done, of: told.append((done, of)))
                assert told[-1] == (120, 120), told
                trees.append((store.write_tree(tree), size))
                (Path("data") / "05" / "new.bin").write_bytes(b"new")
                (Path("data") / "05" / "new.bin").unlink()
            objects.append(sorted(store.names()))
            for writable in (False, True):
                out = Path(f"{name}-{writable}")
                told = []
                store.checkout(tree, out, writable=writable, progress=lambda done, of: told.append((done, of)))
                assert told[-1] == (120, 120), told
                folders.append(look(out))
        assert len(set(trees)) == 1, trees
        assert objects[0] == objects[1]
        assert all(folder == look(Path("data")) for folder in folders)
        print(len(objects[0]), len(folders[0]))
        """,
    )
    assert printed == "101 120\n"


def test_a_damaged_object_is_named_by_whichever_process_finds_it(tmp_path) -> None:
    for number in range(60):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{number:03d}.bin").write_bytes(b"%d" % number)
    printed = run(
        tmp_path,
        """
        store = Store(Path("store"))
        tree, _ = store.add_folder(Path("data"))
        for md5 in tree.values():
            path = store.path_of(md5)
            path.chmod(0o644)
            path.write_bytes(b"damaged")
        try:
            store.checkout(tree, Path("out"))
        except Exception as error:
            print(type(error).__name__, Path("out").exists(), list(Path().glob(".*.tmp")))
        """,
    )
    assert printed == "Corrupted False []\n"
