"""Grown from a smaller (or larger) network, or from fresh weights: test accuracy on digits, paired by seed.

python tests/benchmarks/structure/bench_starts.py --seeds 8
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.datasets import load_digits

from learnloop.training.trainers import trainer

CLASSES = tuple("0123456789")
CASES = (([4], [16]), ([8], [32]), ([32], [64]), ([16], [16, 16]), ([64], [16]))


def gains(before: list[int], after: list[int], labels: int, seeds: int) -> np.ndarray:
    """Accuracy of the grown model less that of the other, in points, by seed."""
    loaded = load_digits()
    X, y = (loaded.data / 16 * 255).astype(np.float32), loaded.target
    found = []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(y))
        train, test = order[:labels], order[labels:]
        known = train[: int(labels * 0.8)]
        parent = trainer({"name": "mlp", "hidden": before}).fit(X[known], y[known], CLASSES, seed=seed).pipeline
        grown, fresh = (
            trainer({"name": "mlp", "hidden": after, "grow": grow}).fit(
                X[train], y[train], CLASSES, parent=parent if grow else None, seed=seed
            )
            for grow in (True, False)
        )
        right = [(made.pipeline.predict(X[test]) == y[test].astype(str)).mean() for made in (grown, fresh)]
        found.append(100 * (right[0] - right[1]))
    return np.array(found)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", type=int, default=8)
    arguments.add_argument("--labels", type=int, nargs="+", default=[100, 400])
    given = arguments.parse_args()
    for before, after in CASES:
        for labels in given.labels:
            points = gains(before, after, labels, given.seeds)
            error = points.std(ddof=1) / len(points) ** 0.5
            print(f"{before} -> {after}, {labels} labels: {points.mean():+.1f} points (se {error:.1f})", flush=True)
