"""Score and choose 1,000 of 1,000,000 x 100 predictions, beside the numpy floor.

    python tests/benchmarks/annotation/bench_choosing.py --rows 1000000 --classes 100 --rounds 3

The floor is what numpy cannot do without: the score of each row, in one expression over all rows (the fastest way we
know of each), and `argpartition`. It checks nothing, breaks no ties, looks at no features, and has everything in memory.

- "in memory": `strategies.choose` on an array, beside the floor on the same array.
- "Parquet": `Shards` and `pick`, as `choose_tasks` calls them, beside pyarrow's reading of the same columns in its
  shortest way (`ParquetFile.read`) and the floor. Ours also checks that ids are distinct, and reads the features of
  a strategy's shortlist.

Each measurement is a process of its own, ours and the floor in turn; imports are not timed. Memory is the process's peak,
imports included, less what it had after them. Strategies with a committee (of 3) have a fifth of the rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FEATURES = 64
MEMBERS = 3
MIB = 1 << 20


def floor_scores(name: str, probabilities: np.ndarray, committee: np.ndarray | None) -> np.ndarray:
    n = len(probabilities)
    if name in ("random", "k_center"):
        return np.random.default_rng(0).random(n)
    if name == "least_confidence":
        return probabilities.max(axis=1)
    if name == "entropy_sampling":
        return (probabilities * np.log(probabilities)).sum(axis=1)
    if name == "vote_entropy":
        votes = committee.argmax(axis=2)
        # Of three votes: all alike, two alike, or none.
        pairs = (votes[:, 0] == votes[:, 1]).astype(int) + (votes[:, 1] == votes[:, 2]) + (votes[:, 0] == votes[:, 2])
        return pairs.astype(np.float32)
    if name == "committee_divergence":
        mean = committee.mean(axis=1)
        each = (committee * np.log(committee)).sum(axis=2).mean(axis=1)
        return (mean * np.log(mean)).sum(axis=1) - each
    rows, best = np.arange(n), probabilities.argmax(axis=1)
    top, rest = probabilities[rows, best], probabilities.copy()
    rest[rows, best] = -1
    return top - rest.max(axis=1)


def make(folder: Path, rows: int, classes: int, members: int, shard: int) -> None:
    """Softmax of normal numbers, in shards as `predict_shard` writes them."""
    from learnloop.annotation.scoring import NUMBERS

    random = np.random.default_rng(0)
    for start in range(0, rows, shard):
        n = min(shard, rows - start)
        columns = {
            "sample_id": [f"sample-{start + row:09d}" for row in range(n)],
            "path": [f"images/{start + row:09d}.png" for row in range(n)],
            "object": [f"{start + row:032x}" for row in range(n)],
            "probabilities": lists(softmax(random, (n, classes))),
            "features": lists(random.normal(size=(n, FEATURES)).astype(np.float32)),
        }
        if members:
            columns["committee"] = lists(softmax(random, (n, members, classes)).reshape(n, -1))
        pq.write_table(pa.table(columns), folder / f"batch-{start:09d}.parquet", **NUMBERS)


def softmax(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    logits = np.exp(random.normal(scale=2, size=shape).astype(np.float32))
    return logits / logits.sum(axis=-1, keepdims=True)


def lists(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1]).cast(pa.list_(pa.float32()))


def measure(kind: str, name: str, folder: Path, classes: int, size: int) -> dict[str, float]:
    """In this process: seconds, and MiB above what the imports took."""
    from sklearn.cluster import KMeans  # noqa: F401  (what strategies import when they run)

    from learnloop.annotation.choosing import pick
    from learnloop.annotation.shards import Shards, matrix
    from learnloop.annotation.strategies import choose, find

    method, random = find(name), np.random.default_rng(0)
    names = [str(index) for index in range(classes)]
    files = sorted(folder.glob("batch-*.parquet"))
    wanted = ["sample_id", "probabilities", *(["committee"] if method.needs_committee else [])]
    probabilities = features = committee = None
    if kind.startswith("memory"):
        table = pa.concat_tables([pq.read_table(file, columns=[*wanted, "features"]) for file in files])
        probabilities = matrix(table["probabilities"], classes, "probabilities")
        features = matrix(table["features"], None, "features")
        committee = in_committee(table, classes) if method.needs_committee else None
        del table
    peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    if kind == "memory ours":
        chosen = choose(name, probabilities, features, size, random, committee=committee)
    elif kind == "memory floor":
        chosen = smallest(floor_scores(name, probabilities, committee), size)
    elif kind == "parquet ours":
        shards = Shards(folder, names, method, random)
        chosen = [row for _, row in pick(shards, np.arange(len(shards)), method, size, 0.0, random, None)]
        chosen = shards.rows(np.asarray(chosen), ["sample_id"])["sample_id"].to_pylist()
    else:
        table = pa.concat_tables([pq.ParquetFile(file).read(wanted) for file in files])
        flat = matrix(table["probabilities"], classes, "probabilities")
        members = in_committee(table, classes) if method.needs_committee else None
        chosen = table["sample_id"].take(pa.array(smallest(floor_scores(name, flat, members), size))).to_pylist()
    seconds = time.perf_counter() - started
    if len(set(chosen)) != size:
        raise AssertionError(f"{kind} {name}: {len(set(chosen))} chosen")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "mib": (peak - peak_before) / 1024}


def in_committee(table: pa.Table, classes: int) -> np.ndarray:
    from learnloop.annotation.shards import matrix

    flat = matrix(table["committee"], None, "committee")
    return flat.reshape(len(flat), -1, classes)


def smallest(scores: np.ndarray, size: int) -> np.ndarray:
    part = np.argpartition(scores, size)[:size]
    return part[np.argsort(scores[part])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--shard", type=int, default=1000, help="rows a file; 1000 is what ShardOperator makes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--strategies", nargs="+")
    parser.add_argument("--places", nargs="+", default=["memory", "parquet"], choices=["memory", "parquet"])
    parser.add_argument("--measure", nargs=3, metavar=("KIND", "STRATEGY", "FOLDER"), help="used by this script itself")
    asked = parser.parse_args()
    if asked.measure:
        kind, name, folder = asked.measure
        print(json.dumps(measure(kind, name, Path(folder), asked.classes, asked.size)))
        return

    from learnloop.annotation.strategies import STRATEGIES

    with tempfile.TemporaryDirectory(prefix="learnloop-choosing-") as temporary:
        folders = {False: Path(temporary) / "plain", True: Path(temporary) / "committee"}
        names = asked.strategies or sorted(STRATEGIES)
        for voted in sorted({STRATEGIES[name].needs_committee for name in names}):
            folders[voted].mkdir()
            make(folders[voted], asked.rows // (5 if voted else 1), asked.classes, MEMBERS * voted, asked.shard)
        print(f"{asked.size} of {asked.rows} x {asked.classes}, {asked.shard} rows a shard, {asked.rounds} rounds")
        print(f"{'strategy':22} {'':8} {'ours s':>7} {'floor s':>7} {'ratio':>6} (min-max)    ours MiB floor MiB")
        for name in names:
            for place in asked.places:
                row = compare(place, name, folders[STRATEGIES[name].needs_committee], asked)
                print(f"{name:22} {place:8} {row}", flush=True)


def compare(place: str, name: str, folder: Path, asked: argparse.Namespace) -> str:
    found: dict[str, list[dict[str, float]]] = {"ours": [], "floor": []}
    for _ in range(asked.rounds):
        for who, runs in found.items():
            command = [sys.executable, __file__, "--classes", str(asked.classes), "--size", str(asked.size)]
            done = subprocess.run(
                [*command, "--measure", f"{place} {who}", name, str(folder)], check=True, capture_output=True, text=True
            )
            runs.append(json.loads(done.stdout))
    ours, floor = ([run["seconds"] for run in found[who]] for who in ("ours", "floor"))
    ratios = [mine / least for mine, least in zip(ours, floor, strict=True)]
    memory = [max(run["mib"] for run in found[who]) for who in ("ours", "floor")]
    return (
        f"{statistics.median(ours):7.2f} {statistics.median(floor):7.2f} {statistics.median(ratios):6.2f}"
        f" ({min(ratios):.2f}-{max(ratios):.2f}) {memory[0]:9.0f} {memory[1]:9.0f}"
    )


if __name__ == "__main__":
    main()
