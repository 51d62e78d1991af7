"""The list of a version's files, against their number: its bytes, processor time to write and to read it, memory.

    PYTHONPATH=include python tests/benchmarks/datasets/bench_trees.py [--files 10000 100000 1000000]

Each size is a process of its own. Every task that reads a version reads this list first, so it is what grows with a dataset
whatever else is read of it.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def measure(files: int) -> None:
    from learnloop.datasets.store import Store
    from learnloop.datasets.tree import Tree

    with tempfile.TemporaryDirectory(prefix="learnloop-trees-") as folder:
        store = Store(Path(folder) / "store")
        one = store.add_bytes(b"the same content in each")  # the list is as long
        entries = {f"images/{number:09d}.png": one for number in range(files)}
        before = time.process_time()
        tree = store.write_tree(Tree(entries))
        written = time.process_time() - before
        size = store.path_of(tree).stat().st_size
        before = time.process_time()
        assert len(store.read_tree(tree)) == files
        read = time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{files:>10,} {size / 2**20:>10.1f} {written:>10.2f} {read:>10.2f} {peak:>10.0f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    sizes = parser.parse_args().files
    if len(sizes) == 1:
        measure(sizes[0])
    else:
        print(f"{'files':>10} {'list MiB':>10} {'write s':>10} {'read s':>10} {'peak MiB':>10}", flush=True)
        for one in sizes:
            subprocess.run([sys.executable, __file__, "--files", str(one)], check=True)
