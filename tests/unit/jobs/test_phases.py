"""A job's phases as it writes them, and as they are read from what may be anything."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from learnloop.jobs.phases import MOST, PHASES, phase, read_phases

JOB = "00f067aa0ba902b7"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01"


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", TRACE.format(JOB))


def test_a_job_that_is_not_traced_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", TRACE.format(JOB)[:-1] + "0"):
        monkeypatch.setenv("TRACEPARENT", value)
        with phase(tmp_path, "fit"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_phases_are_below_the_job_and_below_each_other(tmp_path: Path, traced: None) -> None:
    with phase(tmp_path, "fit"):
        inside = os.environ["TRACEPARENT"]
        with phase(tmp_path, "fold"):
            pass
    assert os.environ["TRACEPARENT"] == TRACE.format(JOB)
    fit, fold = read_phases(tmp_path, JOB)
    assert (fit.name, fit.parent, fold.name, fold.parent) == ("fit", JOB, "fold", fit.id)
    assert inside == TRACE.format(fit.id)
    assert fit.ended is not None
    assert fold.ended is not None
    assert fit.begun <= fold.begun <= fold.ended <= fit.ended
    assert read_phases(tmp_path, "1" * 16) == []  # another attempt's


def test_what_went_wrong_and_what_did_not_end(tmp_path: Path, traced: None) -> None:
    def fit() -> None:
        with phase(tmp_path, "fit"):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fit()
    (failed,) = read_phases(tmp_path, JOB)
    assert failed.error == "ValueError: no"
    begun = {"id": "2" * 16, "parent": JOB, "phase": "save", "at": 5}
    with (tmp_path / PHASES).open("a") as file:
        file.write(json.dumps(begun) + "\n")
    assert read_phases(tmp_path, JOB)[1].ended is None


def test_lines_that_are_no_phases_are_passed_over(tmp_path: Path) -> None:
    good = {"id": "2" * 16, "parent": JOB, "phase": "save", "at": 5}
    lines = [
        "not JSON",
        "[]",
        "7",
        '{"id": "xyz", "parent": "' + JOB + '", "phase": "p", "at": 1}',
        json.dumps({**good, "at": "soon"}),
        json.dumps({**good, "at": -1}),
        json.dumps({**good, "phase": ["x"]}),
        json.dumps({"id": "3" * 16, "at": 7, "error": None}),
        json.dumps({"id": ["x"], "at": 7}),
        json.dumps(good),
        json.dumps({"id": "2" * 16, "at": 4}),
        json.dumps({"id": "2" * 16, "at": 9, "error": "x" * 5000}),
    ]
    (tmp_path / PHASES).write_text("\n".join(lines))
    (one,) = read_phases(tmp_path, JOB)
    assert (one.name, one.ended, len(one.error or "")) == ("save", 9, 1000)
    (tmp_path / PHASES).write_text("\n".join(json.dumps({**good, "id": f"{n + 1:016x}"}) for n in range(MOST + 10)))
    assert len(read_phases(tmp_path, JOB)) == MOST


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(json.dumps({"id": "2" * 16, "parent": JOB, "phase": "secret", "at": 5}))
    (tmp_path / PHASES).symlink_to(other)
    assert read_phases(tmp_path, JOB) == []
