"""What may be in memory: the budget, who goes, who stays."""

from __future__ import annotations

import time

import pytest

from learnloop.errors import InvalidInput, NotFound, Unavailable
from learnloop.serving.models import ModelSet, NotLoaded

SIZE = 1000


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "weights").write_bytes(b"x" * SIZE)
    return tmp_path


@pytest.fixture
def models(model, folder):
    """Room for two."""
    return ModelSet(lambda name, version: folder, lambda _: model, memory_bytes=2 * SIZE)


def serve(models, alias, version):
    models.load("coins", version)
    models.move_alias("coins", alias, version)


def use(models, name):
    models.release(models.acquire(name))


def loaded(models):
    return sorted(version for _, version in models.versions)


def test_the_least_recently_used_goes_and_its_alias_brings_it_back(models):
    serve(models, "base", 1)
    serve(models, "realtime", 2)
    use(models, "coins:base")
    serve(models, "optimized", 3)
    assert loaded(models) == [1, 3]
    with pytest.raises(NotLoaded) as missing:
        models.acquire("coins:realtime")
    models.load(*missing.value.key, fresh=False)
    assert models.acquire("coins:realtime").version == 2
    assert loaded(models) == [2, 3]
    assert models.evictions == 2


def test_a_model_in_use_is_never_taken(models):
    serve(models, "base", 1)
    serve(models, "realtime", 2)
    held = [models.acquire("coins:base"), models.acquire("coins:realtime")]
    with pytest.raises(Unavailable, match=r"needs 1000 bytes .* may take 2000"):
        models.load("coins", 3)
    assert loaded(models) == [1, 2]
    models.release(held[0])
    models.load("coins", 3)
    assert loaded(models) == [2, 3]
    assert models.versions["coins", 2] is held[1]


def test_a_leased_version_and_one_that_is_to_be_swapped_in_are_not_taken(models):
    serve(models, "base", 1)
    models.pin({("coins", 1)})
    models.load("coins", 2)  # for a swap that has not come to its end
    with pytest.raises(Unavailable):
        models.load("coins", 3)
    models.move_alias("coins", "realtime", 2)
    models.load("coins", 3)
    assert loaded(models) == [1, 3]


def test_a_model_larger_than_the_budget_is_refused_and_nothing_is_unloaded(model, folder):
    models = ModelSet(lambda name, version: folder, lambda _: model, memory_bytes=SIZE - 1)
    with pytest.raises(Unavailable, match="may take 999"):
        models.load("coins", 1)
    assert models.versions == {}


def test_a_load_that_fails_gives_its_room_back(models, model):
    model.classes = ("same", "same")
    for version in (1, 2, 3):
        with pytest.raises(InvalidInput):
            models.load("coins", version)
    assert models.memory == 0


def test_what_nobody_asks_for_leaves_memory_and_a_lease_keeps_it(model, folder):
    models = ModelSet(lambda name, version: folder, lambda _: model, keep_alive=0.05)
    serve(models, "base", 1)
    serve(models, "realtime", 2)
    held = models.acquire("coins:realtime")
    models.pin({("coins", 1)})
    deadline = time.monotonic() + 0.06
    while time.monotonic() < deadline:
        assert models.expire() == []
    models.pin(())
    assert models.expire() == [("coins", 1)]
    models.release(held)
    assert models.expire() == []  # it has just been used


def test_unloading_by_hand(models):
    serve(models, "base", 1)
    held = models.acquire("coins:base")
    with pytest.raises(Unavailable, match="in use"):
        models.park(("coins", 1))
    models.release(held)
    assert models.park(("coins", 1))
    assert not models.park(("coins", 1))
    with pytest.raises(NotLoaded):
        models.get("coins:base")


def test_a_parked_version_that_nothing_leads_to_is_forgotten(models):
    serve(models, "base", 1)
    assert models.park(("coins", 1))
    models.keep_aliases(())
    models.unload_unused(keep=())
    with pytest.raises(NotFound):
        models.acquire("coins", 1)


def test_a_number_as_the_tag_is_a_version(models):
    models.load("coins", 1)
    assert models.get("coins:1").version == 1
    with pytest.raises(NotFound, match="version 7 of model 'coins'"):
        models.get("coins:7")


def test_a_canary_gets_its_share_and_ends(models):
    serve(models, "base", 1)
    models.load("coins", 2)
    models.set_canary("coins", "base", 2, 0.25)
    seen = []
    for _ in range(2000):
        held = models.acquire("coins:base")
        seen.append(held.version)
        models.release(held)
    assert 380 < seen.count(2) < 620  # 500 within six standard deviations
    assert models.get("coins:base").version == 1
    models.set_canary("coins", "base", None, 0)
    assert {models.acquire("coins:base").version for _ in range(100)} == {1}
