from __future__ import annotations

import threading

import numpy as np
import pytest

from learnloop.errors import InvalidInput, NotFound
from learnloop.serving.models import ModelSet, smoke_test


@pytest.fixture
def models(model, tmp_path):
    return ModelSet(lambda name, version: tmp_path, lambda folder: model)


def test_untagged_names_mean_current(models):
    models.load("coins", 1)
    models.move_alias("coins", "current", 1)
    assert models.get("coins") is models.get("coins:current") is models.get("coins", 1)


def test_what_is_not_there_is_not_found_and_what_is_there_is_named(models):
    models.load("coins", 1)
    models.move_alias("coins", "base", 1)
    with pytest.raises(NotFound, match="'coins:current'; served are: coins:base"):
        models.acquire("coins")
    with pytest.raises(NotFound, match=r"version 2 .* \(loaded versions: 1;"):
        models.acquire("coins", 2)


def test_a_version_in_use_aliased_or_kept_is_not_unloaded(models):
    for version in (1, 2, 3, 4):
        models.load("coins", version)
    used = models.acquire("coins", 1)
    models.move_alias("coins", "current", 2)
    assert models.unload_unused(keep={("coins", 3)}) == [("coins", 4)]
    models.release(used)
    assert models.unload_unused(keep=set()) == [("coins", 1), ("coins", 3)]
    assert list(models.versions) == [("coins", 2)]
    assert used.last_used_at is not None


def test_moving_an_alias_again_is_no_move(models):
    models.load("coins", 1)
    assert models.move_alias("coins", "current", 1)
    assert not models.move_alias("coins", "current", 1)


def test_many_threads_and_an_unloader_never_meet_an_unloaded_version(models):
    models.load("coins", 1)
    models.load("coins", 2)
    models.move_alias("coins", "current", 1)
    stop, wrong = threading.Event(), []

    def use():
        while not stop.is_set():
            loaded = models.acquire("coins")
            if models.versions.get(("coins", loaded.version)) is not loaded:
                wrong.append(loaded.version)
            models.release(loaded)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(200):
        version = turn % 2 + 1
        models.load("coins", version)
        models.move_alias("coins", "current", version)
        models.end_probation(0)
        models.unload_unused(keep=set())
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert all(loaded.uses == 0 for loaded in models.versions.values())


@pytest.mark.parametrize(
    ("predict", "says"),
    [
        (lambda rows: np.full((len(rows), 2), np.nan), "no finite probabilities"),
        (lambda rows: np.full((len(rows), 3), 1 / 3), r"shape \(1, 2\)"),
        (lambda rows: np.full((1, 2), 0.5), r"shape \(2, 2\)"),
        (lambda rows: np.full((len(rows), 2), 0.7), "must sum to 1"),
        (lambda rows: np.tile([1.5, -0.5], (len(rows), 1)), "must sum to 1"),
    ],
    ids=["nan", "classes", "rows", "sum", "negative"],
)
def test_a_model_whose_answers_are_no_probabilities_fails_the_smoke_test(model, loaded, predict, says):
    smoke_test(loaded)
    model.predict_proba = predict
    with pytest.raises(InvalidInput, match=says):
        smoke_test(loaded)


def test_a_model_that_does_not_load_leaves_the_set_as_it_was(model, tmp_path):
    model.classes = ("same", "same")
    models = ModelSet(lambda name, version: tmp_path, lambda folder: model)
    with pytest.raises(InvalidInput, match="distinct classes"):
        models.load("coins", 1)
    assert models.versions == {}
