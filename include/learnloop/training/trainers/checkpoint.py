"""What a killed fit leaves for the next one, in skops' format, whole or not at all."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import skops.io

from learnloop.jobs.checksums import fsync_file
from learnloop.training.skops_files import ALLOWED_TYPES

CHECKPOINT_SECONDS = 5.0
CHECKPOINT_TYPES = [*sorted(ALLOWED_TYPES), "sklearn.neural_network._stochastic_optimizers.AdamOptimizer"]
RESUMED = "resumed from a checkpoint"


class Checkpoint:
    """One file in ``folder``, written at most every few seconds; with None nothing is kept."""

    def __init__(self, folder: Path | None, name: str) -> None:
        self._path = None if folder is None else folder / f"{name}.skops"
        self._saved = time.monotonic()

    def load(self) -> Any:
        """What was saved last, None when nothing was."""
        if self._path is None or not self._path.exists():
            return None
        return skops.io.load(self._path, trusted=CHECKPOINT_TYPES)

    def save(self, state: Any) -> None:
        if self._path is None or time.monotonic() - self._saved < CHECKPOINT_SECONDS:
            return
        temporary = self._path.with_suffix(".part")
        skops.io.dump(state, temporary)
        fsync_file(temporary)
        temporary.replace(self._path)
        self._saved = time.monotonic()
