"""A stream of labelled data and the loop's own steps on it, without its database: train, ask, search, gate, adopt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import skops.io

from learnloop.models.gate import decide
from learnloop.training.evaluate import compare, latency_ms, scores
from learnloop.training.models import Model, probabilities
from learnloop.training.structure.choice import Choice, choose
from learnloop.training.structure.needed import Rules, StructureFacts, structure_needed
from learnloop.training.structure.sampler import Told, propose
from learnloop.training.structure.space import Candidate, Space, described, first_candidates, job_params
from learnloop.training.trainers import trainer_for
from learnloop.training.trial import FOLDS, cross_validate, procedure_of

Say = Callable[[str], None]


@dataclass(frozen=True)
class Stream:
    """Samples in the order in which they get their labels, and a frozen test split."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]
    task_type: str


@dataclass
class Story:
    """What happened: accuracy of each round on the test split, and each search's choice."""

    accuracies: list[float] = field(default_factory=list)
    structures: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)


def digits_stream(seed: int) -> Stream:
    """scikit-learn's digits: 600 for the test."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    order = np.random.default_rng(seed).permutation(len(loaded.target))
    X, y = (loaded.data[order] / 16 * 255).astype(np.float32), loaded.target[order]
    return Stream(X[600:], y[600:], X[:600], y[:600], tuple("0123456789"), "image_classification")


def gaussian_stream(seed: int) -> Stream:
    """Two normal classes of one covariance, 10 columns, means 2 apart: no model can beat a linear one (Bayes: 84.1 %)."""
    generator = np.random.default_rng(seed)
    y = generator.integers(2, size=5000)
    X = generator.normal(size=(5000, 10)).astype(np.float32)
    X += np.where(y == 1, 1, -1)[:, None] / np.sqrt(10).astype(np.float32)
    return Stream(X[3000:], y[3000:], X[:3000], y[:3000], ("a", "b"), "tabular_classification")


def run(
    stream: Stream,
    labels: Sequence[int],
    trainer: dict[str, Any],
    *,
    families: Sequence[str],
    trials: int,
    seed: int,
    say: Say = lambda text: None,
) -> Story:
    """One round at each number of labels. ``trials=0``: the structure is never looked at."""
    story, current, looked = Story(), trainer, (labels[0], 0)
    model = None
    for number, count in enumerate(labels):
        X, y = stream.X[:count], stream.y[:count]
        made = _fit(stream, {**current, "start": "warm"}, X, y, parent=model, seed=seed)
        if _accepted(stream, made, model):
            model = made
        story.accuracies.append(_accuracy(stream, model))
        story.structures.append(_name(current))
        if not trials:
            continue
        verdict = structure_needed(StructureFacts(count, looked[0], story.accuracies[looked[1] :]), Rules())
        story.asked.append(verdict.reason)
        if not verdict.needed:
            continue
        looked = (count, number)
        space = Space(current, families, len(stream.classes), count)
        candidates, choice = search(stream, space, X, y, trials=trials, seed=seed, say=say)
        story.choices.append(choice)
        say(f"{count} labels: {verdict.reason}: {choice.reason}")
        if choice.index is None:
            continue
        chosen = candidates[choice.index]
        made = _fit(stream, {**chosen["trainer"], "start": chosen["start"]}, X, y, parent=model, seed=seed)
        if _accepted(stream, made, model):
            model, current = made, chosen["trainer"]
            story.accuracies[-1], story.structures[-1] = _accuracy(stream, model), _name(current)
    return story


def search(
    stream: Stream, space: Space, X: np.ndarray, y: np.ndarray, *, trials: int, seed: int, say: Say = lambda text: None
) -> tuple[list[Candidate], Choice]:
    told: list[Told] = []
    results: list[dict[str, Any]] = []
    first = list(first_candidates(space))
    while len(told) < trials:
        candidate = first[len(told)] if len(told) < len(first) else propose(space, told, seed=len(told))
        if candidate is None:
            break
        procedure = procedure_of(job_params(candidate, space), stream.task_type)
        accuracies = cross_validate(procedure, X, y, stream.classes, seed=seed)
        model = _model(stream, procedure.fit(X, y, stream.classes, seed=seed).pipeline)
        result = {
            "described": described(candidate),
            "accuracies": accuracies,
            "accuracy": float(np.mean(accuracies)),
            "folds": FOLDS,
            "latency_ms": latency_ms(model, X),
            "model_bytes": model.size,
        }
        say(f"  {result['described']}: {result['accuracy']:.4f}, {model.size} bytes")
        results.append(result)
        told.append(Told(candidate, "done", (result["accuracy"], result["latency_ms"], result["model_bytes"])))
    return [one.candidate for one in told], choose(results)


def _fit(stream: Stream, params: dict[str, Any], X: np.ndarray, y: np.ndarray, *, parent: Any, seed: int) -> Model:
    start = params["start"]
    own = {name: value for name, value in params.items() if name != "start"} | (
        {"grow": True} if start == "grown" else {}
    )
    before = None if start == "cold" or parent is None else parent.estimator
    fitted = trainer_for(own, stream.task_type).fit(X, y, stream.classes, parent=before, seed=seed)
    return _model(stream, fitted.pipeline)


def _model(stream: Stream, pipeline: Any) -> Model:
    size = len(skops.io.dumps(pipeline))
    return Model(stream.classes, stream.X.shape[1], pipeline, size, probabilities(pipeline, stream.classes))


def _accepted(stream: Stream, made: Model, current: Model | None) -> bool:
    if current is None:
        return True
    arguments = stream.X_test, stream.y_test, stream.classes
    compared = {
        "candidate": scores(made, *arguments),
        "current": scores(current, *arguments),
        "comparison": compare(made, current, *arguments, 0),
    }
    return decide(compared, min_gain=0.0, max_class_drop=0.1).accepted


def _accuracy(stream: Stream, model: Model) -> float:
    return float((model.predict_proba(stream.X_test).argmax(axis=1) == stream.y_test).mean())


def _name(trainer: dict[str, Any]) -> str:
    return described({"trainer": {"parameters": {}, **trainer}, "start": "warm"})
