from __future__ import annotations

from datetime import timedelta

import pytest

from learnloop.serving.bodies import WrongRequest
from learnloop.serving.durations import FOREVER, keep_alive


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, 300), (0, 0), (90, 90), ("90", 90), ("1.5s", 1.5), ("5m", 300), ("1h30m", 5400), ("250ms", 0.25)],
)
def test_durations_as_ollama_takes_them(value, seconds):
    assert keep_alive(value) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", [-1, "-1", "-1m", 1e300, "99999999999999999999h"])
def test_for_ever_and_longer(value):
    assert keep_alive(value) == FOREVER


@pytest.mark.parametrize("value", ["", "soon", "5 minutes", True, [], float("nan"), "-"])
def test_what_is_no_duration_is_refused(value):
    with pytest.raises(WrongRequest, match="keep_alive is"):
        keep_alive(value)
