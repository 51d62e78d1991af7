"""Models in ONNX (https://onnx.ai): what other frameworks leave. onnxruntime runs them; it is the extra ``learnloop[onnx]``.

An ONNX file is a graph of operations that the runtime knows, and numbers: loading it runs no code of the file's.
Operations of other domains, and weights in files outside the model's folder, are refused by onnxruntime itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnloop.errors import Corrupted, InvalidInput

FILE = "model.onnx"
CLASSES = "classes"
"""The metadata property of the file that lists its classes, as JSON."""

_DTYPES: dict[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(double)": np.float64}
# Of onnxruntime's errors, those of a file that is no sound protobuf or holds no graph.
_DAMAGED = ("InvalidProtobuf", "InvalidArgument", "NoModel")


class OnnxClassifier:
    """A classifier in ONNX that is asked like one of scikit-learn.

    Its graph has one input, features ``[n, d]`` (float or double, n not fixed), and gives probabilities ``[n, k]``: the
    output of that name, or else the only one that is a matrix of numbers. Other outputs are not looked at.

    Args:
        source: the file, or what it holds.
        classes: names of the k probabilities where the file has no property ``classes``.

    Raises:
        InvalidInput: onnxruntime is not installed, or does not take the graph, or it is no such classifier.
        Corrupted: the file is damaged.
    """

    def __init__(self, source: Path | bytes, classes: Sequence[str] | None = None) -> None:
        self._source = source
        self._what = str(source) if isinstance(source, Path) else "the ONNX model"
        self._session = _session(source, self._what)
        self._input, self._dtype, self.n_features_in_ = self._features()
        self._output, width = self._probabilities()
        named = self._own_classes() or (list(classes) if classes is not None else None)
        if named is None:
            raise InvalidInput(
                f"{self._what} does not say what it predicts: give it the metadata property {CLASSES!r}, a JSON list of"
                f" names in the order of its probabilities, or leave the dataset's dataset.yaml beside it"
            )
        if width != len(named):
            raise InvalidInput(f"{self._what} gives {width} probabilities, but its classes are {len(named)}: {named}")
        self.classes_ = np.array(named)

    @property
    def content(self) -> bytes:
        """What the file holds."""
        return self._source if isinstance(self._source, bytes) else self._source.read_bytes()

    def predict_proba(self, rows: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Probabilities ``[n, k]``, in the order of ``classes_``."""
        (found,) = self._session.run([self._output], {self._input: np.ascontiguousarray(rows, dtype=self._dtype)})
        return np.asarray(found)

    def _features(self) -> tuple[str, type[np.floating[Any]], int]:
        inputs = self._session.get_inputs()
        shape = list(inputs[0].shape) if len(inputs) == 1 else []
        if (
            len(shape) != 2
            or inputs[0].type not in _DTYPES
            or isinstance(shape[0], int)
            or not isinstance(shape[1], int)
        ):
            found = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs) or "none"
            raise InvalidInput(
                f"{self._what} must take one input, features of shape [n, d] as float or double, with any n and a fixed d;"
                f" its inputs are {found}"
            )
        return inputs[0].name, _DTYPES[inputs[0].type], shape[1]

    def _probabilities(self) -> tuple[str, int]:
        outputs = self._session.get_outputs()
        matrices = [one for one in outputs if one.type in _DTYPES and len(one.shape) == 2]
        chosen = [one for one in matrices if one.name == "probabilities"] or matrices
        if len(chosen) != 1 or not isinstance(chosen[0].shape[1], int):
            found = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in outputs)
            maps = any("map" in one.type for one in outputs)
            raise InvalidInput(
                f"{self._what} must give probabilities [n, k] as one matrix, named so where there are several; its outputs"
                f" are {found}" + ("; export it with the option zipmap=False" if maps else "")
            )
        return chosen[0].name, chosen[0].shape[1]

    def _own_classes(self) -> list[str] | None:
        listed = self._session.get_modelmeta().custom_metadata_map.get(CLASSES)
        if listed is None:
            return None
        try:
            names = json.loads(listed)
        except ValueError as error:
            raise InvalidInput(f"{self._what}: its property {CLASSES!r} is no JSON: {error}") from error
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InvalidInput(f"{self._what}: its property {CLASSES!r} must be a list of names, not {listed[:80]}")
        return names


def _session(source: Path | bytes, what: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise InvalidInput(
            f"{what} is in ONNX, and onnxruntime is not installed here; install learnloop[onnx] where models are"
            " evaluated, registered and served"
        ) from error
    options = onnxruntime.SessionOptions()
    # One thread, as everywhere: many requests at once use the processors, and threads that wait for each other do not.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong is in the error
    try:
        return onnxruntime.InferenceSession(
            source if isinstance(source, bytes) else str(source), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        kind = type(error).__name__
        if kind in _DAMAGED:
            raise Corrupted(f"{what} is damaged or is not an ONNX file: {error}") from error
        raise InvalidInput(f"{what} cannot be loaded: {kind}: {error}") from error
