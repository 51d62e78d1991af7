"""The recipe: how an image file becomes the numbers a model sees."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from learnloop.datasets.files import Files
from learnloop.datasets.images import decode
from learnloop.datasets.schema import DatasetConfig
from learnloop.datasets.tables import features_table

_VERSION = 1  # raise it when the same parameters begin to give other numbers


@dataclass(frozen=True)
class Recipe:
    """Bring an image to a Pillow mode and a size (bilinear), and list its pixel values, row by row."""

    width: int
    height: int
    mode: str

    @classmethod
    def of(cls, config: DatasetConfig) -> Recipe:
        """The recipe that a dataset's ``dataset.yaml`` asks for."""
        return cls(config.image.width, config.image.height, config.image.mode)

    @property
    def hash(self) -> str:
        """Names what the recipe does: 32 hex digits, equal for equal parameters."""
        text = json.dumps({"version": _VERSION, "resample": "bilinear", **asdict(self)}, sort_keys=True)
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    def row(self, data: bytes, where: str) -> NDArray[np.float32]:
        """The features of one image file: raw pixel values 0..255, row-major, channels last.

        Raises:
            InvalidDataset: ``data`` is not a readable image; ``where`` names it.
        """
        image = decode(data, where)
        if image.mode != self.mode:
            image = image.convert(self.mode)
        if image.size != (self.width, self.height):
            image = image.resize((self.width, self.height), Image.Resampling.BILINEAR)
        return np.asarray(image, dtype=np.float32).ravel()

    def features(self, files: Files, samples: Mapping[str, str]) -> pa.Table:
        """The FEATURES table of ``samples`` (sample id -> path in ``files``), sorted by sample id."""
        ordered = sorted(samples.items())
        width = self.width * self.height * (3 if self.mode == "RGB" else 1)
        matrix = np.empty((len(ordered), width), dtype=np.float32)
        for row, (_, path) in enumerate(ordered):
            matrix[row] = self.row(files.read(path), path)
        return features_table([sample for sample, _ in ordered], [path for _, path in ordered], matrix)
