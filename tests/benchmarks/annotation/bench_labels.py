"""How many labels a query strategy needs for a target accuracy: ours, at random, and scikit-activeml's, on the same splits.

    PYTHONPATH=include BENCH_VENV/bin/python tests/benchmarks/annotation/bench_labels.py --seeds 50 --out labels.json

For each seed: a stratified test set is put aside; a start (drawn at random, or chosen by k-means as ``first_pool`` does) is
labelled; then, batch after batch, a strategy chooses and the true labels are given, until logistic regression on scaled
features reaches the target on the test set. No strategy sees the test set, or a label it has not asked for. All start with
the same samples, and have the same model, features and seed. The target is 95 % on digits; elsewhere one point below the
same model on the whole pool of that split. Who does not reach it counts with the whole pool.

What is printed are means over the seeds and paired bootstrap intervals (95 %) of ratios of means; `plot_labels.py` draws.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from label_sets import PROTOCOLS, Split, read, split
from numpy.typing import NDArray

from learnloop.annotation.choosing import pick
from learnloop.annotation.strategies import STRATEGIES, find, first_pool

COMMITTEE = 3
DEFAULT = "diverse_mini_batch"
Model = object
# (what is known of the pool, the models so far, rows that have a label, how many, chance) -> rows
Choose = Callable[[Split, list[Model], NDArray[np.intp], int, np.random.Generator], NDArray[np.intp]]


class InMemory:
    def __init__(self, scores: NDArray[np.float64], features: NDArray[np.float64]) -> None:
        self.scores = scores
        self._features = features

    def features(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        return self._features[rows]


def ours(name: str, share: float = 0.0) -> Choose:
    """What ``choose_tasks`` does with a batch, but for Parquet and the database."""
    method = find(name)

    def choose(data: Split, models: list[Model], known: NDArray[np.intp], size: int, random: np.random.Generator):
        votes = [model.predict_proba(data.pool) for model in models[-COMMITTEE:][::-1]]
        committee = np.stack(votes, axis=1) if method.needs_committee else None
        samples = InMemory(method.scores(votes[0], committee, random), data.pool)
        free = np.setdiff1d(np.arange(len(data.pool)), known)
        return np.asarray([row for _, row in pick(samples, free, method, size, share, random, None)])

    return choose


def theirs(name: str, **options: object) -> Choose:
    """A strategy of scikit-activeml's, with the model fitted already."""
    import skactiveml.pool
    from skactiveml.classifier import SklearnClassifier

    def choose(data: Split, models: list[Model], known: NDArray[np.intp], size: int, random: np.random.Generator):
        method = getattr(skactiveml.pool, name)(random_state=int(random.integers(2**31)), **options)
        given = np.full(len(data.labels), np.nan)
        given[known] = data.labels[known]
        wrapped = SklearnClassifier(models[-1], classes=np.unique(data.labels)).fit(data.pool, given)
        extra: dict[str, object] = {"clf": wrapped, "fit_clf": False}
        if name == "Clue":
            extra = {"estimator": wrapped, "fit_estimator": False}
        elif name in ("CoreSet", "TypiClust"):
            extra = {}
        return np.asarray(method.query(X=data.pool, y=given, batch_size=size, **extra))

    return choose


OURS = {name: ours(name) for name in sorted(STRATEGIES)} | {f"{DEFAULT}, 10 % random": ours(DEFAULT, 0.1)}
THEIRS = {
    "margin": ("UncertaintySampling", {"method": "margin_sampling"}),
    "entropy": ("UncertaintySampling", {"method": "entropy"}),
    "Falcun": ("Falcun", {}),
    "Badge": ("Badge", {}),
    "Clue": ("Clue", {}),
    "CoreSet": ("CoreSet", {}),
    "TypiClust": ("TypiClust", {}),
}
# Those that get the k-means start as well: the platform's own way, and what came nearest to it.
K_MEANS_START = (
    DEFAULT,
    f"{DEFAULT}, 10 % random",
    "random",
    "skactiveml margin",
    "skactiveml Falcun",
    "skactiveml Clue",
)


def labels_needed(
    name: str, data: Split, choose: Choose, target: float, seed: int, by_k_means: bool
) -> tuple[int, bool]:
    """How many labels, and whether the target was reached with them."""
    protocol, random = PROTOCOLS[name], np.random.default_rng(seed)
    start = random.choice(len(data.pool), protocol.start, replace=False)
    if by_k_means:
        start = first_pool(data.pool, protocol.start, random)
    known, models = start, []
    while True:
        model = fitted(data.pool[known], data.labels[known], int(data.labels.max()) + 1)
        models.append(model)
        if model.score(data.test, data.truth) >= target:
            return len(known), True
        size = min(protocol.batch, len(data.pool) - len(known))
        if size == 0:
            return len(data.pool), False
        chosen = choose(data, models, known, size, random)
        if len(set(chosen.tolist()) - set(known.tolist())) != size:
            raise AssertionError("a strategy chose a sample twice, or one that has a label")
        known = np.concatenate([known, chosen])


def fitted(features: NDArray[np.float64], labels: NDArray[np.intp], classes: int):
    """Logistic regression; a class it has not met has probability 0."""
    return AllClasses(classes).fit(features, labels)


def make_model_class():
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.linear_model import LogisticRegression

    class AllClasses(ClassifierMixin, BaseEstimator):
        def __init__(self, classes: int = 2) -> None:
            self.classes = classes

        def fit(self, X, y, sample_weight=None):
            self.classes_ = np.arange(self.classes)
            self.model_ = LogisticRegression(max_iter=1000).fit(X, y) if len(np.unique(y)) > 1 else None
            self.only_ = int(y[0])
            return self

        def predict_proba(self, X):
            found = np.zeros((len(X), self.classes))
            if self.model_ is None:
                found[:, self.only_] = 1
            else:
                found[:, self.model_.classes_.astype(int)] = self.model_.predict_proba(X)
            return found

        def predict(self, X):
            return self.predict_proba(X).argmax(axis=1)

    return AllClasses


AllClasses = make_model_class()


def paired(ours_: list[int], theirs_: list[int], draws: int = 10_000) -> tuple[float, float, float]:
    """The ratio of means, and its bootstrap interval (95 %) over the seeds."""
    a, b = np.asarray(ours_, dtype=float), np.asarray(theirs_, dtype=float)
    rows = np.random.default_rng(0).integers(len(a), size=(draws, len(a)))
    low, high = np.percentile(a[rows].mean(axis=1) / b[rows].mean(axis=1), [2.5, 97.5])
    return float(a.mean() / b.mean()), float(low), float(high)


def measure(name: str, seeds: int, wanted: list[str] | None) -> dict[str, object]:
    data, labels = read(name)
    runs: dict[str, list[int]] = {}
    missed: dict[str, int] = {}
    seconds: dict[str, float] = {}
    targets = []
    methods = dict(OURS)
    methods |= {f"skactiveml {title}": theirs(kind, **options) for title, (kind, options) in THEIRS.items()}
    if wanted:
        methods = {title: method for title, method in methods.items() if title in wanted}
    for seed in range(seeds):
        divided = split(name, data, labels, seed)
        whole = fitted(divided.pool, divided.labels, int(labels.max()) + 1)
        target = PROTOCOLS[name].target or whole.score(divided.test, divided.truth) - 0.01
        targets.append(target)
        for title, choose in methods.items():
            for by_k_means in (False, True) if title in K_MEANS_START else (False,):
                key = f"{title}, k-means start" if by_k_means else title
                started = time.process_time()
                count, reached = labels_needed(name, divided, choose, target, seed, by_k_means)
                seconds[key] = seconds.get(key, 0.0) + time.process_time() - started
                runs.setdefault(key, []).append(count)
                missed[key] = missed.get(key, 0) + (not reached)
    return {
        "protocol": vars(PROTOCOLS[name]),
        "pool": len(divided.pool),
        "target": float(np.mean(targets)),
        "labels": runs,
        "missed": missed,
        "seconds": seconds,
    }


def show(name: str, found: dict[str, object]) -> None:
    runs = found["labels"]
    default = f"{DEFAULT}, k-means start"
    mine = runs.get(default) or runs[DEFAULT]
    print(f"\n{name}: target {found['target']:.3f}, pool {found['pool']}, {len(mine)} seeds", flush=True)
    for title in sorted(runs, key=lambda key: np.mean(runs[key])):
        ratio, (low, high) = (values := paired(runs[title], runs["random"]))[0], values[1:]
        print(
            f"  {title:42} {np.mean(runs[title]):7.1f}  of random {ratio:.2f} ({low:.2f}-{high:.2f})"
            f"  missed {found['missed'][title]:2}  {found['seconds'][title]:6.1f} s"
        )
    library = [title for title in runs if title.startswith("skactiveml")]
    for kind in ("", ", k-means start"):
        same = [title for title in library if title.endswith(", k-means start") == bool(kind)]
        if same:
            best = min(same, key=lambda key: np.mean(runs[key]))
            for title in {default, f"{DEFAULT}{kind}"} & set(runs):
                ratio, low, high = paired(runs[title], runs[best])
                print(f"  {title} against {best}: {ratio:.3f} ({low:.3f}-{high:.3f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--sets", nargs="+", choices=sorted(PROTOCOLS), default=sorted(PROTOCOLS))
    parser.add_argument("--methods", nargs="+", help="only these; random is always one of them")
    parser.add_argument("--out", type=Path, help="a JSON file to write, and to add to")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning, module="skactiveml")
    kept = json.loads(asked.out.read_text()) if asked.out and asked.out.exists() else {}
    wanted = [*dict.fromkeys([*asked.methods, "random"])] if asked.methods else None
    for name in asked.sets:
        kept[name] = measure(name, asked.seeds, wanted)
        show(name, kept[name])
        if asked.out:
            asked.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
