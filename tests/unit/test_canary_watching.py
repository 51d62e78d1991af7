"""The loop that watches a canary, over looks that fail and a canary that others end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy.exc import OperationalError

from learnloop.serving.cluster.judging import Counts, Rules, Verdict
from learnloop.serving.cluster.units import CANARY, STABLE, Unit
from learnloop.serving.looking import Look
from learnloop_airflow.pods.canary import REFUSALS, Away, Refused, watch

UNIT = Unit("digits", "realtime", 3, row=7, generation=2, canary=4, percent=10)


def looked(canary: int, failed: int = 0) -> Look:
    return Look({STABLE: {"a": Counts(canary * 9)}, CANARY: {"b": Counts(canary, failed)}})


def watched(
    looks: list[Look | Away], gone: Callable[[], Verdict | None] = lambda: None, seconds: float = 60
) -> tuple[Verdict, list[str]]:
    """What is said in the end of these looks, the last of them again and again; what was said meanwhile."""
    said: list[str] = []

    def each() -> Iterator[Look | Away]:
        yield from looks
        while True:
            yield looks[-1]

    coming = each()

    async def look() -> Look:
        found = next(coming)
        if isinstance(found, Away):
            raise found
        return found

    async def say(what: str) -> None:
        said.append(what)

    rules = Rules(seconds=seconds, requests=0)

    async def run() -> Verdict:
        return await asyncio.wait_for(watch(look, UNIT, rules, gone=gone, say=say, every=0.001), 30)

    return asyncio.run(run()), said


def test_what_is_counted_before_the_first_look_says_nothing() -> None:
    found, _ = watched([looked(100, 50), looked(110, 50)], seconds=0.01)
    assert found.good
    assert "0 of 10 requests of version 4 failed" in found.reason


def test_who_does_not_answer_is_told_of_and_waited_for_without_time_running_out() -> None:
    away: list[Look | Away] = [Away("no answer")] * 50
    found, said = watched([looked(100), *away, looked(110, 5)], seconds=5)
    assert (found.good, found.worse) == (False, True)
    assert "5 of 10 requests of version 4 failed" in found.reason
    assert said == ["no answer"] * 50


def test_a_refusal_is_believed_when_it_is_repeated() -> None:
    refused: list[Look | Away] = [Refused("no right")]
    found, said = watched([*refused * REFUSALS, Away("starts"), *refused])
    assert (found.good, found.worse, found.reason) == (False, False, "it cannot be watched: no right")
    assert len(said) == 2 * REFUSALS + 1


def test_one_that_others_ended_is_watched_no_longer() -> None:
    asked: list[Any] = []

    def gone() -> Verdict | None:
        asked.append(None)
        if len(asked) == 1:
            raise OperationalError("select", {}, Exception("away"))
        return Verdict(True, "version 4 was promoted") if len(asked) == 3 else None

    found, said = watched([looked(1)], gone=gone)
    assert found.reason == "version 4 was promoted"
    assert said == ["the database does not answer: OperationalError"]
