"""Three-way merge: trees against dvc-data, records against polars' full joins, side by side on this machine.

Each measurement is a process of its own, so that its peak memory is its own; rounds alternate. Run it:

    python tests/benchmarks/datasets/bench_merge.py [--files 50000] [--rows 1000000] [--rounds 3] [--profile]

polars is needed for the second part only and is no dependency of the project: ``--polars PYTHON`` names an interpreter
that has it (and pyarrow). Without one the part is left out, and that is said.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REACH = {"trees": 50, "records": 1}
MEMORY = 1024  # MiB that a record merge may take


# --- what is merged ---


def make_trees(folder: Path, files: int) -> None:
    """Three trees of ``files`` files; each side changes 0.8 % of them and adds and deletes 0.1 %, without conflicts."""
    import numpy as np

    from learnloop.datasets.store import Store
    from learnloop.datasets.tree import Tree, dumps

    random = np.random.default_rng(0)
    base = {f"images/{n % 100:02d}/{n:07d}.png": f"{n:032x}" for n in range(files)}
    touched = random.permutation(list(base))[: 2 * (files // 100)].tolist()
    sides = {"base": base}
    for name, start, letter in (("ours", 0, "a"), ("theirs", files // 100, "b")):
        mine, tenth = touched[start : start + files // 100], files // 1000
        changed = dict.fromkeys(mine[tenth:], letter * 32)
        added = {f"new/{letter}/{n}.png": f"{letter}{n:031x}" for n in range(tenth)}
        sides[name] = {path: md5 for path, md5 in {**base, **changed}.items() if path not in mine[:tenth]} | added
    store = Store(folder / "store")
    names = {side: store.add_bytes(dumps(Tree(entries))) for side, entries in sides.items()}
    for md5 in names.values():
        # Only DVC calls a tree's object so; its bytes are the same.
        path = store.path_of(md5)
        path.rename(path.with_name(path.name + ".dir"))
    (folder / "trees.json").write_text(json.dumps({side: md5 + ".dir" for side, md5 in names.items()}))


def make_tables(folder: Path, rows: int) -> None:
    """Annotations of ``rows`` samples; each side relabels 0.8 % and adds and deletes 0.1 %."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from learnloop.datasets.tables import ANNOTATIONS

    random = np.random.default_rng(0)

    def annotations(ids: list[str]) -> pa.Table:
        count = len(ids)
        columns = [
            ids,
            [f"images/{sample}.png" for sample in ids],
            pa.array(random.integers(0, 10, count)).cast(pa.string()),
            np.where(random.random(count) < 0.2, "test", "train"),
            np.where(random.random(count) < 0.5, "ana", "ben"),
            pa.array(random.integers(0, 1 << 50, count), pa.timestamp("us", tz="UTC")),
        ]
        return pa.table([pa.array(column, kind.type) for column, kind in zip(columns, ANNOTATIONS, strict=True)],
                        schema=ANNOTATIONS)  # fmt: skip

    base = annotations([f"sample-{number:08d}" for number in range(rows)])
    pq.write_table(base, folder / "base.parquet")
    for side, label in (("ours", "a"), ("theirs", "b")):
        relabelled = pa.array(random.permutation(np.arange(rows) < rows * 8 // 1000))
        labels = pc.if_else(relabelled, label, base["label"])
        kept = pa.array(random.permutation(np.arange(rows) >= rows // 1000))
        added = annotations([f"sample-{n:08d}-{side}" for n in random.choice(rows, rows // 1000, False)])
        table = pa.concat_tables([base.set_column(2, ANNOTATIONS.field("label"), labels).filter(kept), added])
        pq.write_table(table.sort_by("sample_id"), folder / f"{side}.parquet")


# --- who merges: each returns what is timed, and a count that says it was done ---


def ours_trees(folder: Path) -> Callable[[], int]:
    from learnloop.datasets.merge.trees import merge_trees
    from learnloop.datasets.store import Store

    names = json.loads((folder / "trees.json").read_text())
    store = Store(folder / "store")
    base, ours, theirs = (store.read_tree(names[side]) for side in ("base", "ours", "theirs"))

    def run() -> int:
        merge = merge_trees(base, ours, theirs)
        if merge.conflicts:
            raise SystemExit("a conflict where there is none")
        return len(merge.entries)

    return run


def ours_trees_whole(folder: Path) -> Callable[[], int]:
    from learnloop.datasets.merge.trees import merge_trees
    from learnloop.datasets.store import Store
    from learnloop.datasets.tree import Tree, tree_hash

    names = json.loads((folder / "trees.json").read_text())
    store = Store(folder / "store")

    def run() -> int:
        base, ours, theirs = (store.read_tree(names[side]) for side in ("base", "ours", "theirs"))
        merged = Tree(merge_trees(base, ours, theirs).entries)
        tree_hash(merged)
        return len(merged)

    return run


def dvc_trees(folder: Path) -> Callable[[], int]:
    from dvc_data.hashfile.tree import _merge

    base, ours, theirs = (tree.as_dict() for tree in _dvc_loaded(folder))
    return lambda: len(_merge(base, ours, theirs, allowed=["add", "remove", "change"]))


def dvc_trees_whole(folder: Path) -> Callable[[], int]:
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import merge

    odb = _dvc_store(folder)
    names = json.loads((folder / "trees.json").read_text())
    infos = [HashInfo("md5", names[side]) for side in ("base", "ours", "theirs")]
    return lambda: len(merge(odb, *infos, allowed=["add", "remove", "change"]))


def _dvc_store(folder: Path) -> Any:
    from dvc_data.hashfile.db.local import LocalHashFileDB
    from dvc_objects.fs.local import LocalFileSystem

    return LocalHashFileDB(LocalFileSystem(), str(folder / "store" / "files" / "md5"))


def _dvc_loaded(folder: Path) -> list[Any]:
    from dvc_data.hashfile import load
    from dvc_data.hashfile.hash_info import HashInfo

    names = json.loads((folder / "trees.json").read_text())
    return [load(_dvc_store(folder), HashInfo("md5", names[side])) for side in ("base", "ours", "theirs")]


def ours_records(folder: Path) -> Callable[[], int]:
    import pyarrow.parquet as pq

    from learnloop.datasets.merge.contents import ANNOTATION_UNITS
    from learnloop.datasets.merge.records import merge_records

    base, ours, theirs = (pq.read_table(folder / f"{side}.parquet") for side in ("base", "ours", "theirs"))
    return lambda: merge_records(base, ours, theirs, units=ANNOTATION_UNITS).table.num_rows


def polars_records(folder: Path) -> Callable[[], int]:
    """The floor of a merge by joins: base with ours, base with theirs, ours with theirs. Nothing is compared yet."""
    import polars

    base, ours, theirs = (polars.read_parquet(folder / f"{side}.parquet") for side in ("base", "ours", "theirs"))

    def run() -> int:
        pairs = ((base, ours), (base, theirs), (ours, theirs))
        joined = [left.join(right, on="sample_id", how="full", coalesce=True) for left, right in pairs]
        return max(table.height for table in joined)

    return run


def ours_records_agreed(folder: Path) -> Callable[[], int]:
    """As `polars_merge` does it, so that both must come to one result."""
    import pyarrow.parquet as pq

    from learnloop.datasets.merge.records import merge_records

    base, ours, theirs = (pq.read_table(folder / f"{side}.parquet") for side in ("base", "ours", "theirs"))

    def run() -> int:
        merge = merge_records(base, ours, theirs)
        return merge.table.num_rows * 1_000_000 + len(merge.conflicts)

    return run


def polars_merge(folder: Path) -> Callable[[], int]:
    """The whole merge, as one would write it with polars: two joins, then field by field; conflicts are counted only."""
    import polars
    from polars import col, when

    base, ours, theirs = (polars.read_parquet(folder / f"{side}.parquet") for side in ("base", "ours", "theirs"))
    fields = [name for name in base.columns if name != "sample_id"]

    def side(letter: str, table: Any) -> Any:
        return table.rename({name: f"{letter}_{name}" for name in fields}).with_columns(polars.lit(True).alias(letter))

    def run() -> int:
        joined = side("b", base)
        for letter, table in (("o", ours), ("t", theirs)):
            joined = joined.join(side(letter, table), on="sample_id", how="full", coalesce=True)
        b, o, t = (col(letter).is_not_null() for letter in "bot")
        by_us, by_them = (
            polars.any_horizontal([col(f"{letter}_{name}").ne_missing(col(f"b_{name}")) for name in fields])
            for letter in "ot"
        )
        left = (b & o & ~t & by_us) | (b & ~o & t & by_them)  # deleted on one side, changed on the other
        values, clashes = [], [left]
        for name in fields:
            before, mine, other = (col(f"{letter}_{name}") for letter in "bot")
            both = mine.ne_missing(other) & mine.ne_missing(before) & other.ne_missing(before)
            clashes.append(o & t & both)
            value = when(~o).then(other).when(~t).then(mine).when(mine.eq_missing(before)).then(other).otherwise(mine)
            values.append(value.alias(name))
        gone = b & ((~o & ~(t & by_them)) | (~t & ~(o & by_us)) | (~o & t))
        conflicts = joined.select(polars.sum_horizontal([clash.cast(polars.UInt32) for clash in clashes]).sum()).item()
        merged = joined.filter(~gone).select("sample_id", *values).sort("sample_id")
        return int(merged.height * 1_000_000 + conflicts)

    return run


# --- measuring ---


def measure(name: str, folder: Path, python: str) -> dict[str, float]:
    command = [python, __file__, "--measure", name, "--folder", str(folder)]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def measured(name: str, folder: Path) -> None:
    run = globals()[name](folder)
    before = _peak()
    started = time.perf_counter()
    count = run()
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "count": count, "before": before, "peak": _peak()}))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(title: str, pairs: list[tuple[str, str]], folder: Path, rounds: int, polars: str = sys.executable) -> None:
    for ours, theirs in pairs:
        results: dict[str, list[dict[str, float]]] = {ours: [], theirs: []}
        for _ in range(rounds):
            for name in (ours, theirs):
                python = polars if name.startswith("polars") else sys.executable
                results[name].append(measure(name, folder, python))
        seconds = {name: statistics.median(run["seconds"] for run in runs) for name, runs in results.items()}
        counts = {run["count"] for runs in results.values() for run in runs}
        if len(counts) > 1 and theirs != "polars_records":  # which joins only
            raise SystemExit(f"{ours} and {theirs} do not agree: {counts}")
        peaks = {name: max(run["peak"] for run in runs) for name, runs in results.items()}
        print(
            f"| {title} | {ours} {seconds[ours]:.3f} s, {peaks[ours]:.0f} MiB | {theirs} {seconds[theirs]:.3f} s,"
            f" {peaks[theirs]:.0f} MiB | {seconds[theirs] / seconds[ours]:.1f} |",
            flush=True,
        )


def profile(folder: Path) -> None:
    import cProfile
    import pstats

    for name in ("ours_trees", "ours_records"):
        run = globals()[name](folder)
        profiler = cProfile.Profile()
        profiler.runcall(run)
        print(f"\n{name}:")
        pstats.Stats(profiler).strip_dirs().sort_stats("cumulative").print_stats(14)


def machine() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cpu = names[0].partition(": ")[2] if names else platform.processor()
    load = os.getloadavg()[0]
    return f"{cpu}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--polars", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measured(options.measure, options.folder)
        return
    print(machine())
    print("\n| merge | ours | against | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_trees(folder, options.files)
        pairs = [("ours_trees", "dvc_trees"), ("ours_trees_whole", "dvc_trees_whole")]
        compare(f"trees of {options.files} files", pairs, folder, options.rounds)
        make_tables(folder, options.rows)
        if subprocess.run([options.polars, "-c", "import polars"], stderr=subprocess.DEVNULL).returncode == 0:
            pairs = [("ours_records", "polars_records"), ("ours_records_agreed", "polars_merge")]
            compare(f"records, {options.rows} rows", pairs, folder, options.rounds, options.polars)
        else:
            print(f"\nrecords: left out, since {options.polars} has no polars (see --polars)")
        if options.profile:
            profile(folder)
    print(f"\nto reach: trees {REACH['trees']}, records above {REACH['records']} and under {MEMORY} MiB")


if __name__ == "__main__":
    main()
