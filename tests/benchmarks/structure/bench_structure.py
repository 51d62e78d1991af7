"""Structure optimisation on two streams, beside the same loop without it.

On digits a perceptron of four units comes to a plateau: with the search it goes on. On two normal classes nothing can
beat the linear model that is there: the right answer is "no change", each time it is asked.

    python tests/benchmarks/structure/bench_structure.py --seeds 5
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

import structure_stream as streams

FAMILIES = ("mlp", "logistic", "sgd", "boosting")


def plateau(seeds: int, trials: int, families: tuple[str, ...]) -> None:
    labels = [100, 150, 200, 250, 300, 350, 400, 450, 500]
    trainer = {"name": "mlp", "hidden": [4], "parameters": {}}
    with_search, without = [], []
    for seed in range(seeds):
        stream, started = streams.digits_stream(seed), time.monotonic()
        found = streams.run(stream, labels, trainer, families=families, trials=trials, seed=seed, say=say)
        base = streams.run(stream, labels, trainer, families=(), trials=0, seed=seed)
        with_search.append(found.accuracies)
        without.append(base.accuracies)
        say(f"seed {seed}: {found.structures[0]} -> {found.structures[-1]}, {time.monotonic() - started:.0f} s")
    print(f"\ndigits from a perceptron of 4 units, {', '.join(families)}: accuracy on 600 test samples, mean of seeds")
    print("labels   never looked at   with structure optimisation")
    for column, count in enumerate(labels):
        print(f"{count:6}   {np.mean(without, axis=0)[column]:15.1%}   {np.mean(with_search, axis=0)[column]:.1%}")
    gains = np.array([a[-1] - b[-1] for a, b in zip(with_search, without, strict=True)])
    print(
        f"gain at the end: {gains.mean() * 100:+.1f} points, from {gains.min() * 100:+.1f} to {gains.max() * 100:+.1f}"
    )


def no_change(seeds: int, trials: int) -> None:
    labels = [200, 320, 500, 780]
    trainer = {"name": "logistic", "hidden": [32], "parameters": {}}
    searches = changes = 0
    for seed in range(seeds):
        stream = streams.gaussian_stream(seed)
        found = streams.run(stream, labels, trainer, families=FAMILIES, trials=trials, seed=seed, say=say)
        searches += len(found.choices)
        changes += sum(choice.index is not None for choice in found.choices)
        say(f"seed {seed}: {found.accuracies[-1]:.1%} with {found.structures[-1]} (no model can do better than 84.1 %)")
    print(f"\ntwo normal classes, a linear model: {searches} searches, {changes} changes (right: 0)")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--trials", type=int, default=8)
    arguments.add_argument("--only", choices=["perceptrons", "families", "no_change"])
    given = arguments.parse_args()
    if given.only in (None, "perceptrons"):
        plateau(given.seeds, given.trials, ("mlp",))
    if given.only in (None, "families"):
        plateau(given.seeds, given.trials, FAMILIES[:3])
    if given.only in (None, "no_change"):
        no_change(given.seeds, given.trials)
