"""Reading an estimator from a file in skops' format: nothing in it is executed, and only known types are made."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from learnloop.errors import Corrupted, InvalidInput

# Types a model file may name beyond those that skops itself knows to be harmless (scikit-learn's own, numpy's).
# A tree of gradient boosting is arrays of numbers; native code follows its indices, so they are checked (tree_fault).
ALLOWED_TYPES: frozenset[str] = frozenset({"sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"})

_TRIES = 5


def read(path: Path) -> Any:
    """The fitted classifier in the file.

    Raises:
        InvalidInput: it names types that may not be loaded, or is no classifier, or its trees would read foreign memory.
        Corrupted: it is damaged, or no skops file.
    """
    estimator = _load_checked(path)
    if not hasattr(estimator, "predict_proba") or not hasattr(estimator, "classes_"):
        raise InvalidInput(
            f"{path} holds a {type(estimator).__name__}; a fitted classifier with predict_proba is needed"
        )
    if fault := tree_fault(estimator):
        raise InvalidInput(f"{path}: {fault}; its predictions would read memory that is not its own")
    return estimator


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


def _load_checked(path: Path) -> Any:
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
        return _load(path)
    except Exception as error:
        raise Corrupted(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error


def _load(path: Path) -> Any:
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
