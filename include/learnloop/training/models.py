"""Loading a model folder (MLflow Model format; skops or ONNX) without importing MLflow, safely and quickly."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from learnloop.errors import Corrupted, InvalidInput, NotFound
from learnloop.jobs.checksums import MANIFEST, check_manifest
from learnloop.training import onnx_files, skops_files

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Model:
    """A loaded classifier.

    Attributes:
        classes: the dataset's class names; the order of the probability columns.
        input_size: features a row must have.
        estimator: the fitted scikit-learn estimator, or what stands for one (`OnnxClassifier`), for warm starts.
        size: bytes of the model file.
    """

    classes: tuple[str, ...]
    input_size: int
    estimator: Any
    size: int
    _probabilities: Callable[[Floats], Floats]

    def predict_proba(self, rows: Floats) -> Floats:
        """Class probabilities, shape (n, len(classes)), of ``rows``, shape (n, input_size).

        Raises:
            InvalidInput: the rows have another shape, or hold NaN or infinity.
        """
        if rows.ndim != 2 or rows.shape[1] != self.input_size:
            raise InvalidInput(f"the rows have shape {rows.shape}; this model takes (n, {self.input_size})")
        if not np.isfinite(rows).all():
            raise InvalidInput("the rows hold NaN or infinity; every feature must be a finite number")
        return self._probabilities(rows)


def load(folder: Path) -> Model:
    """Load the model at ``folder``.

    Nothing in the folder is executed: the file must be in skops' format and name only types that are known to be
    harmless, or in ONNX (a folder with ``model.onnx`` and no MLmodel will do). Where the folder has a ``manifest.json``,
    its checksums are compared first.

    Raises:
        NotFound: there is no model at ``folder``.
        InvalidInput: it is not a model that may or can be loaded here.
        Corrupted: its bytes are damaged.
    """
    description = _read_description(folder)
    if (folder / MANIFEST).exists():
        check_manifest(folder)
    estimator, path = _estimator(folder, description)
    classes = _classes(folder, description, estimator)
    input_size = _input_size(folder, description, estimator)
    return Model(classes, input_size, estimator, path.stat().st_size, probabilities(estimator, classes))


def probabilities(estimator: Any, classes: tuple[str, ...]) -> Callable[[Floats], Floats]:
    """A function from rows to probabilities in the order of ``classes``; classes the estimator never saw get 0."""
    direct = _direct(estimator)
    columns = [classes.index(str(label)) for label in estimator.classes_]
    if columns == list(range(len(classes))):
        return direct

    def ordered(rows: Floats) -> Floats:
        known = direct(rows)
        result = np.zeros((len(rows), len(classes)), dtype=known.dtype)
        result[:, columns] = known
        return result

    return ordered


def _direct(estimator: Any) -> Callable[[Floats], Floats]:
    """``estimator.predict_proba``, or the same arithmetic without scikit-learn's validation of each call.

    For one row that validation takes 30 times as long as the arithmetic.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    general: Callable[[Floats], Floats] = estimator.predict_proba
    if type(estimator) is not Pipeline or [type(step) for _, step in estimator.steps[:-1]] != [StandardScaler]:
        return general
    scaler, classifier = estimator[0], estimator[-1]
    if len(classifier.classes_) < 3 or scaler.mean_ is None or scaler.scale_ is None:
        return general
    if (
        type(classifier) is MLPClassifier
        and classifier.activation == "relu"
        and classifier.out_activation_ == "softmax"
    ):
        weights = [np.asarray(part, dtype=np.float64) for part in classifier.coefs_]
        biases = [np.asarray(part, dtype=np.float64) for part in classifier.intercepts_]
    elif type(classifier) is LogisticRegression:
        weights, biases = [classifier.coef_.T.astype(np.float64)], [classifier.intercept_.astype(np.float64)]
    else:
        return general
    mean, scale = scaler.mean_, scaler.scale_
    hidden = list(zip(weights[:-1], biases[:-1], strict=True))
    last_weights, last_bias = weights[-1], biases[-1]

    def fast(rows: Floats) -> Floats:
        values = (rows - mean) / scale
        for layer, bias in hidden:
            values = np.maximum(values @ layer + bias, 0)
        values = values @ last_weights + last_bias
        values = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(values / values.sum(axis=1, keepdims=True))

    return fast


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "MLmodel"
    if not path.exists() and (folder / onnx_files.FILE).is_file():
        return {"flavors": {"onnx": {"data": onnx_files.FILE}}}
    if not path.is_file():
        raise NotFound(
            f"there is no model at {folder}: a model folder holds a file MLmodel, or at least {onnx_files.FILE}"
        )
    return _mapping(path)


def _mapping(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Corrupted(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise Corrupted(f"{path} is empty or is no mapping of names to values")
    return content


def _sklearn_file(folder: Path, flavor: dict[str, Any]) -> Path:
    form = flavor.get("serialization_format")
    if form != "skops":
        raise InvalidInput(
            f"the model at {folder} is saved as {form!r}, which may run code when it is loaded;"
            " save it with mlflow.sklearn.save_model(serialization_format='skops')"
        )
    return _file(folder, flavor.get("pickled_model"))


def _file(folder: Path, name: Any) -> Path:
    if not isinstance(name, str) or Path(name).name != name:
        raise InvalidInput(f"the model at {folder} names its file {name!r}; it must be a file of that folder itself")
    if not (folder / name).is_file():
        raise Corrupted(f"{folder / name} is missing, but the folder's MLmodel names it")
    return folder / name


def _estimator(folder: Path, description: dict[str, Any]) -> tuple[Any, Path]:
    """The classifier, with scikit-learn's attributes, and its file."""
    flavors = description.get("flavors")
    named = flavors if isinstance(flavors, dict) else {}
    if isinstance(flavor := named.get("sklearn"), dict):
        path = _sklearn_file(folder, flavor)
        return skops_files.read(path), path
    if isinstance(flavor := named.get("onnx"), dict):
        path = _file(folder, flavor.get("data"))
        return onnx_files.OnnxClassifier(path, _listed_classes(folder, description)), path
    raise InvalidInput(
        f"the model at {folder} has the flavors {', '.join(map(str, named)) or 'none'}; what loads here are scikit-learn"
        " models saved as skops (sklearn) and ONNX models (onnx)"
    )


def _listed_classes(folder: Path, description: dict[str, Any]) -> tuple[str, ...] | None:
    """All classes of the model's dataset, as its description lists them, or the ``dataset.yaml`` beside it."""
    metadata = description.get("metadata")
    listed = metadata.get("classes") if isinstance(metadata, dict) else None
    if listed is None and (folder / "dataset.yaml").exists():
        listed = _mapping(folder / "dataset.yaml").get("classes")
    return None if listed is None else tuple(str(label) for label in listed)


def _classes(folder: Path, description: dict[str, Any], estimator: Any) -> tuple[str, ...]:
    known = [str(label) for label in estimator.classes_]
    classes = _listed_classes(folder, description)
    if classes is None:
        return tuple(known)
    strange = sorted(set(known) - set(classes))
    if strange:
        raise InvalidInput(
            f"the model at {folder} predicts {', '.join(strange)}, which its metadata's classes do not list"
        )
    return classes


def _input_size(folder: Path, description: dict[str, Any], estimator: Any) -> int:
    expected = int(estimator.n_features_in_)
    signature = description.get("signature")
    if isinstance(signature, dict) and isinstance(signature.get("inputs"), str):
        try:
            first = json.loads(signature["inputs"])[0]
            size = first["tensor-spec"]["shape"][-1] if "tensor-spec" in first else expected
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise Corrupted(f"{folder / 'MLmodel'}: its signature cannot be read: {error}") from error
        if size != expected:
            raise InvalidInput(f"the model at {folder} takes {expected} features, but its signature says {size}")
    return expected
