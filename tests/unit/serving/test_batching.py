"""Requests that come together are predicted together, each gets its own answer, and a bad one fails alone."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from learnloop.serving.batching import FAST_SECONDS, Batcher
from learnloop.serving.versions import ModelFault

ROWS = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)


class Watched:
    """A model that notes how many rows each call had, and errs at a row that begins with 13."""

    classes = ("no", "yes")
    input_size = 3

    def __init__(self, model):
        self.model, self.calls, self.may_go = model, [], threading.Event()
        self.may_go.set()

    def predict_proba(self, rows):
        assert self.may_go.wait(10)
        self.calls.append(len(rows))
        if (rows[:, 0] == 13).any():
            raise FloatingPointError("thirteen")
        return self.model.predict_proba(rows)


@pytest.fixture
def watched(model):
    return Watched(model)


@pytest.fixture
def version(loaded, watched):
    return replace(loaded, model=watched)


@pytest.fixture
def told():
    return []


@pytest.fixture
def batcher(told):
    with ThreadPoolExecutor(2) as executor:
        yield lambda **how: Batcher(
            **{"window": 0.0, "most_rows": 16, **how}, executor=executor, told=lambda name, rows: told.append(rows)
        )


async def ask(batcher, version, *parts):
    return await asyncio.gather(*(batcher.predict(version, part) for part in parts), return_exceptions=True)


def singles(count):
    return [ROWS[index : index + 1] for index in range(count)]


def test_requests_of_one_moment_are_one_call_and_each_gets_its_own(batcher, version, watched, model, told):
    answers = asyncio.run(ask(batcher(), version, *singles(8), ROWS[8:11]))
    assert watched.calls == told == [11]
    assert [len(answer) for answer in answers] == [1] * 8 + [3]
    np.testing.assert_allclose(np.concatenate(answers), model.predict_proba(ROWS[:11]), atol=1e-6)


def test_a_batch_has_so_many_rows_at_most(batcher, version, watched, model):
    answers = asyncio.run(ask(batcher(), version, *singles(50)))
    assert sum(watched.calls) == 50
    assert max(watched.calls) <= 16
    np.testing.assert_allclose(np.concatenate(answers), model.predict_proba(ROWS), atol=1e-6)


def test_a_window_waits_for_those_who_come_later(batcher, version, watched):
    async def later():
        asking = batcher(window=0.2)
        first = asyncio.create_task(asking.predict(version, ROWS[:1]))
        await asyncio.sleep(0.02)
        await asyncio.gather(first, asking.predict(version, ROWS[1:2]))

    asyncio.run(later())
    assert watched.calls == [2]


def test_dtypes_and_versions_are_not_mixed(batcher, version, watched, model, loaded):
    other = replace(loaded, version=8, model=Watched(model))
    asking = batcher()

    async def both():
        await asyncio.gather(
            asking.predict(version, ROWS[:1]),
            asking.predict(version, ROWS[:1].astype(np.float64)),
            asking.predict(other, ROWS[:2]),
        )

    asyncio.run(both())
    assert watched.calls == [1, 1]
    assert other.model.calls == [2]


@pytest.mark.parametrize("slow", [False, True])
def test_a_request_that_the_model_errs_at_fails_alone(batcher, version, watched, model, slow):
    version.seconds_a_call = 2 * FAST_SECONDS if slow else 0.0
    bad = np.array([[13, 0, 0]], dtype=np.float32)
    first, fault, last = asyncio.run(ask(batcher(), version, ROWS[:1], bad, ROWS[1:2]))
    assert isinstance(fault, ModelFault)
    assert "FloatingPointError: thirteen" in str(fault)
    np.testing.assert_allclose(np.concatenate([first, last]), model.predict_proba(ROWS[:2]), atol=1e-6)


def test_while_a_slow_model_works_the_next_batch_gathers(batcher, version, watched):
    version.seconds_a_call = 2 * FAST_SECONDS
    watched.may_go.clear()

    async def slowly():
        asking = batcher()
        first = asyncio.create_task(asking.predict(version, ROWS[:1]))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(asking.predict(version, part)) for part in singles(5)]
        await asyncio.sleep(0.05)
        watched.may_go.set()
        await asyncio.gather(first, *others)

    asyncio.run(slowly())
    assert watched.calls == [1, 5]


def test_a_caller_who_goes_away_takes_nobody_with_them(batcher, version, model):
    async def away():
        asking = batcher(window=0.05)
        gone = asyncio.create_task(asking.predict(version, ROWS[:1]))
        stays = asyncio.create_task(asking.predict(version, ROWS[1:2]))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    np.testing.assert_allclose(asyncio.run(away()), model.predict_proba(ROWS[1:2]), atol=1e-6)
