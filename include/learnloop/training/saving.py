"""Saving a fitted classifier as a model folder that ``learnloop.training.models.load`` reads."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from learnloop.training.data import Rows
from learnloop.training.models import Model, load
from learnloop.training.onnx_files import FILE, OnnxClassifier
from learnloop.training.quiet import quieten_mlflow
from learnloop.training.skops_files import ALLOWED_TYPES

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def save(fitted: Pipeline | OnnxClassifier, folder: Path, classes: tuple[str, ...], example: Rows) -> Model:
    """Save in MLflow Model format (skops or ONNX, with signature and the classes as metadata), and load it as a check.

    Args:
        example: some rows, for the signature and to compare the loaded model with ``fitted``.

    Raises:
        InvalidInput: the pipeline holds types that may not be loaded.
        RuntimeError: the loaded model predicts otherwise than the fitted one.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if isinstance(fitted, OnnxClassifier):
        folder.mkdir(parents=True)
        (folder / FILE).write_bytes(fitted.content)
        describe_onnx(folder, classes, example.shape[1])
    else:
        _save_skops(fitted, folder, classes, example.shape[1])
    loaded = load(folder)
    predicted, again = fitted.predict_proba(example), loaded.predict_proba(example)
    columns = [classes.index(str(label)) for label in fitted.classes_]
    if not np.allclose(predicted, again[:, columns], atol=1e-4):
        raise RuntimeError(f"the model saved at {folder} predicts otherwise than the one that was fitted")
    return loaded


def describe_onnx(folder: Path, classes: tuple[str, ...], input_size: int) -> None:
    """Write the MLmodel of a folder with an ONNX file, so that ``mlflow.onnx`` and ``mlflow.pyfunc`` load it, too."""
    quieten_mlflow()
    from mlflow import pyfunc
    from mlflow.models import Model as Description
    from mlflow.models import ModelSignature

    description = Description(signature=ModelSignature(inputs=_inputs(input_size)), metadata={"classes": list(classes)})
    pyfunc.add_to_model(description, loader_module="mlflow.onnx", data=FILE)
    description.add_flavor("onnx", data=FILE, providers=["CPUExecutionProvider"])
    description.save(str(folder / "MLmodel"))


def _save_skops(pipeline: Pipeline, folder: Path, classes: tuple[str, ...], input_size: int) -> None:
    quieten_mlflow()
    import mlflow.sklearn
    import skops.io
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    quieten_mlflow()  # again: importing MLflow sets its own log level
    mlflow.sklearn.save_model(
        pipeline,
        folder,
        serialization_format="skops",
        skops_trusted_types=sorted(
            ALLOWED_TYPES.intersection(skops.io.get_untrusted_types(data=skops.io.dumps(pipeline)))
        ),
        signature=ModelSignature(inputs=_inputs(input_size), outputs=Schema([TensorSpec(np.dtype(str), (-1,))])),
        # Given, because guessing them starts another Python.
        pip_requirements=[f"{name}=={version(name)}" for name in ("scikit-learn", "skops", "numpy")],
        metadata={"classes": list(classes)},
    )


def _inputs(size: int) -> Any:
    from mlflow.types import Schema, TensorSpec

    return Schema([TensorSpec(np.dtype(np.float32), (-1, size))])
