"""What every trainer is, and what they share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from learnloop.errors import InvalidInput
from learnloop.training.data import Labels, Rows
from learnloop.training.onnx_files import OnnxClassifier

Progress = Callable[..., None]
Scale = Literal["shared", "each", "rarity"]
Array = NDArray[np.floating[Any]]


def no_progress(**fields: Any) -> None:
    """For fits that nobody watches."""


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier over class names, and how the fit went (JSON)."""

    pipeline: Pipeline | OnnxClassifier
    metrics: dict[str, Any]


class Trainer(BaseModel):
    """A way to fit a classifier; its fields are its parameters.

    ``scale`` is how features are brought to one scale (:func:`fit_scaler`); jobs set it by the dataset's task type.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: Scale = "shared"

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """The trainer with a dataset's parameters.

        Raises:
            InvalidInput: a parameter that it does not take, or with a wrong value.
        """
        # A dataset's trainer section always has widths; a trainer without layers has no use for them.
        ignored = {"hidden"} - set(cls.model_fields)
        try:
            return cls.model_validate({name: value for name, value in params.items() if name not in ignored})
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
            X: (n, d), finite.
            y: indices into ``classes``, at least two of them; others may be absent.
            parent: the model to start from, as `Fitted` has it. One that does not fit is not used, and the metrics say why.
            progress: called with fields to report.
            checkpoint_dir: empty, or what a killed fit of the same arguments left; None: keep no checkpoint.

        Raises:
            InvalidInput: the samples cannot be learned from (:func:`check_samples`).
        """


def check_samples(X: Rows, y: Labels, classes: tuple[str, ...]) -> None:
    """Every trainer's first step.

    Raises:
        InvalidInput: rows and labels do not fit, a number is NaN or infinite, or there are not two classes.
    """
    if X.ndim != 2 or len(X) != len(y) or X.shape[1] == 0:
        raise InvalidInput(f"features of shape {X.shape} do not fit {len(y)} labels: one row a label is needed")
    if wrong := np.flatnonzero(~np.isfinite(X).all(axis=1)).tolist():
        raise InvalidInput(
            f"{len(wrong)} of {len(X)} rows hold NaN or infinity, such as row {wrong[0]}; every feature must be a number"
        )
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < len(classes):
        raise InvalidInput(
            f"labels must be indices of the {len(classes)} classes, not {int(y.min())} to {int(y.max())}"
        )
    if (present := len(np.unique(y))) < 2:
        raise InvalidInput(f"{len(y)} samples of {present} class{'' if present == 1 else 'es'}; two classes are needed")


def fit_scaler(X: Rows, scale: Scale = "shared") -> StandardScaler:
    """What brings features to one scale, so that regularisation and step sizes mean the same for all data.

    ``shared`` (pixels): centre each feature, divide all by one number, their root mean variance. A scale for each
    would blow up border pixels that hardly vary into noise: on digits it costs half to two points of accuracy at 60 to
    220 labels. ``each`` (columns of a table): centre each and divide it by its own standard deviation. ``rarity``
    (words): multiply each by its inverse document frequency, ln((1 + n) / (1 + n_j)) + 1 (Spärck Jones 1972, smoothed
    as scikit-learn does), and all by one number; zero stays zero.
    """
    scaler = StandardScaler().fit(X)
    if scale == "shared":
        scaler.var_ = np.full(X.shape[1], max(float(np.mean(scaler.var_)), np.finfo(np.float32).tiny))
        scaler.scale_ = np.sqrt(scaler.var_)
    elif scale == "rarity":
        weights = np.log((1 + len(X)) / (1 + np.count_nonzero(X, axis=0))) + 1
        mean_square = float(np.mean(np.square(X, dtype=np.float64) @ np.square(weights))) / X.shape[1]
        scaler.mean_ = np.zeros(X.shape[1])
        scaler.scale_ = np.sqrt(max(mean_square, np.finfo(np.float32).tiny)) / weights
        scaler.var_ = np.square(scaler.scale_)
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


def plateau(losses: list[float], window: int) -> bool:
    """Whether the last ``window`` losses brought no 1 % less than what was before them."""
    return len(losses) > window and min(losses[-window:]) > 0.99 * min(losses[:-window])
