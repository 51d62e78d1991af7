"""Recipes: how a sample's file becomes the numbers a model sees. A new one is a file here and a line below."""

from __future__ import annotations

from learnloop.datasets.recipes.base import Recipe
from learnloop.datasets.recipes.images import GradientRecipe, PixelRecipe
from learnloop.datasets.recipes.rows import RowRecipe
from learnloop.datasets.recipes.texts import TextRecipe
from learnloop.datasets.schema import DatasetConfig, ImageConfig, TextConfig


def recipe_of(config: DatasetConfig) -> Recipe:
    """The recipe that a dataset's ``dataset.yaml`` asks for."""
    reading = config.reading
    if isinstance(reading, ImageConfig):
        made = GradientRecipe if reading.features == "gradients" else PixelRecipe
        return made(reading.width, reading.height, reading.mode)
    if isinstance(reading, TextConfig):
        return TextRecipe(reading.features, reading.ngrams, reading.lowercase)
    # By name: in which order dataset.yaml lists them makes no difference, to nothing.
    columns = tuple(
        (name, tuple(kind) if isinstance(kind, list) else None) for name, kind in sorted(reading.columns.items())
    )
    return RowRecipe(columns, frozenset(reading.optional))


__all__ = ["GradientRecipe", "PixelRecipe", "Recipe", "RowRecipe", "TextRecipe", "recipe_of"]
