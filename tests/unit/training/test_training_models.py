import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from trainer_names import NAMES
from training_support import CLASSES

from learnloop.errors import Corrupted, InvalidInput, NotFound
from learnloop.jobs.checksums import write_manifest
from learnloop.training.models import load
from learnloop.training.saving import save
from learnloop.training.skops_files import ALLOWED_TYPES
from learnloop.training.trainers import trainer

Digits = tuple[np.ndarray, np.ndarray]


def write_model(folder: Path, estimator: object, **flavor: object) -> Path:
    folder.mkdir(exist_ok=True)
    skops.io.dump(estimator, folder / "model.skops")
    sklearn = {"pickled_model": "model.skops", "serialization_format": "skops", **flavor}
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": sklearn}}))
    return folder


@pytest.fixture
def small(tmp_path: Path, digits: Digits) -> Path:
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(digits[0][:60], digits[1][:60].astype(str))
    return write_model(tmp_path / "small", estimator)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_model_predicts_as_the_fitted_one(name: str, tmp_path: Path, digits: Digits) -> None:
    X, y = digits
    some = np.flatnonzero(y[:100] != 4)
    pipeline = trainer({"name": name}).fit(X[some], y[some], CLASSES, seed=0).pipeline
    model = save(pipeline, tmp_path / "model", CLASSES, X[:32])
    assert model.classes == CLASSES
    assert model.input_size == 64
    assert model.predict_proba(X[:1]).shape == (1, 10)
    columns = [CLASSES.index(label) for label in pipeline.classes_]
    np.testing.assert_allclose(model.predict_proba(X)[:, columns], pipeline.predict_proba(X), atol=1e-5)
    described = yaml.safe_load((tmp_path / "model" / "MLmodel").read_text())
    if name == "torch":
        assert described["flavors"]["onnx"]["data"] == "model.onnx"
        return
    assert described["flavors"]["sklearn"]["serialization_format"] == "skops"
    assert set(described["flavors"]["sklearn"]["skops_trusted_types"] or []) <= ALLOWED_TYPES


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left": 0}, "leads to none that comes after it"),
        ({"right": 10**6}, "leads to none that comes after it"),
        ({"feature_idx": 64}, "a feature that there is not"),
        ({"feature_idx": -1}, "a feature that there is not"),
        ({"is_categorical": 1}, "splits by categories"),
    ],
)
def test_a_tree_that_would_read_foreign_memory_is_refused(
    tmp_path: Path, digits: Digits, change: dict[str, int], message: str
) -> None:
    X, y = digits[0][:100], digits[1][:100]
    pipeline = trainer({"name": "boosting", "iterations": 1}).fit(X, y, CLASSES, seed=0).pipeline
    load(write_model(tmp_path / "sound", pipeline))
    tree = pipeline[-1]._predictors[0][0]
    for field, value in change.items():
        tree.nodes[field][0] = value
    with pytest.raises(InvalidInput, match=message):
        load(write_model(tmp_path / "broken", pipeline))


def test_rows_of_a_wrong_shape_are_refused(small: Path) -> None:
    model = load(small)
    with pytest.raises(InvalidInput, match=r"shape \(2, 3\); this model takes \(n, 64\)"):
        model.predict_proba(np.zeros((2, 3)))
    with pytest.raises(InvalidInput, match="NaN"):
        model.predict_proba(np.full((1, 64), np.nan))


def test_damage_is_found(small: Path) -> None:
    path = small / "model.skops"
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = bytes(byte ^ 0xFF for byte in whole[middle : middle + 100])
    for damaged in (whole[:-50], whole[:200], b"", whole[:middle] + flipped + whole[middle + 100 :]):
        path.write_bytes(damaged)
        with pytest.raises(Corrupted, match=r"model\.skops"):
            load(small)
    path.unlink()
    with pytest.raises(Corrupted, match="is missing"):
        load(small)
    (small / "MLmodel").unlink()
    with pytest.raises(NotFound, match="no model at"):
        load(small)


def test_a_manifest_is_checked(small: Path) -> None:
    write_manifest(small)
    load(small)
    (small / "MLmodel").write_text((small / "MLmodel").read_text() + "\n")
    with pytest.raises(Corrupted, match="MLmodel does not match its checksum"):
        load(small)


def test_a_tampered_schema_is_refused(small: Path) -> None:
    archive = zipfile.ZipFile(small / "model.skops")
    content = {name: archive.read(name) for name in archive.namelist()}
    content["schema.json"] = content["schema.json"].replace(b"LogisticRegression", b"LogisticRegressjon")
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as tampered:
        for name, data in content.items():
            tampered.writestr(name, data)
    (small / "model.skops").write_bytes(written.getvalue())
    with pytest.raises((Corrupted, InvalidInput), match=r"model\.skops"):
        load(small)


def test_types_that_are_not_known_are_named_and_refused(tmp_path: Path, digits: Digits) -> None:
    X, y = digits[0][:60], digits[1][:60]
    sneaky = make_pipeline(FunctionTransformer(np.save), LogisticRegression())
    sneaky.steps[1] = ("logistic", LogisticRegression().fit(X, y))
    with pytest.raises(InvalidInput, match=r"may not be loaded: .*save"):
        load(write_model(tmp_path / "sneaky", sneaky))


@pytest.mark.parametrize(
    ("flavor", "message"),
    [
        ({"serialization_format": "cloudpickle"}, "saved as 'cloudpickle', which may run code"),
        ({"pickled_model": "../small/model.skops"}, "must be a file of that folder"),
    ],
)
def test_other_formats_and_places_are_refused(small: Path, flavor: dict, message: str) -> None:
    described = yaml.safe_load((small / "MLmodel").read_text())
    described["flavors"]["sklearn"] |= flavor
    (small / "MLmodel").write_text(yaml.safe_dump(described))
    with pytest.raises(InvalidInput, match=message):
        load(small)


def test_only_a_classifier_is_a_model(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds a StandardScaler"):
        load(write_model(tmp_path / "scaler", StandardScaler().fit(np.zeros((2, 3)))))
