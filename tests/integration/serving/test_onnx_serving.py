"""A model server serves an ONNX model as it does one of scikit-learn: the same promises."""

from __future__ import annotations

import shutil
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from onnx_models import converted
from serving_support import wait_until
from sklearn.datasets import load_digits

from learnloop.database import session
from learnloop.errors import Conflict, InvalidInput, LearnloopError
from learnloop.jobs.checksums import write_manifest
from learnloop.models.deployment import wait_until_served
from learnloop.serving.client import ModelClient
from learnloop.training.models import load
from learnloop.training.onnx_files import OnnxClassifier
from learnloop.training.saving import save

ONNX, CUT_SHORT = 3, 4


@pytest.fixture
def source_of(registry: Path, tmp_path: Path):
    """Versions 1 and 2 as they are; 3 is 1 in ONNX, 4 the same with the end of its file missing."""
    skops = load(registry / "digits" / "1")
    content = converted(skops.estimator, 64)
    images = load_digits().data[:32].astype(np.float32)
    save(OnnxClassifier(content, skops.classes), tmp_path / str(ONNX), skops.classes, images)
    write_manifest(tmp_path / str(ONNX))
    shutil.copytree(tmp_path / str(ONNX), tmp_path / str(CUT_SHORT))
    (tmp_path / str(CUT_SHORT) / "model.onnx").write_bytes(content[:-40])
    return lambda name, version: (tmp_path if version >= ONNX else registry / name) / str(version)


@pytest.fixture
def served(database_url):
    return lambda deployed: wait_until_served(partial(session, database_url), *deployed, timeout=15)


def test_it_answers_as_the_model_it_was_made_of_and_swaps_drop_no_request(
    serve, deploy_digits, served, source_of, rows, expected
):
    server = serve(source_of=source_of)
    served(deploy_digits(2))
    stop, failures, answers = threading.Event(), [], []

    def ask() -> None:
        with ModelClient(server.url) as client:
            while not stop.is_set():
                try:
                    answers.append(client.infer("digits", rows))
                except LearnloopError as error:
                    failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in (ONNX, 2, ONNX, 1, ONNX):
        served(deploy_digits(version))
    reached = len(answers)
    wait_until(lambda: len(answers) > reached + 8)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {ONNX, 2} <= {answer.model_version for answer in answers}
    for answer in answers:
        wanted = expected[1 if answer.model_version == ONNX else answer.model_version]
        np.testing.assert_allclose(answer.probabilities, wanted, atol=1e-5)

    with ModelClient(server.url) as client:
        with pytest.raises(InvalidInput, match="63"):
            client.infer("digits", rows[:, 1:])
        with pytest.raises(InvalidInput, match="finite"):
            client.infer("digits", np.full((1, 64), np.inf, dtype=np.float32))
        alone = [client.infer("digits", row[None]).probabilities[0] for row in rows]
    np.testing.assert_allclose(alone, expected[1], atol=1e-5)


def test_a_broken_one_never_takes_the_alias_nor_one_that_nothing_here_runs(
    serve, deploy_digits, served, source_of, rows, monkeypatch
):
    server = serve(source_of=source_of)
    served(deploy_digits(1))
    with pytest.raises(Conflict, match=r"model\.onnx does not match its checksum"):
        served(deploy_digits(CUT_SHORT))
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(Conflict, match=r"install learnloop\[onnx\]"):
            served(deploy_digits(ONNX))
    with ModelClient(server.url) as client:
        assert client.infer("digits", rows).model_version == 1
        served(deploy_digits(ONNX))
        assert client.infer("digits", rows).model_version == ONNX
