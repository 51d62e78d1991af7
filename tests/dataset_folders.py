"""Small dataset folders and batches for tests: 8 x 8 grey images of which the class is the brightness."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

CLASSES = ("dark", "bright")


def description(**changes: Any) -> dict[str, Any]:
    """The content of a proper ``dataset.yaml``."""
    return {
        "name": "lamps",
        "task_type": "image_classification",
        "classes": list(CLASSES),
        "image": {"width": 8, "height": 8, "mode": "L"},
        "split": {"test_fraction": 0.3, "seed": 0},
        **changes,
    }


def write_dataset(folder: Path, samples: int = 20, **changes: Any) -> Path:
    """A labelled dataset whose sample ids are ``s000``, ``s001``, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.yaml").write_text(yaml.safe_dump(description(**changes)))
    ids = [f"s{number:03d}" for number in range(samples)]
    labels = [CLASSES[number % 2] for number in range(samples)]
    paths = write_images(folder / "images", ids, range(samples))
    table = {"sample_id": ids, "path": [str(path.relative_to(folder)) for path in paths], "label": labels}
    pq.write_table(pa.table(table), folder / "annotations.parquet")
    return folder


def write_images(folder: Path, ids: Sequence[str], shades: Iterable[int]) -> list[Path]:
    """One PNG an id; ``shades`` make them differ."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{sample}.png" for sample in ids]
    for path, shade in zip(paths, shades, strict=True):
        image = Image.new("L", (8, 8), 255 * (shade % 2))
        image.putpixel((shade % 8, shade // 8 % 8), 100)
        image.putpixel((7, 7), shade % 256)
        image.save(path)
    return paths
