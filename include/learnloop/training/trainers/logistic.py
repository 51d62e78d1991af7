"""Logistic regression: convex, so a warm start changes how soon it ends, not where."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from learnloop.training.data import Labels, Rows
from learnloop.training.trainers.base import (
    Fitted,
    Progress,
    Trainer,
    check_samples,
    fit_scaler,
    no_progress,
    scaler_and_classifier,
)
from learnloop.training.trainers.carrying import carried, columns_of
from learnloop.training.trainers.checkpoint import RESUMED, Checkpoint

STEPS = 100  # iterations between checkpoints


class LogisticTrainer(Trainer):
    """Multinomial logistic regression by L-BFGS, all classes weighing the same."""

    C: float = Field(default=0.1, gt=0)
    max_iterations: int = Field(default=500, ge=1)

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
        scaler = fit_scaler(X, self.scale)
        names, rows = np.array(classes)[y], scaler.transform(X)
        checkpoint = Checkpoint(checkpoint_dir, "logistic")
        saved = checkpoint.load()
        if saved is not None:
            classifier, done, start = saved["classifier"], int(saved["done"]), RESUMED
        else:
            done = 0
            classifier = LogisticRegression(C=self.C, class_weight="balanced", warm_start=True, random_state=seed)
            start = "cold: there is no parent"
            if parent is not None:
                start = _start_from(classifier, parent, scaler, names)
        while done < self.max_iterations:
            classifier.max_iter = min(STEPS, self.max_iterations - done)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # the next steps go on from here
                classifier.fit(rows, names)
            done += int(classifier.n_iter_.max())
            progress(epoch=done, max_epochs=self.max_iterations)
            if classifier.n_iter_.max() < classifier.max_iter:
                break
            checkpoint.save({"classifier": classifier, "done": done})
        progress(epoch=done, max_epochs=self.max_iterations, done=True)
        classifier.warm_start = False
        return Fitted(
            Pipeline([("scaler", scaler), ("classifier", classifier)]),
            {"epochs": done, "start": start},
        )


def _start_from(classifier: LogisticRegression, parent: Any, scaler: StandardScaler, names: Any) -> str:
    parts = scaler_and_classifier(parent)
    if parts is None or type(parts[1]) is not LogisticRegression:
        return "cold: the parent is no logistic regression of this trainer's"
    before, old = parts
    present = sorted(set(names))
    kept = columns_of(old.classes_, present)
    if old.n_features_in_ != scaler.n_features_in_ or not kept:
        return "cold: the parent has other features or classes"
    columns = 1 if len(present) == 2 else len(present)
    # Changed so that behind the new scaler it computes what it did behind the old one.
    coefficients = (old.coef_ * (scaler.scale_ / before.scale_)).T
    intercepts = old.intercept_ + old.coef_ @ ((scaler.mean_ - before.mean_) / before.scale_)
    classifier.coef_ = carried(np.zeros((len(coefficients), columns)), coefficients, kept, 1.0).T
    classifier.intercept_ = carried(np.zeros(columns), intercepts, kept, 1.0)
    classifier.classes_ = np.array(present)
    new = len(present) - len(kept)
    return "warm: from the parent's coefficients" + (f"; {new} new classes start afresh" if new else "")
