"""Snapshots and checkouts beside the stock DVC's, as ratios of one run.

    python tests/benchmarks/datasets/bench_snapshots.py --files 50000 --repeats 3

Every measurement is a process of its own, start included, theirs and ours in turn; what it prints are the smallest,
the middle and the largest ratio of wall time, the middle ratio of processor time (which tells more on a shared
machine), and the largest memory of each.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REACH = {"first": 5, "unchanged": 15, "1 % changed": 10, "checkout, read-only": 15, "checkout, writable": None}

SNAPSHOT = """
import sys
from pathlib import Path
from learnloop.datasets.store import Store
store = Store(Path(sys.argv[1]))
print(store.write_tree(store.add_folder(Path(sys.argv[2]))[0]))
"""
CHECKOUT = """
import sys
from pathlib import Path
from learnloop.datasets.store import Store
store = Store(Path(sys.argv[1]))
store.checkout(store.read_tree(sys.argv[3]), Path(sys.argv[2]), writable=sys.argv[4] == "writable")
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of wall time, seconds of processor time, MiB of resident memory at most."""

    wall: float
    processor: float
    memory: float


def run(*command: str, cwd: Path) -> tuple[Cost, str]:
    """Run a command to its end; what it cost, and what it printed."""
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(cwd / "site")}
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command[:4])} failed with {process.returncode}")
        output.seek(0)
        return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024), output.read().strip()


class Race:
    """DVC and ours on copies of the same files, below ``place``."""

    def __init__(self, place: Path, files: int, size: int) -> None:
        self.dvc = place / "dvc"
        self.ours = place / "ours"
        self.files = files
        for side in (self.dvc, self.ours):
            shutil.rmtree(side, ignore_errors=True)
            side.mkdir(parents=True)
        for number in range(files):
            path = f"data/{number // 500:04d}/{number:07d}.bin"
            content = os.urandom(size)
            for side in (self.dvc, self.ours):
                (side / path).parent.mkdir(parents=True, exist_ok=True)
                (side / path).write_bytes(content)
        self._dvc("init", "--no-scm")
        for option in ("cache.type=hardlink", "core.analytics=false", "core.check_update=false"):
            self._dvc("config", *option.split("="))

    def snapshot(self) -> tuple[Cost, Cost]:
        theirs, _ = self._dvc("add", "data")
        ours, self.tree = self._python(SNAPSHOT, "store", "data")
        if f"md5: {self.tree}" not in (self.dvc / "data.dvc").read_text():
            raise SystemExit(f"DVC and we do not agree: {self.tree}")
        return theirs, ours

    def change(self, share: float) -> None:
        for number in range(0, self.files, round(1 / share)):
            content = os.urandom(4096)
            for side in (self.dvc, self.ours):
                path = side / f"data/{number // 500:04d}/{number:07d}.bin"
                path.unlink()  # DVC's are hardlinks to its cache
                path.write_bytes(content)

    def checkout(self, kind: str) -> tuple[Cost, Cost]:
        self._dvc("config", "cache.type", "copy" if kind == "writable" else "hardlink")
        shutil.rmtree(self.dvc / "data")
        theirs, _ = self._dvc("checkout", "data.dvc")
        shutil.rmtree(self.ours / "out", ignore_errors=True)
        ours, _ = self._python(CHECKOUT, "store", "out", self.tree, kind)
        return theirs, ours

    def _dvc(self, *arguments: str) -> tuple[Cost, str]:
        return run(sys.executable, "-m", "dvc", *arguments, "--quiet", cwd=self.dvc)

    def _python(self, script: str, *arguments: str) -> tuple[Cost, str]:
        return run(sys.executable, "-c", script, *arguments, cwd=self.ours)


def measure(place: Path, files: int, size: int, repeats: int) -> dict[str, list[tuple[Cost, Cost]]]:
    """Run all steps ``repeats`` times; the costs of DVC and of ours by step."""
    costs: dict[str, list[tuple[Cost, Cost]]] = {step: [] for step in REACH}
    for _ in range(repeats):
        race = Race(place, files, size)
        steps: dict[str, Callable[[], tuple[Cost, Cost]]] = {
            "first": race.snapshot,
            "unchanged": race.snapshot,
            "1 % changed": race.snapshot,
            "checkout, read-only": lambda race=race: race.checkout("read-only"),
            "checkout, writable": lambda race=race: race.checkout("writable"),
        }
        for name, step in steps.items():
            if name == "1 % changed":
                race.change(0.01)
            costs[name].append(step())
    return costs


def show(costs: dict[str, list[tuple[Cost, Cost]]]) -> None:
    """Print the table."""
    print("| step | DVC s | ours s | ratio min/median/max | reach | processor ratio | DVC MiB | ours MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for step, pairs in costs.items():
        ratios = sorted(theirs.wall / ours.wall for theirs, ours in pairs)
        processor = statistics.median(theirs.processor / ours.processor for theirs, ours in pairs)
        theirs_s, ours_s = (statistics.median(pair[side].wall for pair in pairs) for side in (0, 1))
        theirs_mb, ours_mb = (max(pair[side].memory for pair in pairs) for side in (0, 1))
        print(
            f"| {step} | {theirs_s:.2f} | {ours_s:.2f} | {ratios[0]:.1f} / {statistics.median(ratios):.1f} /"
            f" {ratios[-1]:.1f} | {REACH[step] or '–'} | {processor:.1f} | {theirs_mb:.0f} | {ours_mb:.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Snapshots and checkouts beside DVC's")
    parser.add_argument("--files", type=int, nargs="+", default=[5_000, 50_000])
    parser.add_argument("--size", type=int, default=4096, help="bytes a file")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--place", type=Path, default=Path("/dev/shm"), help="where files are written; memory by default"
    )
    arguments = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, in {arguments.place}")
    with tempfile.TemporaryDirectory(prefix="bench-snapshots-", dir=arguments.place) as place:
        for files in arguments.files:
            print(f"\n{files} files of {arguments.size} bytes, {arguments.repeats} repeats\n")
            show(measure(Path(place), files, arguments.size, arguments.repeats))


if __name__ == "__main__":
    main()
