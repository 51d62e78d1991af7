"""What a version's folder says beside the model itself: how large it is, how its samples are read."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from learnloop.errors import InvalidInput
from learnloop.serving.versions import Model

if TYPE_CHECKING:
    from learnloop.datasets.recipes import Recipe

CONFIG_FILE = "dataset.yaml"


def unpacked_size(folder: Path) -> int:
    """Bytes of the files below ``folder``, packed ones counted as what they hold: about what they take in memory."""
    return sum(_size(path) for path in folder.rglob("*") if path.is_file())


def recipe_in(folder: Path, model: Model) -> tuple[Recipe | None, str | None]:
    """How the model's samples become features, and their task type; None for a model that was saved without.

    Raises:
        InvalidInput: what the samples become is not what the model was trained on.
    """
    path = folder / CONFIG_FILE
    if not path.exists():
        return None, None
    # Imported late: a server of models without recipes needs neither Arrow nor Pillow.
    from learnloop.datasets.recipes import recipe_of
    from learnloop.datasets.schema import parse_config

    config = parse_config(path.read_bytes(), str(path))
    recipe = recipe_of(config)
    if recipe.size != model.input_size:
        raise InvalidInput(
            f"the model at {folder} takes {model.input_size} features, but samples read as its {CONFIG_FILE} says have"
            f" {recipe.size}: the feature schema has changed since it was trained; train it anew"
        )
    return recipe, config.task_type


def _size(path: Path) -> int:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return sum(part.file_size for part in archive.infolist())
    return path.stat().st_size
