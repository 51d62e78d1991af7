"""One model version in memory, and the test it has to pass first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from learnloop.errors import InvalidInput

if TYPE_CHECKING:
    from learnloop.datasets.recipes import Recipe

Key = tuple[str, int]
"""A model's name and its version."""


class Model(Protocol):
    """A classifier: features ``[n, input_size]`` in, probabilities ``[n, len(classes)]`` out."""

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def input_size(self) -> int: ...

    def predict_proba(self, features: NDArray[Any], /) -> NDArray[Any]: ...


Source = Callable[[str, int], Path]
"""Gives the folder of a registered version, or raises."""
Load = Callable[[Path], Model]


class ModelFault(Exception):
    """A model did not answer a sound request as a model must: it raised, or gave no probabilities."""


@dataclass(eq=False, slots=True)
class LoadedVersion:
    """One version in memory. Its counters belong to the ``ModelSet``, which changes them under its lock."""

    name: str
    version: int
    model: Model
    classes: tuple[str, ...]
    input_size: int
    size: int
    """Bytes of its files, unpacked: about what it takes in memory."""
    recipe: Recipe | None = None
    """How its samples become features; None: it takes features alone."""
    takes: str | None = None
    """The task type of its samples; None when it has no recipe."""
    reference: dict[str, Any] | None = None
    """What its training features were like (`learnloop.training.reference`), for drift."""
    uses: int = 0
    fresh: bool = True
    """Loaded for a swap that has not come to its end: it must not be unloaded before."""
    seconds_a_call: float = 0.0
    answered: int = 0
    faults: int = 0
    last_fault: str = ""
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    last_used_at: datetime | None = None
    idle_since: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> Key:
        return self.name, self.version

    def predict(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Probabilities, float32 ``[n, k]``, of ``features`` ``[n, input_size]``.

        Raises:
            ModelFault: the model raised, or did not give one finite probability for each row and class.
        """
        what = f"{self.name} version {self.version}"
        try:
            probabilities = np.ascontiguousarray(self.model.predict_proba(features), dtype=np.float32)
        except Exception as error:
            raise ModelFault(f"{what} raised {type(error).__name__}: {error}") from error
        shape = (len(features), len(self.classes))
        if probabilities.shape != shape or not np.isfinite(probabilities).all():
            raise ModelFault(
                f"{what} gave no finite probabilities of shape {shape}: their shape is {probabilities.shape}"
            )
        return probabilities


def smoke_test(loaded: LoadedVersion) -> None:
    """Predict a zero row and a random row in both dtypes that requests may have; this warms the model too.

    Raises:
        InvalidInput: the answer is not finite probabilities of the right shape that sum to 1.
    """
    what = f"{loaded.name} version {loaded.version} failed its smoke test"
    if loaded.input_size < 1 or len(set(loaded.classes)) != len(loaded.classes) or not loaded.classes:
        raise InvalidInput(f"{what}: it needs features and distinct classes, not {loaded.input_size}, {loaded.classes}")
    rows = np.stack([np.zeros(loaded.input_size), np.random.default_rng(0).random(loaded.input_size)])
    times = []
    for features in (rows[:1], rows[1:], rows.astype(np.float32)):
        try:
            started = time.perf_counter()
            probabilities = loaded.predict(features)
            times.append(time.perf_counter() - started)
        except ModelFault as error:
            raise InvalidInput(f"{what}: {error}") from error
        sums = probabilities.sum(axis=1)
        if probabilities.min() < 0 or not np.allclose(sums, 1, atol=1e-3):
            raise InvalidInput(f"{what}: its probabilities sum to {sums.tolist()}; each row must sum to 1")
    loaded.seconds_a_call = min(times)
