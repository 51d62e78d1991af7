"""A linear model by stochastic gradients: for data too wide or too long for a second-order solver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from learnloop.training.data import Labels, Rows
from learnloop.training.trainers.base import (
    Fitted,
    Progress,
    Trainer,
    balanced_weights,
    check_samples,
    fit_scaler,
    no_progress,
    scaler_and_classifier,
)
from learnloop.training.trainers.carrying import columns_of
from learnloop.training.trainers.checkpoint import RESUMED, Checkpoint

PLATEAU_EPOCHS = 5  # in which the weights move by less than 1 % of their length: the end
PROGRESS_EPOCHS = 5


class SGDTrainer(Trainer):
    """One logistic regression a class against the rest (SGD on log loss), all classes weighing the same.

    All labelled samples, old and new, are gone through in each epoch, in an order by seed and epoch alone.
    """

    alpha: float = Field(default=0.003, gt=0)
    max_epochs: int = Field(default=60, ge=1)

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
        names, scaler, weights = np.array(classes)[y], fit_scaler(X, self.scale), balanced_weights(y)
        rows = scaler.transform(X)
        checkpoint = Checkpoint(checkpoint_dir, "sgd")
        classifier, start = checkpoint.load(), RESUMED
        if classifier is None:
            classifier = self._new(rows, names, classes, seed)
            start = "cold: there is no parent" if parent is None else _start_from(parent, classifier, scaler)
        epoch = round((classifier.t_ - 1) / len(rows))
        still = 0
        while epoch < self.max_epochs and still < PLATEAU_EPOCHS:
            order = np.random.default_rng([seed, epoch]).permutation(len(rows))
            before = classifier.coef_.copy()
            classifier.partial_fit(rows[order], names[order], sample_weight=weights[order])
            epoch += 1
            moved = float(np.linalg.norm(classifier.coef_ - before))
            still = still + 1 if moved < 0.01 * np.linalg.norm(classifier.coef_) else 0
            if epoch % PROGRESS_EPOCHS == 0:
                progress(epoch=epoch, max_epochs=self.max_epochs, moved=round(moved, 6))
            if still == 0:  # so that a resumed fit counts its still epochs as this one does
                checkpoint.save(classifier)
        progress(epoch=epoch, max_epochs=self.max_epochs, done=True)
        return Fitted(
            Pipeline([("scaler", scaler), ("classifier", classifier)]),
            {"epochs": epoch, "start": start},
        )

    def _new(self, rows: Any, names: Any, classes: tuple[str, ...], seed: int) -> SGDClassifier:
        """A classifier with zero weights for all classes, also those that no sample has yet."""
        classifier = SGDClassifier(loss="log_loss", alpha=self.alpha, shuffle=False, random_state=seed)
        # This makes the weight arrays; what it learned is overwritten at once.
        classifier.partial_fit(rows[:1], names[:1], classes=np.sort(np.array(classes)))
        classifier.coef_[...], classifier.intercept_[...], classifier.t_ = 0, 0, 1.0
        return classifier


def _start_from(parent: Any, classifier: SGDClassifier, scaler: StandardScaler) -> str:
    parts = scaler_and_classifier(parent)
    if parts is None or type(parts[1]) is not SGDClassifier:
        return "cold: the parent is no linear model of this trainer's"
    before, old = parts
    kept = columns_of(old.classes_, classifier.classes_)
    if old.n_features_in_ != scaler.n_features_in_ or not kept:
        return "cold: the parent has other features or classes"
    if len(old.classes_) == 2 < len(classifier.classes_):
        return "cold: the parent tells two classes apart, now there are more"
    coefficients = old.coef_ * (scaler.scale_ / before.scale_)
    intercepts = old.intercept_ + old.coef_ @ ((scaler.mean_ - before.mean_) / before.scale_)
    if len(classifier.classes_) == 2:
        classifier.coef_[...], classifier.intercept_[...] = coefficients, intercepts
    else:
        for was, now in kept.items():
            classifier.coef_[now], classifier.intercept_[now] = coefficients[was], intercepts[was]
    new = len(classifier.classes_) - len(kept)
    return "warm: from the parent's weights" + (f"; {new} new classes start afresh" if new else "")
