"""scikit-learn's digits, 1,797 scans of hand-written digits, as a dataset folder and a folder of unlabelled scans."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray
from PIL import Image

from learnloop.annotation.strategies import first_pool

TEST = 360
LABELLED = 60
CLASSES = [str(digit) for digit in range(10)]


@dataclass(frozen=True)
class Digits:
    """Where the folders are, and the truth that the scripted annotators answer from."""

    dataset: Path
    pool: Path
    truth: dict[str, str]
    pixels: dict[str, NDArray[np.uint8]]  # 8 x 8, 0..255
    test: list[str]
    start: list[str]


def write(folder: Path, name: str, budget: int, seed: int = 0) -> Digits:
    """Write ``folder/dataset`` (60 labelled samples, chosen by k-means, and a frozen test split of 360) and
    ``folder/pool`` (the other 1,377, without labels)."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    scaled = np.round(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    ids = [f"digit-{index:04d}" for index in range(len(labels))]
    rest, test = train_test_split(np.arange(len(ids)), test_size=TEST, random_state=seed, stratify=labels)
    chosen = first_pool(images[rest], LABELLED, np.random.default_rng(seed))
    start = rest[chosen]
    pool = np.setdiff1d(rest, start)

    shutil.rmtree(folder, ignore_errors=True)  # what a demo that was interrupted here left
    dataset = folder / "dataset"
    (dataset / "images").mkdir(parents=True)
    (folder / "pool").mkdir()
    rows = []
    for split, members in (("train", start), ("test", test)):
        for index in sorted(members):
            Image.fromarray(scaled[index]).save(dataset / "images" / f"{ids[index]}.png")
            rows.append((ids[index], f"images/{ids[index]}.png", CLASSES[labels[index]], split))
    for index in pool:
        Image.fromarray(scaled[index]).save(folder / "pool" / f"{ids[index]}.png")
    columns: dict[str, Any] = dict(
        zip(("sample_id", "path", "label", "split"), map(list, zip(*rows, strict=True)), strict=True)
    )
    pq.write_table(pa.table(columns), dataset / "annotations.parquet")
    config = {
        "name": name,
        "task_type": "image_classification",
        "description": "Hand-written digits, 8 x 8 pixels, from scikit-learn (UCI optical recognition of digits)",
        "classes": CLASSES,
        "image": {"width": 8, "height": 8, "mode": "L"},
        "loop": {"query": {"budget": budget}, "policy": {"labels": budget}, "structure": {"trials": 4}},
    }
    (dataset / "dataset.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return Digits(
        dataset=dataset,
        pool=folder / "pool",
        truth={sample: CLASSES[label] for sample, label in zip(ids, labels, strict=True)},
        pixels=dict(zip(ids, scaled, strict=True)),
        test=[ids[index] for index in test],
        start=[ids[index] for index in start],
    )
