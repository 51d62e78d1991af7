"""What the PyTorch trainer has beside the contract: convolutions, and a clear word where PyTorch is not installed."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_support import CLASSES

from learnloop.errors import InvalidInput
from learnloop.training import trainers
from learnloop.training.models import load
from learnloop.training.saving import save
from learnloop.training.trainers import trainer

Digits = tuple[np.ndarray, np.ndarray]
IMAGE = {"image": [8, 8, 1], "filters": [8, 16], "hidden": [32]}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"filters": [8]}, r"filters need image: \[height, width, channels\]"),
        ({"filters": [8, 8, 8, 8], "image": [8, 8, 1]}, r"\(8, 8\) is too small"),
        ({"filters": [0], "image": [8, 8, 1]}, "greater than or equal to 1"),
        ({"depth": 3}, "depth: Extra inputs are not permitted"),
    ],
)
def test_wrong_parameters_are_named_wherever_they_are_read(params: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        trainer({"name": "torch", **params})
    assert any(re.search(said, problem) for problem in refused.value.problems)


def test_without_pytorch_it_says_where_it_is_needed(monkeypatch: pytest.MonkeyPatch, digits: Digits) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "learnloop.training.trainers.torch_modules", raising=False)
    monkeypatch.delattr(trainers, "torch_modules", raising=False)
    with pytest.raises(InvalidInput, match=r"install learnloop\[torch\] where jobs run, or .*deploy/images/torch"):
        trainer({"name": "torch"}).fit(digits[0][:40], digits[1][:40], CLASSES, seed=0)


@pytest.mark.long
@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed (learnloop[torch])")
def test_convolutions_learn_come_back_and_start_from_their_parent(tmp_path: Path, digits: Digits) -> None:
    X, y = digits
    found = trainer({"name": "torch", **IMAGE}).fit(X[:400], y[:400], CLASSES, seed=0)
    saved = save(found.pipeline, tmp_path / "model", CLASSES, X[:16])
    assert (saved.predict_proba(X[1000:]).argmax(axis=1) == y[1000:]).mean() > 0.9
    parent = load(tmp_path / "model").estimator  # as a job has it: read from its file
    child = trainer({"name": "torch", **IMAGE, "max_epochs": 2}).fit(X[:400], y[:400], CLASSES, parent=parent, seed=1)
    assert child.metrics["start"].startswith("warm")
    other = {**IMAGE, "filters": [8]}
    fresh = trainer({"name": "torch", **other, "max_epochs": 1}).fit(X[:99], y[:99], CLASSES, parent=parent, seed=1)
    assert fresh.metrics["start"] == "cold: the parent has another structure"
    with pytest.raises(InvalidInput, match=r"has 48 numbers, and the samples have 64 features"):
        trainer({"name": "torch", **IMAGE, "image": [8, 6, 1]}).fit(X[:99], y[:99], CLASSES, seed=0)
