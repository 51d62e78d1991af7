"""The guide of a dataset at the command line, over the real API on a real socket."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import test_review_cli
from test_review_cli import run, url  # noqa: F401
from typer.testing import Result

from learnloop.client import LearnloopClient
from learnloop.errors import PreconditionFailed

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def scientist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(test_review_cli.ROLES, "sue", "scientist")


def test_instructions_come_from_a_file_and_styles_are_changed_one_by_one(run: Run, tmp_path: Path) -> None:  # noqa: F811
    assert "no instructions yet" in run("ann", "guide", "show", "pets").output
    words = tmp_path / "guide.md"
    words.write_text("# 猫\n\nEars are pointed.")
    run("sue", "guide", "write", "pets", str(words), "--style", "cat=#1f77b4,k")
    shown = run("sue", "guide", "write", "pets", "--style", "dog=#ff7f0e").output
    assert "# 猫" in shown
    assert "written by sue" in shown
    lines = {
        line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.strip().startswith(("cat", "dog"))
    }
    assert lines == {"cat": ["#1f77b4", "K"], "dog": ["#ff7f0e"]}
    run("sue", "guide", "write", "pets", "--style", "cat=")
    assert "#1f77b4" not in run("ann", "guide", "show", "pets").output


def test_what_is_wrong_is_said(run: Run, tmp_path: Path) -> None:  # noqa: F811
    assert "must be such as cat=#1f77b4,C" in run("sue", "guide", "write", "pets", "--style", "cat", code=1).output
    assert "is no colour" in run("sue", "guide", "write", "pets", "--style", "cat=red", code=1).output
    assert "cannot be read" in run("sue", "guide", "write", "pets", str(tmp_path / "none.md"), code=1).output
    assert "it needs a role" in run("ann", "guide", "write", "pets", "--style", "cat=#1f77b4", code=1).output


def test_the_client_is_refused_what_it_has_not_seen(url: str) -> None:  # noqa: F811
    with LearnloopClient(url, "sue") as sue:
        seen = sue.guide("pets")["etag"]
        sue.write_guide("pets", instructions="first", if_match=seen)
        with pytest.raises(PreconditionFailed, match="changed since you looked"):
            sue.write_guide("pets", instructions="second", if_match=seen)
        assert sue.guide("pets")["instructions"] == "first"
