"""The same loop with random sampling: the same trainer at the same label counts, as one job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from learnloop.jobs.local import LocalRunner
from learnloop.jobs.spec import parse_spec
from learnloop.settings import Settings
from learnloop.stack.demo.digits import Digits

SEEDS = 5


def accuracies(
    settings: Settings, data: Digits, name: str, counts: Sequence[int], trainer: dict[str, Any]
) -> dict[int, float]:
    """Mean test accuracy over five seeds of training on as many random samples as the loop had, by label count."""
    spec = parse_spec(
        {
            "module": "learnloop.training.random_baseline",
            "params": {**trainer, "counts": list(counts), "seeds": SEEDS},
            "user": "demo-scientist",
            "idempotency_key": f"random-baseline-{name}",
            "timeout_seconds": 300,
        }
    )
    done = LocalRunner(settings.namespaces).run(
        spec, stage=lambda folder: _write_pool(data, folder / "dataset"), log=lambda line: None
    )
    return {int(count): float(accuracy) for count, accuracy in done.result["accuracy"].items()}


def _write_pool(data: Digits, folder: Path) -> None:
    """The dataset as it would be with every label known: what random sampling draws from."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.yaml").write_bytes((data.dataset / "dataset.yaml").read_bytes())
    ids = sorted(data.truth)
    test = set(data.test)
    paths = [f"images/{sample}.png" for sample in ids]
    annotations = {
        "sample_id": ids,
        "path": paths,
        "label": [data.truth[sample] for sample in ids],
        "split": ["test" if sample in test else "train" for sample in ids],
    }
    features = [data.pixels[sample].ravel().astype(np.float32) for sample in ids]
    pq.write_table(pa.table(annotations), folder / "annotations.parquet")
    pq.write_table(
        pa.table({"sample_id": ids, "path": paths, "features": pa.array(features, pa.list_(pa.float32()))}),
        folder / "features.parquet",
    )
