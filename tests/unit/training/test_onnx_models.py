"""Models in ONNX load like the others, and what is no classifier, or could do harm, is refused by name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper
from onnx_models import converted, graph
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from training_support import CLASSES

from learnloop.errors import Corrupted, InvalidInput
from learnloop.jobs.checksums import write_manifest
from learnloop.models.registry import check
from learnloop.training.models import load
from learnloop.training.onnx_files import OnnxClassifier
from learnloop.training.saving import save

Digits = tuple[np.ndarray, np.ndarray]


def bare(folder: Path, model: Any) -> Path:
    """A folder that holds an ONNX file and nothing else."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return folder


@pytest.mark.parametrize("classifier", [LogisticRegression(), MLPClassifier((16,), max_iter=20)])
def test_a_converted_model_predicts_as_the_fitted_one(classifier: Any, tmp_path: Path, digits: Digits) -> None:
    X, y = digits
    some = np.flatnonzero(y[:300] != 4)  # a class that the model has never seen
    pipeline = make_pipeline(StandardScaler(), classifier).fit(X[some], y[some].astype(str))
    fitted = OnnxClassifier(converted(pipeline, 64), list(pipeline.classes_))
    np.testing.assert_allclose(fitted.predict_proba(X), pipeline.predict_proba(X), atol=1e-4)


def test_a_saved_model_has_what_mlflow_wants_and_is_checked(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    fitted = OnnxClassifier(graph(classes=("no", "yes")).SerializeToString())
    model = save(fitted, tmp_path / "model", ("maybe", "no", "yes"), rows)
    assert model.classes == ("maybe", "no", "yes")
    assert model.input_size == 3
    found = model.predict_proba(rows.astype(np.float64))
    np.testing.assert_allclose(found[:, 1:], fitted.predict_proba(rows))
    assert not found[:, 0].any()
    np.testing.assert_allclose(mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(rows)["y"], found[:, 1:])
    with pytest.raises(InvalidInput, match=r"shape \(2, 4\); this model takes \(n, 3\)"):
        model.predict_proba(np.zeros((2, 4)))
    with pytest.raises(InvalidInput, match="NaN"):
        model.predict_proba(np.full((1, 3), np.nan))
    check(tmp_path / "model")
    write_manifest(tmp_path / "model")
    (tmp_path / "model" / "model.onnx").write_bytes(graph(features=3, last="Sigmoid").SerializeToString())
    with pytest.raises(Corrupted, match=r"model\.onnx does not match its checksum"):
        check(tmp_path / "model")


def test_a_bare_file_takes_its_classes_from_the_dataset_beside_it(tmp_path: Path) -> None:
    folder = bare(tmp_path / "model", graph(classes=None))
    with pytest.raises(InvalidInput, match=r"does not say what it predicts: give it the metadata property 'classes'"):
        load(folder)
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"classes": ["heads", "tails"]}))
    assert load(folder).classes == ("heads", "tails")
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"classes": list(CLASSES)}))
    with pytest.raises(InvalidInput, match="gives 2 probabilities, but its classes are 10"):
        load(folder)
    (folder / "dataset.yaml").write_text("classes: [")
    with pytest.raises(Corrupted, match=r"dataset\.yaml cannot be read as YAML"):
        load(folder)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"domain": "evil.corp", "last": "Steal"}, r"cannot be loaded: .*evil\.corp:Steal"),
        ({"rows": 1}, r"features of shape \[n, d\].*; its inputs are x: tensor\(float\) \[1, 3\]"),
        ({"kind": TensorProto.INT64}, r"its inputs are x: tensor\(int64\)"),
        ({"outputs": ("y", "z2")}, r"as one matrix, named so where there are several; its outputs are y: .*, z2: "),
        ({"classes": "no, yes"}, "its property 'classes' is no JSON"),
        ({"classes": '{"no": 0}'}, "'classes' must be a list of names"),
        ({"classes": ("a", "b", "c")}, "gives 2 probabilities, but its classes are 3"),
        ({"weights_in": "../../secret.bin"}, "External data path"),
        ({"weights_in": "/etc/hostname"}, "External data path|Absolute path"),
    ],
)
def test_what_may_not_or_cannot_be_served_is_refused(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    (tmp_path / "secret.bin").write_bytes(b"\0" * 24)
    with pytest.raises(InvalidInput, match=message):
        check(bare(tmp_path / "models" / "model", graph(**wrong)))


def test_scores_that_are_no_probabilities_do_not_pass(tmp_path: Path) -> None:
    folder = bare(tmp_path / "model", graph(last="Sigmoid"))
    load(folder)
    with pytest.raises(InvalidInput, match="each row must sum to 1"):
        check(folder)


def test_a_list_of_maps_is_refused_with_the_way_out(tmp_path: Path) -> None:
    zipmap = graph(outputs=("p",))
    zipmap.graph.node.append(
        helper.make_node("ZipMap", ["p"], ["maps"], domain="ai.onnx.ml", classlabels_strings=["no", "yes"])
    )
    del zipmap.graph.output[:]
    value = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    zipmap.graph.output.append(helper.make_value_info("maps", helper.make_sequence_type_proto(value)))
    zipmap.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    with pytest.raises(InvalidInput, match="export it with the option zipmap=False"):
        load(bare(tmp_path / "model", zipmap))


def test_weights_in_a_file_of_the_folder_are_read(tmp_path: Path) -> None:
    folder = bare(tmp_path / "model", graph(weights_in="weights.bin"))
    (folder / "weights.bin").write_bytes(np.arange(6, dtype=np.float32).tobytes())
    inside = load(bare(tmp_path / "inside", graph()))
    np.testing.assert_array_equal(load(folder).predict_proba(np.eye(3)), inside.predict_proba(np.eye(3)))


def test_a_file_cut_short_or_of_another_kind_is_found(tmp_path: Path) -> None:
    whole = graph().SerializeToString()
    folder = bare(tmp_path / "model", whole)
    for damaged in (b"", b"PK\3\4" + b"\0" * 60, whole[: len(whole) // 2], whole[:-3]):
        (folder / "model.onnx").write_bytes(damaged)
        with pytest.raises((Corrupted, InvalidInput), match=r"model\.onnx"):
            load(folder)


def test_without_onnxruntime_it_is_refused_with_what_to_install(tmp_path: Path, monkeypatch: Any) -> None:
    folder = bare(tmp_path / "model", graph())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        InvalidInput, match=r"is in ONNX, and onnxruntime is not installed here; install learnloop\[onnx\]"
    ):
        load(folder)


def test_the_file_may_be_named_otherwise_but_not_lie_elsewhere(tmp_path: Path) -> None:
    folder = bare(tmp_path / "model", graph())
    (folder / "model.onnx").rename(folder / "coins.onnx")
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"onnx": {"data": "coins.onnx"}}}))
    assert load(folder).classes == ("no", "yes")
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"onnx": {"data": "../model/coins.onnx"}}}))
    with pytest.raises(InvalidInput, match="must be a file of that folder itself"):
        load(folder)


def test_the_helper_makes_sound_models() -> None:
    onnx.checker.check_model(graph())
