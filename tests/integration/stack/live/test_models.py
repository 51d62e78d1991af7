"""Models by the API, against a model server that runs: compared, promoted, rolled back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from learnloop.client import LearnloopClient
from learnloop.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from learnloop.models import registry
from learnloop.serving.client import ModelClient

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

MODEL = "digits-live"


@pytest.fixture
def admin(live_stack):
    with LearnloopClient.login(live_stack.url, *live_stack.users["admin"]) as client:
        yield client


@pytest.fixture
def add_version(live_stack, live_dataset):
    """Registers a copy of version 1, changed by ``change(folder)``; returns its number."""
    settings = json.loads((live_stack.home / "stack.json").read_text())

    def add(key: str, tmp_path: Path, change=lambda folder: None) -> int:
        url = settings["mlflow_url"]
        folder = tmp_path / key
        shutil.copytree(registry.source_of(MODEL, 1, url), folder)
        (folder / "manifest.json").unlink()
        change(folder)
        return registry.register(
            MODEL,
            folder,
            models_root=Path(settings.get("models", live_stack.home / "models")),
            tags={"dataset_version": "digits-live_v1.0"},
            metrics={"accuracy": 0.5},
            idempotency_key=key,
            url=url,
        )

    return add


def answering(live_stack, alias: str) -> int:
    """The version that answers at ``{MODEL}:{alias}``."""
    with ModelClient(live_stack.serving_url) as client:
        columns = client.metadata(f"{MODEL}:{alias}")["inputs"][0]["shape"][1]
        return client.infer(f"{MODEL}:{alias}", np.zeros((1, columns), dtype=np.float32)).model_version


def test_a_version_is_promoted_and_taken_back_in_one_call_each(live_stack, admin, add_version, tmp_path) -> None:
    first = answering(live_stack, "current")
    second = add_version("promoted", tmp_path)
    for _ in range(2):  # again does no harm
        moved = admin.promote(MODEL, "realtime", second, "a better one")
        assert [(one["alias"], one["version"]) for one in moved] == [("realtime", second), ("current", second)]
        assert answering(live_stack, "current") == answering(live_stack, "realtime") == second
    versions = {row["version"]: row for row in admin.model_versions(MODEL)}
    assert {"realtime", "current"} <= set(versions[second]["aliases"])
    assert admin.decisions(MODEL)[0]["reason"] == "realtime, current: a better one"
    with pytest.raises(Conflict, match=f"serves version {second}, not 99"):
        admin.roll_back(MODEL, "current", seen=99)
    (back,) = admin.roll_back(MODEL, "current", seen=second, reason="it was not")
    assert (back["version"], back["previous"]) == (first, second)
    assert answering(live_stack, "current") == first
    with pytest.raises(Conflict, match="look again"):  # the call that comes twice
        admin.roll_back(MODEL, "current", seen=second)
    assert [found["action"] for found in admin.audit(limit=20) if "deployments" in found["action"]]


def test_a_model_that_cannot_be_loaded_never_serves(live_stack, admin, add_version, tmp_path) -> None:
    before = answering(live_stack, "current")
    broken = add_version("broken", tmp_path, lambda folder: (folder / "model.skops").write_bytes(b"nothing"))
    with pytest.raises(Conflict, match=f"version {broken} was not deployed"):
        admin.promote(MODEL, "optimized", broken)
    assert answering(live_stack, "current") == before
    assert "optimized" not in {row["alias"] for row in admin.deployments() if row["model_name"] == MODEL}


def test_two_versions_are_compared_from_what_was_measured(admin, live_dataset, add_version, tmp_path) -> None:
    second = add_version("compared", tmp_path)
    found = admin.compare_models(MODEL, 1, second)
    assert found["figures"]["accuracy"]["before"] > 0.5
    assert found["figures"]["accuracy"]["after"] is None  # nobody evaluated it
    assert set(found["per_class"]) == set(live_dataset.classes)
    assert not found["same_data"]
    assert admin.compare_models(MODEL, 1, 1)["same_data"]
    shown = admin.model_version(MODEL, 1)
    assert shown["scores"]["accuracy"] == shown["metrics"]["accuracy"]
    assert MODEL in admin.models()


def test_what_there_is_not_is_named(live_stack, admin, live_dataset) -> None:
    with pytest.raises(NotFound, match="no version 99"):
        admin.promote(MODEL, "realtime", 99)
    with pytest.raises(InvalidInput, match="alias 'best'"):
        admin.promote(MODEL, "best", 1)
    with pytest.raises(NotFound, match="no model 'nothing'"):
        admin.model_versions("nothing")
    with pytest.raises(NotFound, match="nothing is deployed"):
        admin.roll_back(MODEL, "optimized")
    with (
        LearnloopClient.login(live_stack.url, *live_stack.users["scientist"]) as scientist,
        pytest.raises(PermissionDenied),
    ):
        scientist.promote(MODEL, "realtime", 1)
