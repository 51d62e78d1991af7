"""What to try next, by Optuna's tree-structured Parzen estimator: ask and tell.

Nothing is kept here. Each question comes with all that was tried so far, which is put into a study in memory: the
database's rows are the one record of a search, and a search that was interrupted goes on from them.

The estimator (Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011) goes by one number: accuracy,
less a tenth of a point for each doubling of the size, and of the latency. With three objectives side by side it would
spend half of a small budget on ever smaller models: all of them lie on the front, whatever they are worth. What is
taken in the end is chosen on that front (`learnloop.training.structure.choice`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, log2
from typing import TYPE_CHECKING, Any

from learnloop.training.structure.space import MOST_LAYERS, WIDTHS, Candidate, Space, key

if TYPE_CHECKING:
    import optuna

STARTUP = 5  # trials before the estimator has something to go by
TRIES = 50  # proposals, before nothing new is left to try
COST = 0.001  # of accuracy, for twice the size or the latency


@dataclass(frozen=True)
class Told:
    """A trial so far. ``values``: accuracy, latency in ms, bytes of the model; None while it runs, or when it failed."""

    candidate: Candidate
    state: str  # "running" | "done" | "failed"
    values: tuple[float, float, float] | None = None


def propose(space: Space, told: Sequence[Told], seed: int) -> Candidate | None:
    """A structure that nobody has tried yet; None when there seems to be none.

    Args:
        told: all trials of the search so far; the first is the current structure.
        seed: another for each question.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP),
    )
    for done in told:
        if (trial := _frozen(done, space)) is not None:
            study.add_trial(trial)
    tried = {key(done.candidate) for done in told}
    for number in range(TRIES):
        if number == TRIES // 2:  # it insists on what is known
            study.sampler = optuna.samplers.RandomSampler(seed=seed)
        # What was refused is left running in this study: the estimator keeps away from what runs.
        candidate = _suggested(study.ask(), space)
        if candidate is not None and key(candidate) not in tried:
            return candidate
    return None


def _suggested(trial: optuna.Trial, space: Space) -> Candidate | None:
    """Ask for one number after the other, as far as the family needs them; None when it does not fit the data."""
    family = trial.suggest_categorical("family", list(space.families))
    if family == "mlp":
        layers = trial.suggest_int("layers", 1, MOST_LAYERS)
        hidden = [WIDTHS[trial.suggest_int(f"width_{place}", 0, len(WIDTHS) - 1)] for place in range(layers)]
        start = trial.suggest_categorical("start", ["cold", "grown"])
        return space.perceptron(hidden, start) if space.fits(hidden) else None
    if family == "logistic":
        return space.other(family, C=_short(trial.suggest_float("C", 0.01, 100, log=True)))
    if family == "sgd":
        return space.other(family, alpha=_short(trial.suggest_float("alpha", 1e-5, 0.1, log=True)))
    return space.other(
        family,
        leaves=trial.suggest_int("leaves", 4, 64, log=True),
        learning_rate=_short(trial.suggest_float("learning_rate", 0.03, 0.3, log=True)),
    )


def _frozen(done: Told, space: Space) -> optuna.trial.FrozenTrial | None:
    """The trial as Optuna would have it. What lies beside the space's grid counts as what is nearest on it."""
    import optuna

    params = _coordinates(done.candidate)
    if done.state == "failed" or params["family"] not in space.families:
        return None
    every: dict[str, optuna.distributions.BaseDistribution] = {
        "family": optuna.distributions.CategoricalDistribution(list(space.families)),
        "layers": optuna.distributions.IntDistribution(1, MOST_LAYERS),
        **{f"width_{n}": optuna.distributions.IntDistribution(0, len(WIDTHS) - 1) for n in range(MOST_LAYERS)},
        "start": optuna.distributions.CategoricalDistribution(["cold", "grown"]),
        "C": optuna.distributions.FloatDistribution(0.01, 100, log=True),
        "alpha": optuna.distributions.FloatDistribution(1e-5, 0.1, log=True),
        "leaves": optuna.distributions.IntDistribution(4, 64, log=True),
        "learning_rate": optuna.distributions.FloatDistribution(0.03, 0.3, log=True),
    }
    worth = None
    if done.values is not None:
        accuracy, latency_ms, size = done.values
        worth = accuracy - COST * (log2(latency_ms) + log2(size))
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING if worth is None else optuna.trial.TrialState.COMPLETE,
        value=worth,
        params=params,
        distributions={name: every[name] for name in params},
    )


def _coordinates(candidate: Candidate) -> dict[str, Any]:
    trainer = candidate["trainer"]
    family, own = trainer["name"], trainer["parameters"]
    if family == "mlp":
        hidden = trainer["hidden"][:MOST_LAYERS]
        widths = [min(range(len(WIDTHS)), key=lambda n: abs(log(WIDTHS[n] / width))) for width in hidden]
        start = "grown" if candidate["start"] == "grown" else "cold"
        return {
            "family": family,
            "layers": len(hidden),
            **{f"width_{n}": width for n, width in enumerate(widths)},
            "start": start,
        }
    if family == "logistic":
        return {"family": family, "C": min(max(own.get("C", 0.1), 0.01), 100.0)}
    if family == "sgd":
        return {"family": family, "alpha": min(max(own.get("alpha", 0.003), 1e-5), 0.1)}
    return {
        "family": family,
        "leaves": min(max(own.get("leaves", 15), 4), 64),
        "learning_rate": min(max(own.get("learning_rate", 0.1), 0.03), 0.3),
    }


def _short(value: float) -> float:
    """Three digits: the trial's name, and the dataset's trainer section, can be read."""
    return float(f"{value:.3g}")
