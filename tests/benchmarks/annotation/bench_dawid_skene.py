"""Our Dawid-Skene beside crowd-kit's, on the same simulated answers: do they agree, and how long does each take?

    python tests/benchmarks/annotation/bench_dawid_skene.py --crowdkit PYTHON

PYTHON is an interpreter with crowd-kit (``pip install --no-deps crowd-kit``, and numpy pandas attrs tqdm scikit-learn nltk
pyarrow: its transformers are not needed for this). Each runs in a process of its own, in turn; the clock is around the
fit. Compared without pseudo-counts, which crowd-kit does not have. Stops with an error if the labels differ in more than
one of a thousand samples, or any probability by more than a hundredth in more than one of a hundred.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

OURS = """
import sys, time
import numpy as np
from learnloop.annotation.quality.dawid_skene import fit
data = np.load(sys.argv[1])
start = time.perf_counter()
found = fit(data["items"], data["people"], data["labels"], int(data["classes"]), pseudo_counts=0.0, iterations=ITERATIONS,
            tolerance=0.0)
seconds = time.perf_counter() - start
np.savez(sys.argv[2], posteriors=found.posteriors, seconds=seconds)
"""
THEIRS = """
import sys, time
import numpy as np, pandas as pd
from crowdkit.aggregation import DawidSkene
data = np.load(sys.argv[1])
frame = pd.DataFrame({"task": data["items"], "worker": data["people"], "label": data["labels"]})
start = time.perf_counter()
model = DawidSkene(n_iter=ITERATIONS, tol=0.0)
model.fit(frame)
seconds = time.perf_counter() - start
posteriors = model.probas_.sort_index().reindex(columns=range(int(data["classes"])), fill_value=0.0).to_numpy()
np.savez(sys.argv[2], posteriors=posteriors, seconds=seconds)
"""
ITERATIONS = 50


def simulate(items: int, people: int, classes: int, each: int, seed: int) -> dict[str, object]:
    """``each`` of ``people`` answer every item; each person has a confusion of their own, right in 40 to 95 %."""
    random = np.random.default_rng(seed)
    right = random.uniform(0.4, 0.95, size=people)
    truth = random.integers(classes, size=items)
    who = random.random((items, people)).argsort(axis=1)[:, :each]
    wrong = (truth[:, None] + random.integers(1, classes, size=(items, each))) % classes
    said = np.where(random.random((items, each)) < right[who], truth[:, None], wrong)
    return {
        "items": np.repeat(np.arange(items), each),
        "people": who.ravel(),
        "labels": said.ravel(),
        "classes": classes,
        "truth": truth,
    }


def run(python: str, code: str, given: Path, folder: Path) -> tuple[np.ndarray, float]:
    target = folder / "answer.npz"
    code = code.replace("ITERATIONS", str(ITERATIONS))
    subprocess.run([python, "-c", code, str(given), str(target)], check=True)
    answer = np.load(target)
    return answer["posteriors"], float(answer["seconds"])


def main(crowdkit: str, repeats: int) -> None:
    print(
        f"{'answers':>9} {'classes':>7} {'ours s':>8} {'theirs s':>8} {'same label':>10} {'right: ours':>11} {'majority':>8}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for items, people, classes, each in ((300, 8, 3, 3), (3000, 20, 10, 4), (30_000, 50, 10, 4)):
            data = simulate(items, people, classes, each, seed=items)
            given = folder / "given.npz"
            np.savez(given, **data)
            ours, theirs = [], []
            for _ in range(repeats):
                mine, seconds = run(sys.executable, OURS, given, folder)
                ours.append(seconds)
                other, seconds = run(crowdkit, THEIRS, given, folder)
                theirs.append(seconds)
            same = float((mine.argmax(axis=1) == other.argmax(axis=1)).mean())
            far = float((np.abs(mine - other).max(axis=1) > 0.01).mean())
            votes = np.zeros((items, classes))
            np.add.at(votes, (data["items"], data["labels"]), 1)
            right = float((mine.argmax(axis=1) == data["truth"]).mean())
            majority = float((votes.argmax(axis=1) == data["truth"]).mean())
            print(
                f"{items * each:>9,} {classes:>7} {np.median(ours):>8.3f} {np.median(theirs):>8.3f} {same:>10.4f}"
                f" {right:>11.3f} {majority:>8.3f}"
            )
            if same < 0.999 or far > 0.01:
                raise SystemExit(f"they differ: {1 - same:.4f} of the labels, {far:.4f} of the samples by over 0.01")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--crowdkit", required=True, help="an interpreter that has crowd-kit")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    main(arguments.crowdkit, arguments.repeats)
