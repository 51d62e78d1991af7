"""A small real model without a file: what the server sees of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from learnloop.serving.versions import LoadedVersion


@dataclass
class Fitted:
    """A fitted scikit-learn classifier of 3 features and 2 classes."""

    estimator: LogisticRegression
    classes: tuple[str, ...] = ("no", "yes")
    input_size: int = 3

    def predict_proba(self, rows: Any) -> Any:
        return self.estimator.predict_proba(rows)


@pytest.fixture
def model() -> Fitted:
    rows = np.random.default_rng(0).normal(size=(60, 3))
    return Fitted(LogisticRegression().fit(rows, np.where(rows[:, 0] > 0, "yes", "no")))


@pytest.fixture
def loaded(model: Fitted) -> LoadedVersion:
    return LoadedVersion("coins", 7, model, model.classes, model.input_size, 1000)
