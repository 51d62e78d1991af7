"""Loading a model folder (MLflow Model format, skops) without importing MLflow, safely and quickly."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from learnloop.errors import Corrupted, InvalidInput, NotFound
from learnloop.jobs.checksums import MANIFEST, check_manifest

Floats = NDArray[np.floating[Any]]

# Types a model file may name beyond those that skops itself knows to be harmless (scikit-learn's own, numpy's).
# A tree of gradient boosting is arrays of numbers; native code follows its indices, so they are checked (tree_faults).
ALLOWED_TYPES: frozenset[str] = frozenset({"sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"})


@dataclass(frozen=True)
class Model:
    """A loaded classifier.

    Attributes:
        classes: the dataset's class names; the order of the probability columns.
        input_size: features a row must have.
        estimator: the fitted scikit-learn estimator, for warm starts.
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


_TRIES = 5


def load(folder: Path) -> Model:
    """Load the model at ``folder``.

    Nothing in the folder is executed: the file must be in skops' format and name only types that are known to be
    harmless. Where the folder has a ``manifest.json``, its checksums are compared first.

    Raises:
        NotFound: there is no model at ``folder``.
        InvalidInput: it is not a model that may or can be loaded here.
        Corrupted: its bytes are damaged.
    """
    description = _read_description(folder)
    if (folder / MANIFEST).exists():
        check_manifest(folder)
    path = _model_file(folder, description)
    estimator = _read_skops(path)
    if not hasattr(estimator, "predict_proba") or not hasattr(estimator, "classes_"):
        raise InvalidInput(
            f"{path} holds a {type(estimator).__name__}; a fitted classifier with predict_proba is needed"
        )
    classes = _classes(folder, description, estimator)
    input_size = _input_size(folder, description, estimator)
    if fault := tree_fault(estimator):
        raise InvalidInput(f"{path}: {fault}; its predictions would read memory that is not its own")
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


def tree_fault(estimator: Any) -> str | None:
    """What is wrong with the trees of a boosted model (None: nothing): a node that leads back, out, or to no feature."""
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

    steps = [step for _, step in getattr(estimator, "steps", [("", estimator)])]
    for predictors in getattr(steps[-1], "_predictors", ()):
        for predictor in predictors:
            nodes = predictor.nodes
            if not isinstance(nodes, np.ndarray) or nodes.ndim != 1 or nodes.dtype != PREDICTOR_RECORD_DTYPE:
                return "a tree is not an array of nodes"
            inner = np.flatnonzero(nodes["is_leaf"] == 0)
            children = np.stack([nodes["left"][inner], nodes["right"][inner]]).astype(np.int64)
            features = nodes["feature_idx"][inner]
            if len(nodes) == 0 or np.any(children <= inner) or np.any(children >= len(nodes)):
                return "a tree's node leads to none that comes after it"
            if np.any(features < 0) or np.any(features >= steps[-1].n_features_in_):
                return "a tree's node asks for a feature that there is not"
            if np.any(nodes["is_categorical"]):
                return "a tree splits by categories, which no trainer here makes"
    return None


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "MLmodel"
    try:
        description = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"there is no model at {folder}: a model folder holds a file MLmodel") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Corrupted(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(description, dict):
        raise Corrupted(f"{path} is empty or is no mapping; an MLmodel file lists flavors")
    return description


def _model_file(folder: Path, description: dict[str, Any]) -> Path:
    flavors = description.get("flavors")
    flavor = flavors.get("sklearn") if isinstance(flavors, dict) else None
    if not isinstance(flavor, dict):
        raise InvalidInput(
            f"the model at {folder} has no sklearn flavor; only scikit-learn models saved as skops load here"
        )
    form = flavor.get("serialization_format")
    if form != "skops":
        raise InvalidInput(
            f"the model at {folder} is saved as {form!r}, which may run code when it is loaded;"
            " save it with mlflow.sklearn.save_model(serialization_format='skops')"
        )
    name = flavor.get("pickled_model")
    if not isinstance(name, str) or Path(name).name != name:
        raise InvalidInput(f"the model at {folder} names its file {name!r}; it must be a file of that folder itself")
    if not (folder / name).is_file():
        raise Corrupted(f"{folder / name} is missing, but the folder's MLmodel names it")
    return folder / name


def _read_skops(path: Path) -> Any:
    import skops.io

    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise Corrupted(f"{path}: its part {damaged} is damaged")
        unknown = sorted(set(skops.io.get_untrusted_types(file=path)) - ALLOWED_TYPES)
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError, TypeError, OSError) as error:
        raise Corrupted(f"{path} is damaged or is not a skops file: {error}") from error
    if unknown:
        raise InvalidInput(
            f"{path} names types that may not be loaded: {', '.join(unknown)};"
            " a model may consist of scikit-learn and numpy types only",
            problems=unknown,
        )
    try:
        return _load_skops(path)
    except Exception as error:
        raise Corrupted(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error


def _load_skops(path: Path) -> Any:
    """Load it; again when Python itself fails by chance.

    CPython 3.11 counts how deep its syntax trees are for all threads together (python/cpython#106905). NumPy parses the
    header of each array, so beside another thread that parses something a sound file may not load.
    """
    import skops.io

    for _ in range(_TRIES - 1):
        try:
            return skops.io.load(path, trusted=sorted(ALLOWED_TYPES))
        except SystemError as error:
            if "recursion depth mismatch" not in str(error):
                raise
    return skops.io.load(path, trusted=sorted(ALLOWED_TYPES))


def _classes(folder: Path, description: dict[str, Any], estimator: Any) -> tuple[str, ...]:
    metadata = description.get("metadata")
    listed = metadata.get("classes") if isinstance(metadata, dict) else None
    known = [str(label) for label in estimator.classes_]
    if listed is None:
        return tuple(known)
    classes = tuple(str(label) for label in listed)
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
