"""Histogram gradient boosting: trees, for columns of different kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline

from learnloop.training.data import Labels, Rows
from learnloop.training.trainers.base import (
    Fitted,
    Progress,
    Trainer,
    balanced_weights,
    check_samples,
    fit_scaler,
    no_progress,
)
from learnloop.training.trainers.checkpoint import RESUMED, Checkpoint

STEP = 10  # trees a class between two looks at the samples held out
PATIENCE = 3  # looks without a gain: the end
SMALLEST_TO_HOLD_OUT = 200
HELD_OUT = 0.15


class BoostingTrainer(Trainer):
    """LightGBM's way of growing trees (Ke et al., NeurIPS 2017), as scikit-learn has it; all classes weigh the same.

    Trees are bound to the histogram of the samples they were grown on, so they are grown anew on all labelled samples,
    old and new, whatever the parent is: nothing old is forgotten, and no start is saved. From 200 samples on, 15 % are
    held out to say when to stop; what was grown after the best moment is cut off.
    """

    iterations: int = Field(default=100, ge=1, le=10_000)
    learning_rate: float = Field(default=0.1, gt=0, le=1)
    leaves: int = Field(default=15, ge=2, le=1024)
    smallest_leaf: int = Field(default=5, ge=1)

    def fit(
        self,
        X: Rows,
        y: Labels,
        classes: tuple[str, ...],
        *,
        parent: Any = None,
        seed: int,
        progress: Progress = no_progress,
        checkpoint_dir: Path | None = None,
    ) -> Fitted:
        check_samples(X, y, classes)
        scaler = fit_scaler(X, self.scale)  # trees do not need it; models of all trainers take the same rows
        names, rows, weights = np.array(classes)[y], scaler.transform(X), balanced_weights(y)
        held_out = _held_out(y, seed)
        checkpoint = Checkpoint(checkpoint_dir, "boosting")
        classifier, start = checkpoint.load(), RESUMED
        if classifier is None:
            classifier = HistGradientBoostingClassifier(
                max_iter=1,
                learning_rate=self.learning_rate,
                max_leaf_nodes=self.leaves,
                min_samples_leaf=self.smallest_leaf,
                early_stopping=False,
                categorical_features=None,
                warm_start=True,
                random_state=seed,
            )
            start = "cold: there is no parent" if parent is None else "cold: the parent's trees are grown anew"
        grown = len(getattr(classifier, "_predictors", []))
        while grown < self.iterations:
            grown = min(grown + STEP, self.iterations)
            classifier.max_iter = grown
            classifier.fit(rows[~held_out], names[~held_out], sample_weight=weights[~held_out])
            losses = _losses(classifier, rows[held_out], names[held_out], weights[held_out])
            loss = {"loss": round(losses[-1], 6)} if losses else {}
            progress(epoch=grown, max_epochs=self.iterations, **loss)
            if len(losses) - 1 - int(np.argmin(losses or [0])) >= PATIENCE * STEP:
                break
            checkpoint.save(classifier)
        losses = _losses(classifier, rows[held_out], names[held_out], weights[held_out])
        best = int(np.argmin(losses)) + 1 if losses else grown
        del classifier._predictors[best:]
        classifier.max_iter, classifier.warm_start = best, False
        classifier._feature_subsample_rng = None  # only growing needs it
        progress(epoch=grown, max_epochs=self.iterations, done=True)
        return Fitted(
            Pipeline([("scaler", scaler), ("classifier", classifier)]),
            {"epochs": best, "grown": grown, "held_out": int(held_out.sum()), "start": start},
        )


def _held_out(y: Labels, seed: int) -> NDArray[np.bool_]:
    """Which samples say when to stop: none of few, and never all of a class."""
    chosen = np.zeros(len(y), dtype=np.bool_)
    if len(y) < SMALLEST_TO_HOLD_OUT:
        return chosen
    generator = np.random.default_rng(seed)
    for label in np.unique(y):
        of_class = generator.permutation(np.flatnonzero(y == label))
        chosen[of_class[: int(HELD_OUT * len(of_class))]] = True
    return chosen


def _losses(classifier: HistGradientBoostingClassifier, rows: Any, names: Any, weights: Any) -> list[float]:
    """The loss on the samples held out after each iteration; none when there are none."""
    if len(names) == 0:
        return []
    return [
        float(log_loss(names, probabilities, sample_weight=weights, labels=classifier.classes_))
        for probabilities in classifier.staged_predict_proba(rows)
    ]
