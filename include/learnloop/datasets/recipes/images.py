"""Images: their pixels, or simple features of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from learnloop.datasets.images import decode
from learnloop.datasets.recipes.base import Recipe

CELLS = 4  # parts of an image in each direction
DIRECTIONS = 8


@dataclass(frozen=True)
class PixelRecipe(Recipe):
    """Bring an image to a Pillow mode and a size (bilinear), and list its pixel values, row by row."""

    width: int
    height: int
    mode: str

    @property
    def size(self) -> int:
        return self.width * self.height * self.channels

    @property
    def channels(self) -> int:
        return 3 if self.mode == "RGB" else 1

    def parameters(self) -> dict[str, Any]:
        return {"version": 1, "resample": "bilinear", **asdict(self)}

    def check(self, data: bytes, where: str) -> None:
        decode(data, where)

    def row(self, data: bytes, where: str) -> NDArray[np.float32]:
        """Raw pixel values 0..255, row-major, channels last."""
        return self.pixels(data, where).ravel()

    def pixels(self, data: bytes, where: str) -> NDArray[np.float32]:
        image = decode(data, where)
        if image.mode != self.mode:
            image = image.convert(self.mode)
        if image.size != (self.width, self.height):
            image = image.resize((self.width, self.height), Image.Resampling.BILINEAR)
        return np.asarray(image, dtype=np.float32)


@dataclass(frozen=True)
class GradientRecipe(PixelRecipe):
    """How edges run and colours lie in each of 4 x 4 parts of the image: few numbers, which hardly mind where exactly.

    Histograms of oriented gradients (Dalal & Triggs, CVPR 2005) with 8 unsigned directions and one L2 norm over the
    image, and each channel's mean and standard deviation, 0 to 1.
    """

    @property
    def size(self) -> int:
        return CELLS * CELLS * (DIRECTIONS + 2 * self.channels)

    def parameters(self) -> dict[str, Any]:
        return {**super().parameters(), "features": "gradients", "cells": CELLS, "directions": DIRECTIONS}

    def row(self, data: bytes, where: str) -> NDArray[np.float32]:
        pixels = self.pixels(data, where).reshape(self.height, self.width, self.channels) / 255
        grey = pixels.mean(axis=2)
        down = np.diff(grey, axis=0, prepend=grey[:1])
        across = np.diff(grey, axis=1, prepend=grey[:, :1])
        strength = np.hypot(down, across)
        direction = (np.arctan2(down, across) % np.pi / np.pi * DIRECTIONS).astype(np.int64) % DIRECTIONS
        cell = self._cells()
        histogram = np.bincount(
            (cell * DIRECTIONS + direction).ravel(), weights=strength.ravel(), minlength=CELLS * CELLS * DIRECTIONS
        )
        edges = histogram / max(float(np.linalg.norm(histogram)), 1e-6)
        count = np.maximum(np.bincount(cell.ravel(), minlength=CELLS * CELLS), 1)
        colours = []
        for channel in range(self.channels):
            values = pixels[:, :, channel].ravel()
            mean = np.bincount(cell.ravel(), weights=values, minlength=CELLS * CELLS) / count
            square = np.bincount(cell.ravel(), weights=values**2, minlength=CELLS * CELLS) / count
            colours += [mean, np.sqrt(np.maximum(square - mean**2, 0))]
        return np.concatenate([edges, *colours]).astype(np.float32)

    def _cells(self) -> NDArray[np.int64]:
        """The part of the image that each pixel lies in."""
        rows, columns = np.arange(self.height) * CELLS // self.height, np.arange(self.width) * CELLS // self.width
        return np.asarray(rows[:, None] * CELLS + columns[None, :], dtype=np.int64)
