"""How annotators confuse classes: a reviewer's to see, nobody's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from test_page_app import words
from test_page_progress import standing, view

from annotation_app import confusions
from learnloop.annotation.quality.dawid_skene import Reliability, fit

CLASSES = ["cat", "<eel>", "dog"]


@pytest.fixture
def reliability() -> dict[str, Any]:
    """Fitted to 90 samples: ann is always right, ben calls every second cat a dog, eve every eel a cat."""
    truth = np.arange(90) % 3
    said = [truth, np.where((truth == 0) & (np.arange(90) % 2 == 0), 2, truth), np.where(truth == 1, 0, truth)]
    sample, person = np.tile(np.arange(90), 3), np.repeat(np.arange(3), 90)
    found = fit(sample, person, np.concatenate(said), 3, known=dict(enumerate(truth.tolist())))
    people = dict(zip(("ann", "ben", "eve"), found.confusions, strict=True))
    return {**Reliability(tuple(CLASSES), found.priors, people).stored(), "iterations": 1, "answers": 270}


def test_the_least_reliable_come_first_with_what_they_confuse(reliability) -> None:
    shown = confusions.summary(reliability)
    assert [shown.index(name) for name in ("eve", "ben", "ann")] == sorted(
        shown.index(name) for name in ("ann", "ben", "eve")
    )
    assert "&lt;eel&gt; → cat (" in shown
    assert "cat → dog (48 %)" in shown  # half of the cats, less what smoothing takes
    assert "<eel>" not in shown
    assert shown.endswith("<td>–</td></tr></tbody></table></div>")  # ann


def test_a_matrix_has_true_classes_in_rows(reliability) -> None:
    shown = confusions.whole(reliability, "ben")
    rows = shown.split("<tr>")[2:]
    assert [row.count("<td>") for row in rows] == [3, 3, 3]
    assert rows[0].startswith('<th scope="row">cat</th><td><b>')
    assert "<b>" in rows[1].split("<td>")[2]
    assert "<eel>" not in shown


def test_a_reviewer_sees_everybodys_and_one_in_full(page: AppTest, double, reliability) -> None:
    double.reliability = reliability
    view(page, "rita")
    assert "&lt;eel&gt; → cat" in words(page)
    assert "How ben answers" not in words(page)
    page.selectbox(key="confusion_of").set_value("ben").run()
    assert "How ben answers" in words(page)


def test_nobody_sees_their_own_for_gold_answers_are_in_it(page: AppTest, double, reliability) -> None:
    double.reliability = reliability
    view(page, "anna")
    assert "→" not in words(page)
    found = standing(double, "anna")
    found.look()
    assert found.reliability is None


def test_before_a_check_and_with_too_many_classes_there_is_less(page: AppTest, double, reliability) -> None:
    view(page, "rita")
    assert "confuse" not in words(page)
    many = {"classes": [str(n) for n in range(13)], "priors": [1 / 13] * 13, "answers": 9}
    double.reliability = {**many, "confusions": {"ann": np.eye(13).tolist()}}
    page.run()
    assert "confuse" in words(page)
    assert not [each for each in page.selectbox if each.key == "confusion_of"]
