"""A version, read from its folder: the model, how large it is, how its samples are read."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnloop.errors import Corrupted, InvalidInput
from learnloop.serving.versions import Key, Load, LoadedVersion, Model, smoke_test
from learnloop.training.reference import FILE as REFERENCE_FILE

if TYPE_CHECKING:
    from learnloop.datasets.recipes import Recipe

CONFIG_FILE = "dataset.yaml"


def read_version(load: Load, key: Key, folder: Path, size: int) -> LoadedVersion:
    """A version with what lies beside its model, smoke-tested.

    Raises:
        Exception: whatever the files or the model raise.
    """
    model = load(folder)
    recipe, takes = recipe_in(folder, model)
    loaded = LoadedVersion(
        name=key[0],
        version=key[1],
        model=model,
        classes=tuple(model.classes),
        input_size=model.input_size,
        size=size,
        recipe=recipe,
        takes=takes,
        reference=reference_in(folder, model),
    )
    smoke_test(loaded)
    return loaded


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


def reference_in(folder: Path, model: Model) -> dict[str, Any] | None:
    """What the model's training features were like; None for a model that was saved without.

    Raises:
        Corrupted: the file is damaged, or of another model.
    """
    path = folder / REFERENCE_FILE
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        parts = list(zip(found["features"], found["edges"], found["counts"], strict=True))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupted(f"{path} cannot be read: {error}; take the folder from its source again") from error
    if any(not 0 <= index < model.input_size or len(edges) + 1 != len(counts) for index, edges, counts in parts):
        raise Corrupted(f"{path} is of another model: this one has {model.input_size} features")
    return found


def _size(path: Path) -> int:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return sum(part.file_size for part in archive.infolist())
    return path.stat().st_size
