"""What every trainer is, and what they share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from learnloop.errors import InvalidInput
from learnloop.training.data import Labels, Rows

Progress = Callable[..., None]
Array = NDArray[np.floating[Any]]


def no_progress(**fields: Any) -> None:
    """For fits that nobody watches."""


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier over class names, and how the fit went (JSON)."""

    pipeline: Pipeline
    metrics: dict[str, Any]


class Trainer(BaseModel):
    """A way to fit a classifier; its fields are its parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        try:
            return cls.model_validate(params)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False)
            raise InvalidInput(
                f"the trainer's parameters are wrong; it takes {', '.join(cls.model_fields) or 'none'}",
                [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults],
            ) from error

    @abstractmethod
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
        """Fit on all labelled samples, old and new (so that learning the new does not forget the old).

        Args:
            X: (n, d). All features are in one unit, as pixels are.
            y: indices into ``classes``, at least two of them; others may be absent.
            parent: the scikit-learn model to start from. One that does not fit is not used, and the metrics say why.
            progress: called with fields to report.
            checkpoint_dir: empty, or what a killed fit of the same arguments left; None: keep no checkpoint.
        """


def fit_scaler(X: Rows) -> StandardScaler:
    """Centre each feature, divide all by one number: their root mean variance.

    Pixels share a unit. A scale for each would blow up border pixels that hardly vary into noise: on digits it
    costs half to two points of accuracy at 60 to 220 labels.
    """
    scaler = StandardScaler().fit(X)
    scaler.var_ = np.full(X.shape[1], max(float(np.mean(scaler.var_)), np.finfo(np.float32).tiny))
    scaler.scale_ = np.sqrt(scaler.var_)
    return scaler


def scaler_and_classifier(parent: Any) -> tuple[StandardScaler, Any] | None:
    """The parts of a model that one of our trainers made; None when somebody else's made it."""
    if type(parent) is not Pipeline or len(parent) != 2 or type(parent[0]) is not StandardScaler:
        return None
    scaler, classifier = parent[0], parent[1]
    return None if scaler.mean_ is None or scaler.scale_ is None else (scaler, classifier)


def balanced_weights(y: Labels) -> NDArray[np.float64]:
    """A weight for each sample so that every class present weighs the same, at most 10 times the mean."""
    counts = np.bincount(y)
    present = np.count_nonzero(counts)
    return np.minimum(len(y) / (present * counts[y]), 10.0)
