"""What is noted of live requests stays within bounds, and is handed over once."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from learnloop.errors import PermissionDenied
from learnloop.serving import noting
from learnloop.serving.handover import HEADER, Handover
from learnloop.serving.noting import MOST_WINDOWS, LiveRules, Noted, Notes, Window
from learnloop.serving.protocol import InferRequest
from learnloop.serving.versions import LoadedVersion

TOKEN = "of the platform"


class Told:
    def __init__(self) -> None:
        self.rows = 0

    def recorded(self, model: str, rows: int) -> None:
        self.rows += rows


def notes(**rules: Any) -> Notes:
    made = Notes()
    made.configure({"coins": LiveRules(1, **rules)})
    return made


def ask(to: Notes, loaded: LoadedVersion, *confidences: float, size: int = 8, record: bool = True) -> None:
    """Requests whose samples the model was so sure of; each sample's bytes say how sure."""
    sure = np.array(confidences, dtype=np.float32)
    samples = [f"{confidence:.6f}".ljust(size).encode() for confidence in confidences]
    features = np.zeros((len(sure), 3), dtype=np.float32)
    asked = InferRequest(features, samples, "", frozenset(), record)
    to.watch(loaded, asked, np.stack([sure, 1 - sure], axis=1))


def kept(noted: Noted) -> list[float]:
    return sorted(round(sample.confidence, 6) for sample in noted.samples.values())


def handover(of: Notes) -> Handover:
    return Handover(of, Told(), hashlib.sha256(TOKEN.encode()).hexdigest())  # type: ignore[arg-type]


def test_of_more_samples_than_a_days_the_least_sure_stay(loaded: LoadedVersion) -> None:
    made = notes(ask_below=0.9, ask_a_day=3)
    ask(made, loaded, 0.8, 0.6, 0.95, 0.7)
    ask(made, loaded, 0.65, 0.85, 0.6)  # one comes again
    assert kept(made.take()) == [0.6, 0.65, 0.7]
    assert not made.take()


def test_samples_never_take_more_bytes_than_they_may(loaded: LoadedVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noting, "MOST_BYTES", 1000)
    made = notes(ask_below=1.0, ask_a_day=10_000)
    for step in range(50):
        ask(made, loaded, round(0.99 - step / 100, 2), size=300)
    ask(made, loaded, 0.4, size=2000)  # larger than all that is allowed
    assert kept(made.take()) == [0.5, 0.51, 0.52]
    ask(made, loaded, 0.5, size=300)
    assert made.left == (0, 1)


def test_the_oldest_hours_go_when_nobody_takes_them(loaded: LoadedVersion) -> None:
    made, first = notes(record=1.0), datetime(2026, 1, 1, tzinfo=UTC)
    counts = {"confidence": [1] * 10, "predicted": [5, 5]}
    made.give_back(
        Noted({(loaded.key, first + timedelta(hours=hour)): Window(10, counts) for hour in range(MOST_WINDOWS + 5)})
    )
    hours = [hour for _, hour in made.take().windows]
    assert (len(hours), min(hours)) == (MOST_WINDOWS, first + timedelta(hours=5))


def test_a_request_that_is_not_to_be_noted_is_not_and_a_model_without_rules_neither(loaded: LoadedVersion) -> None:
    made = notes(record=1.0, ask_below=1.0)
    ask(made, loaded, 0.5, record=False)
    made.configure({"others": LiveRules(1, record=1.0)})
    ask(made, loaded, 0.5)
    assert not made.take()


def test_what_is_taken_in_parts_comes_whole_the_least_sure_first(loaded: LoadedVersion) -> None:
    made = notes(ask_below=1.0, ask_a_day=100)
    for step in range(10):
        ask(made, loaded, 0.5 + step / 100, size=100)
    parts = [kept(made.take(250)) for _ in range(5)]
    assert parts == [[0.5 + step / 100, round(0.51 + step / 100, 6)] for step in range(0, 10, 2)]
    ask(made, loaded, 0.5, size=900)
    assert kept(made.take(250)) == [0.5]  # one that is larger than a part is one
    assert not made.take(250)


def test_a_part_is_given_again_until_its_reader_has_it(loaded: LoadedVersion) -> None:
    made = notes(record=1.0)
    to = handover(made)
    assert to.part(0)["windows"] == []
    ask(made, loaded, 0.5, 0.6)
    first = to.part(0)
    ask(made, loaded, 0.7)
    assert to.part(0) == first  # its reader died
    assert (first["number"], [window["rows"] for window in first["windows"]]) == (1, [2])
    second = to.part(1)
    assert (second["number"], [window["rows"] for window in second["windows"]]) == (2, [1])
    assert to.left == (1, 0)
    assert to.part(2) == {"instance": to.instance, "number": 2, "windows": [], "samples": []}
    assert to.left == (0, 0)
    assert to._metrics.rows == 3  # type: ignore[attr-defined]


async def asked(to: Handover, token: str | None, **query: str) -> bytes:
    headers = {} if token is None else {HEADER: token}
    request: Any = SimpleNamespace(headers=headers, query_params=query)
    return bytes((await to.answer(request)).body)


def test_only_who_has_the_token_reads_and_another_process_begins_anew(loaded: LoadedVersion) -> None:
    import asyncio

    made = notes(record=1.0)
    to = handover(made)
    ask(made, loaded, 0.5)
    for wrong in (None, "", "another", hashlib.sha256(TOKEN.encode()).hexdigest()):
        with pytest.raises(PermissionDenied, match="to the platform only"):
            asyncio.run(asked(to, wrong))
    body = asyncio.run(asked(to, TOKEN, instance="of a process before", after="1"))
    assert b'"rows":1' in body
    assert asyncio.run(asked(to, TOKEN, instance=to.instance, after="0")) == body
    assert b'"windows":[]' in asyncio.run(asked(to, TOKEN, instance=to.instance, after="1"))
