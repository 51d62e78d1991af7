"""Merges beside dvc-data's tree merge, and beside three full joins of polars for records, as ratios of one run.

    python tests/benchmarks/datasets/bench_merge.py --files 50000 --rows 1000000 --repeats 3 [--polars PYTHON]

Each measurement is a process of its own, theirs and ours in turn. Inputs are read before the clock starts and both
sides get the same; afterwards each prints a digest of its result, and a difference ends the run. polars is no
dependency of the project: where the interpreter (``--polars``, by default this one) has none, its row is left out.
``--profile`` shows where the time of our record merge goes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

TREES = "three-way merge of trees"
RECORDS = "three-way merge of records"
REACH = {TREES: 50.0, RECORDS: 1.0}
MEMORY = 1024  # MiB that a merge of records may take

# What every child does: read, take the time of one step, print it with the peak of the resident memory.
CHILD = """
import gc, hashlib, json, resource, sys, time
def timed(step):
    gc.collect()
    wall, processor = time.perf_counter(), time.process_time()
    result = step()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return result, wall, processor, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def told(digest, wall, processor, memory):
    print(json.dumps({"wall": wall, "processor": processor, "memory": memory, "digest": digest}))
def digest(lines):
    state = hashlib.md5()
    for line in lines:
        state.update(line.encode())
    return state.hexdigest()
"""

READ_TREES = """
from pathlib import Path
trees = [json.loads(Path(sys.argv[1], name).read_text()) for name in ("base", "ours", "theirs")]
"""

OUR_TREES = (
    READ_TREES
    + """
from learnloop.datasets.merge.trees import merge_trees
merged, *cost = timed(lambda: merge_trees(*trees))
assert not merged.conflicts
told(digest(f"{path} {md5}\\n" for path, md5 in sorted(merged.entries.items())), *cost)
"""
)

# dvc-data's own `merge` reads the trees from an object store first; `_merge` is its step between dictionaries, and
# `Tree.as_dict` and the digest of the result, which `merge` adds, are left out in its favour.
DVC_TREES = (
    READ_TREES
    + """
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import _merge
sides = [{tuple(path.split("/")): (None, HashInfo("md5", md5)) for path, md5 in tree.items()} for tree in trees]
merged, *cost = timed(lambda: _merge(*sides, allowed=["add", "remove", "change"]))
told(digest(f"{'/'.join(key)} {oid.value}\\n" for key, (_, oid) in sorted(merged.items())), *cost)
"""
)

OUR_RECORDS = """
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from learnloop.datasets.merge.records import merge_records
tables = [pq.read_table(Path(sys.argv[1], f"{name}.parquet")) for name in ("base", "ours", "theirs")]
merged, *cost = timed(lambda: merge_records(*tables))
if "profile" in sys.argv:
    import cProfile, pstats
    profile = cProfile.Profile()
    profile.runcall(merge_records, *tables)
    pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(12)
rows = zip(*(merged.table.column(name).to_pylist() for name in ("sample_id", "label", "score")))
told(digest(f"{row}\\n" for row in rows) + f" {len(merged.conflicts)}", *cost)
"""

# The plain way to do it with a data frame library: base, ours and theirs joined in full, then field by field.
POLARS_RECORDS = """
from pathlib import Path
import polars as pl
base, ours, theirs = (pl.read_parquet(Path(sys.argv[1], f"{name}.parquet")) for name in ("base", "ours", "theirs"))
FIELDS = [name for name in base.columns if name != "sample_id"]
def merge():
    sides = {"b": base, "o": ours, "t": theirs}
    sides = {p: t.rename({n: f"{p}_{n}" for n in FIELDS}).with_columns(pl.lit(True).alias(p)) for p, t in sides.items()}
    joined = sides["b"].join(sides["o"], on="sample_id", how="full", coalesce=True)
    joined = joined.join(sides["t"], on="sample_id", how="full", coalesce=True)
    b, o, t = (pl.col(side).is_not_null() for side in "bot")
    col = pl.col
    ours_changed = pl.any_horizontal([col(f"o_{n}").ne_missing(col(f"b_{n}")) for n in FIELDS])
    theirs_changed = pl.any_horizontal([col(f"t_{n}").ne_missing(col(f"b_{n}")) for n in FIELDS])
    gone = (b & ~o & ~(t & theirs_changed)) | (b & ~t & ~(o & ours_changed))
    lost = b & ~o & t & theirs_changed  # deleted here, changed there: a conflict that ours decides
    whole = ((b & ~o & t) & theirs_changed) | ((b & o & ~t) & ours_changed)
    def clash(n):
        mine, other, before = col(f"o_{n}"), col(f"t_{n}"), col(f"b_{n}")
        return o & t & mine.ne_missing(other) & mine.ne_missing(before) & other.ne_missing(before)
    def field(n):
        mine, other, before = col(f"o_{n}"), col(f"t_{n}"), col(f"b_{n}")
        return pl.when(~o).then(other).when(~t).then(mine).when(mine.eq_missing(before)).then(other).otherwise(mine)
    joined = joined.with_columns(
        pl.sum_horizontal([clash(n).cast(pl.UInt32) for n in FIELDS] + [whole.cast(pl.UInt32)]).alias("conflicts")
    )
    count = joined["conflicts"].sum()
    merged = joined.filter(~(gone | lost)).select("sample_id", *(field(n).alias(n) for n in FIELDS))
    return merged.sort("sample_id"), count
(merged, count), *cost = timed(merge)
rows = zip(*(merged[name].to_list() for name in ("sample_id", "label", "score")))
told(digest(f"{row}\\n" for row in rows) + f" {count}", *cost)
"""

# 1 % of the rows changed on each side, of which a tenth on both; a tenth of a per cent deleted and added besides.
MAKE_RECORDS = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
folder, rows = Path(sys.argv[1]), int(sys.argv[2])
random = np.random.default_rng(0)
ids = np.char.mod("sample-%09d", np.arange(rows) * 2)
labels, scores = random.integers(0, 10, rows), random.random(rows)
def write(name, keep, label, score, added):
    label, score = np.concatenate([label[keep], np.full(len(added), 3)]), np.concatenate([score[keep], added / 7])
    keys = np.concatenate([ids[keep], np.char.mod("sample-%09d", added)])
    order = np.argsort(keys)
    keys, label, score = keys[order], label[order], score[order]
    number = np.char.lstrip(keys, "sample-0")
    table = {
        "sample_id": pa.array(keys.tolist(), pa.string()),
        "path": pa.array([f"images/{key}.png" for key in keys.tolist()], pa.string()),
        "label": pa.array([f"class {one}" for one in label.tolist()], pa.string()),
        "split": pa.array([("train", "test")[len(one) % 2] for one in number.tolist()], pa.string()),
        "annotator": pa.array([None if one % 3 else "ana" for one in label.tolist()], pa.string()),
        "score": pa.array(score, pa.float64()),
    }
    pq.write_table(pa.table(table), folder / f"{name}.parquet")
changed, few = max(rows // 100, 10), max(rows // 1000, 1)
order = random.permutation(rows)
both, mine, others = np.split(order[: changed * 2 - changed // 10], [changed // 10, changed])
gone_here, gone_there = order[-few:], order[-2 * few : -few]
write("base", np.ones(rows, bool), labels, scores, np.array([], np.int64))
for name, own, gone, first in (("ours", mine, gone_here, 1), ("theirs", others, gone_there, 3)):
    label, score, keep = labels.copy(), scores.copy(), np.ones(rows, bool)
    label[both] = (label[both] + first) % 10
    half = len(own) // 2
    label[own[:half]] = (label[own[:half]] + 5) % 10
    score[own[half:]] += 1
    keep[gone] = False
    write(name, keep, label, score, np.arange(few) * 4 + first)
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of wall and of processor time for the step, MiB of resident memory at most for the process."""

    wall: float
    processor: float
    memory: float
    digest: str


def child(python: str, script: str, *arguments: str) -> Cost:
    """Run ``script`` in a process of its own; what its timed step cost, and what it made."""
    command = [python, "-c", CHILD + script, *arguments]
    return Cost(**json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def write_trees(folder: Path, files: int) -> None:
    """Three trees: each side changed 1 %, deleted 0.1 % and added 0.1 %, of different files."""
    base = {f"data/{number // 500:04d}/{number:07d}.bin": f"{number:032x}" for number in range(files)}
    paths = list(base)
    for name, first in (("base", None), ("ours", 1), ("theirs", 2)):
        tree = dict(base)
        if first is not None:
            tree |= {path: f"{first}{md5[1:]}" for path, md5 in base.items() if int(md5, 16) % 100 == first}
            for path in paths[10 + first :: 1000]:
                del tree[path]
            tree |= {f"new/{first}/{number}.bin": f"{number:032x}" for number in range(files // 1000)}
        (folder / name).write_text(json.dumps(tree))


def has_polars(python: str) -> bool:
    return subprocess.run([python, "-c", "import polars, pyarrow"], capture_output=True).returncode == 0


def race(theirs: tuple[str, str], ours: tuple[str, str], folder: Path, repeats: int) -> list[tuple[Cost, Cost]]:
    """Theirs and ours in turn, each as (interpreter, script); ends the run when the results differ."""
    costs = [(child(*theirs, str(folder)), child(*ours, str(folder))) for _ in range(repeats)]
    if len({cost.digest for pair in costs for cost in pair}) > 1:
        raise SystemExit("the two merges do not agree")
    return costs


def row(step: str, against: str, size: str, costs: list[tuple[Cost, Cost]]) -> str:
    """A line of the table: ratios are theirs by ours, so that more is better."""
    walls = sorted(theirs.wall / ours.wall for theirs, ours in costs)
    processor = statistics.median(theirs.processor / ours.processor for theirs, ours in costs)
    seconds = [statistics.median(cost.wall for cost in side) for side in zip(*costs, strict=True)]
    memory = [max(cost.memory for cost in side) for side in zip(*costs, strict=True)]
    return (
        f"| {step} | {against} | {size} | {walls[0]:.3g} / {statistics.median(walls):.3g} / {walls[-1]:.3g}"
        f" | {processor:.3g} | {REACH[step]:g} | {seconds[0]:.2f} / {seconds[1]:.3f} s"
        f" | {memory[0]:.0f} / {memory[1]:.0f} MiB |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[50_000])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--polars", default=sys.executable, help="an interpreter that has polars and pyarrow")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()

    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}"
    )
    print("| step | against | size | times faster: least / median / most | by processor time | reach"
          " | theirs / ours | peak memory |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    reached = True
    for files in options.files:
        with tempfile.TemporaryDirectory() as folder:
            write_trees(Path(folder), files)
            sides = (sys.executable, DVC_TREES), (sys.executable, OUR_TREES)
            costs = race(*sides, Path(folder), options.repeats)
            print(row(TREES, "dvc-data", f"{files:,} files", costs), flush=True)
            reached &= statistics.median(t.wall / o.wall for t, o in costs) >= REACH[TREES]
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-c", MAKE_RECORDS, folder, str(rows)], check=True)
            if options.profile:
                child(sys.executable, OUR_RECORDS, folder, "profile")
            if not has_polars(options.polars):
                ours = child(sys.executable, OUR_RECORDS, folder)
                print(
                    f"{rows:,} records: {ours.wall:.2f} s, {ours.memory:.0f} MiB; {options.polars} has no polars to race"
                )
                continue
            costs = race((options.polars, POLARS_RECORDS), (sys.executable, OUR_RECORDS), Path(folder), options.repeats)
            print(row(RECORDS, "polars", f"{rows:,} records", costs), flush=True)
            reached &= statistics.median(t.wall / o.wall for t, o in costs) > REACH[RECORDS]
            reached &= max(ours.memory for _, ours in costs) < MEMORY
    if not reached:
        raise SystemExit("a figure is not reached")


if __name__ == "__main__":
    main()
