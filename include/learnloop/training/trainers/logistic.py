"""Logistic regression: convex, so a warm start changes how soon it ends, not where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from learnloop.training.data import Labels, Rows
from learnloop.training.trainers.base import Fitted, Progress, Trainer, fit_scaler, no_progress, scaler_and_classifier


class LogisticTrainer(Trainer):
    C: float = Field(default=0.1, gt=0)
    max_iterations: int = Field(default=500, ge=1)

    # A dataset's trainer section has widths; a linear model has no use for them.
    hidden: list[int] = Field(default=[])

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
        scaler = fit_scaler(X)
        names = np.array(classes)[y]
        classifier = LogisticRegression(
            C=self.C, class_weight="balanced", max_iter=self.max_iterations, warm_start=True, random_state=seed
        )
        start = "cold: there is no parent"
        if parent is not None:
            start = _start_from(classifier, parent, X, names)
        classifier.fit(scaler.transform(X), names)
        progress(epoch=int(classifier.n_iter_.max()), done=True)
        classifier.warm_start = False
        return Fitted(
            Pipeline([("scaler", scaler), ("classifier", classifier)]),
            {"epochs": int(classifier.n_iter_.max()), "start": start},
        )


def _start_from(
    classifier: LogisticRegression, parent: Any, X: Rows, names: np.ndarray[tuple[int], np.dtype[np.str_]]
) -> str:
    parts = scaler_and_classifier(parent)
    if parts is None or type(parts[1]) is not LogisticRegression:
        return "cold: the parent is no logistic regression of this trainer's"
    old = parts[1]
    if old.n_features_in_ != X.shape[1] or list(old.classes_) != sorted(set(names)):
        return "cold: the parent has other features or classes"
    classifier.coef_, classifier.intercept_ = old.coef_.copy(), old.intercept_.copy()
    return "warm: from the parent's coefficients"
