"""The model versions that this process holds in memory, and the aliases that point at them.

A version in use is never unloaded: whoever predicts with it acquires it first and releases it afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from learnloop.errors import InvalidInput, NotFound

DEFAULT_TAG = "current"

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


@dataclass(eq=False, slots=True)
class LoadedVersion:
    """One version in memory. Its counters belong to the ``ModelSet``, which changes them under its lock."""

    name: str
    version: int
    model: Model
    classes: tuple[str, ...]
    input_size: int
    size: int
    """Bytes of its files."""
    uses: int = 0
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    last_used_at: datetime | None = None

    def predict(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Probabilities, float32 ``[n, k]``, of ``features`` ``[n, input_size]``.

        Raises:
            ArithmeticError: the model did not give one finite probability for each row and class.
        """
        probabilities = np.ascontiguousarray(self.model.predict_proba(features), dtype=np.float32)
        shape = (len(features), len(self.classes))
        if probabilities.shape != shape or not np.isfinite(probabilities).all():
            raise ArithmeticError(
                f"{self.name} version {self.version} gave no finite probabilities of shape {shape}:"
                f" their shape is {probabilities.shape}"
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
    for features in (rows[:1], rows[1:], rows.astype(np.float32)):
        try:
            probabilities = loaded.predict(features)
        except ArithmeticError as error:
            raise InvalidInput(f"{what}: {error}") from error
        sums = probabilities.sum(axis=1)
        if probabilities.min() < 0 or not np.allclose(sums, 1, atol=1e-3):
            raise InvalidInput(f"{what}: its probabilities sum to {sums.tolist()}; each row must sum to 1")


class ModelSet:
    """The loaded versions and the aliases of one process; safe to use from many threads."""

    def __init__(self, source_of: Source, load: Load) -> None:
        self._source_of = source_of
        self._load = load
        self._lock = threading.Lock()
        self._versions: dict[Key, LoadedVersion] = {}
        # "{name}:{alias}" -> version. Never changed in place: an alias moves by replacing the whole dict.
        self._aliases: dict[str, LoadedVersion] = {}

    def load(self, name: str, version: int) -> LoadedVersion:
        """Load a version, smoke test it, and hold it. It takes a while: call it in a thread of its own.

        Raises:
            Exception: whatever the registry, the file or the model raises; the set is then unchanged.
        """
        folder = self._source_of(name, version)
        model = self._load(folder)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        loaded = LoadedVersion(name, version, model, tuple(model.classes), model.input_size, size)
        smoke_test(loaded)
        with self._lock:
            return self._versions.setdefault((name, version), loaded)

    def acquire(self, name: str, version: int | None = None) -> LoadedVersion:
        """Take ``name`` (``digits``, ``digits:realtime``), or exactly ``version`` of it, into use; release it later.

        Raises:
            NotFound: nothing is served under that name.
        """
        with self._lock:
            loaded = self._find(name, version)
            if loaded is not None:
                loaded.uses += 1
                return loaded
        raise self._not_found(name, version)

    def release(self, loaded: LoadedVersion) -> None:
        now = datetime.now(UTC)
        with self._lock:
            loaded.uses -= 1
            loaded.last_used_at = now

    def get(self, name: str, version: int | None = None) -> LoadedVersion:
        """Look at a version without using it.

        Raises:
            NotFound: nothing is served under that name.
        """
        loaded = self._find(name, version)
        if loaded is None:
            raise self._not_found(name, version)
        return loaded

    def move_alias(self, name: str, alias: str, version: int) -> bool:
        """Point ``{name}:{alias}`` at a loaded version. Returns whether it pointed elsewhere before."""
        with self._lock:
            loaded = self._versions[name, version]
            tagged = f"{name}:{alias}"
            if self._aliases.get(tagged) is loaded:
                return False
            self._aliases = {**self._aliases, tagged: loaded}
            return True

    def keep_aliases(self, wanted: Collection[str]) -> None:
        """Drop every alias (``{name}:{alias}``) but the ``wanted`` ones."""
        with self._lock:
            self._aliases = {tagged: loaded for tagged, loaded in self._aliases.items() if tagged in wanted}

    def unload_unused(self, keep: Collection[Key]) -> list[Key]:
        """Unload what no request uses, no alias points at and ``keep`` does not name. Returns what went."""
        with self._lock:
            aliased = {id(loaded) for loaded in self._aliases.values()}
            unused = [
                key
                for key, loaded in self._versions.items()
                if key not in keep and not loaded.uses and id(loaded) not in aliased
            ]
            for key in unused:
                del self._versions[key]
            return unused

    @property
    def versions(self) -> dict[Key, LoadedVersion]:
        with self._lock:
            return dict(self._versions)

    @property
    def aliases(self) -> dict[str, LoadedVersion]:
        return self._aliases

    def _find(self, name: str, version: int | None) -> LoadedVersion | None:
        if version is not None:
            return self._versions.get((name, version))
        return self._aliases.get(name if ":" in name else f"{name}:{DEFAULT_TAG}")

    def _not_found(self, name: str, version: int | None) -> NotFound:
        if version is not None:
            loaded = sorted(number for other, number in self.versions if other == name)
            there = f"loaded versions: {', '.join(map(str, loaded)) or 'none'}; hold a lease on others first"
            return NotFound(f"version {version} of model {name!r} is not loaded here ({there})")
        tagged = name if ":" in name else f"{name}:{DEFAULT_TAG}"
        return NotFound(f"no model is served as {tagged!r}; served are: {', '.join(sorted(self.aliases)) or 'none'}")
