"""Saving a fitted pipeline as a model folder that ``learnloop.training.models.load`` reads."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from learnloop.training.data import Rows
from learnloop.training.models import ALLOWED_TYPES, Model, load
from learnloop.training.quiet import quieten_mlflow

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def save(pipeline: Pipeline, folder: Path, classes: tuple[str, ...], example: Rows) -> Model:
    """Save in MLflow Model format (skops, with signature and the classes as metadata), and load it again as a check.

    Args:
        example: some rows, for the signature and to compare the loaded model with ``pipeline``.

    Raises:
        InvalidInput: the pipeline holds types that may not be loaded.
        RuntimeError: the loaded model predicts otherwise than the fitted one.
    """
    quieten_mlflow()
    import mlflow.sklearn
    import skops.io
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    quieten_mlflow()  # again: importing MLflow sets its own log level

    shutil.rmtree(folder, ignore_errors=True)
    mlflow.sklearn.save_model(
        pipeline,
        folder,
        serialization_format="skops",
        skops_trusted_types=sorted(
            ALLOWED_TYPES.intersection(skops.io.get_untrusted_types(data=skops.io.dumps(pipeline)))
        ),
        signature=ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, example.shape[1]))]),
            outputs=Schema([TensorSpec(np.dtype(str), (-1,))]),
        ),
        # Given, because guessing them starts another Python.
        pip_requirements=[f"{name}=={version(name)}" for name in ("scikit-learn", "skops", "numpy")],
        metadata={"classes": list(classes)},
    )
    loaded = load(folder)
    fitted, again = pipeline.predict_proba(example), loaded.predict_proba(example)
    columns = [classes.index(str(label)) for label in pipeline.classes_]
    if not np.allclose(fitted, again[:, columns], atol=1e-4):
        raise RuntimeError(f"the model saved at {folder} predicts otherwise than the one that was fitted")
    return loaded
