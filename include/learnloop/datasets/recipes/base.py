"""What every recipe is."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from learnloop.datasets.files import Files
from learnloop.datasets.tables import features_table


class Recipe(ABC):
    """From the bytes of one sample to a row of numbers; looks at no other sample, so nothing leaks between splits."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How many numbers a row has."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """What the recipe does (JSON): equal for equal rows. Raise its ``version`` when the same begins to give others."""

    @abstractmethod
    def row(self, data: bytes, where: str) -> NDArray[np.float32]:
        """The features of one sample's file, ``size`` finite numbers.

        Raises:
            InvalidDataset: ``data`` is not what a sample must be; ``where`` names it.
        """

    def check(self, data: bytes, where: str) -> None:
        """Raise what ``row`` would, when it would."""
        self.row(data, where)

    @property
    def hash(self) -> str:
        """Names what the recipe does: 32 hex digits, equal for equal parameters."""
        text = json.dumps(self.parameters(), sort_keys=True)
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    def features(self, files: Files, samples: Mapping[str, str]) -> pa.Table:
        """The FEATURES table of ``samples`` (sample id -> path in ``files``), sorted by sample id."""
        ordered = sorted(samples.items())
        matrix = np.empty((len(ordered), self.size), dtype=np.float32)
        for row, (_, path) in enumerate(ordered):
            matrix[row] = self.row(files.read(path), path)
        return features_table([sample for sample, _ in ordered], [path for _, path in ordered], matrix)
