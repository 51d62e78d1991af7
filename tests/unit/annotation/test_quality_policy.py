"""What follows from a sample's answers, case by case."""

from __future__ import annotations

import numpy as np
import pytest

from learnloop.annotation.quality.dawid_skene import Reliability
from learnloop.annotation.quality.policy import Opinion, decide, wanted
from learnloop.datasets.schema import QualityConfig


def opinions(*given: str) -> list[Opinion]:
    """``ben:dog`` is pending, ``ben:dog+`` checked, ``ben:dog-`` needs a second opinion."""
    standing = {"+": "checked", "-": "second_opinion"}
    return [
        Opinion(name, label.rstrip("+-"), standing.get(label[-1], "pending"))
        for name, label in (text.split(":") for text in given)
    ]


@pytest.mark.parametrize(
    ("given", "gold", "action", "label", "rule"),
    [
        (["ben:dog"], True, "wait", None, "gold task"),
        (["ben:dog+"], True, "confirm", "dog", "gold task passed"),
        (["ben:dog-"], True, "more", None, "another opinion"),
        (["ben:dog"], False, "confirm", "dog", "no gold questions"),
        (["ben:dog-"], False, "more", None, "another opinion"),
        (["ben:dog-", "eva:dog"], True, "confirm", "dog", "two agree"),
        (["ben:dog-", "eva:dog-"], True, "confirm", "dog", "two agree"),
        (["ben:dog-", "eva:cat"], True, "wait", None, "gold task"),
        (["ben:dog-", "eva:cat+"], True, "confirm", "cat", "gold task passed"),
        (["ben:dog-", "eva:cat"], False, "more", None, "another opinion"),
        (["ben:dog-", "eva:cat-", "kim:eel-"], True, "review", None, "3 people differ: 1 × dog, 1 × cat, 1 × eel"),
        (["ben:dog-", "eva:cat-", "kim:eel"], True, "review", None, "3 people differ"),
    ],
)
def test_a_sample_that_one_person_answers(given, gold, action, label, rule) -> None:
    verdict = decide(opinions(*given), QualityConfig(most_opinions=3), asked=1, gold=gold)
    assert (verdict.action, verdict.label) == (action, label)
    assert rule in verdict.rule


@pytest.mark.parametrize(
    ("given", "action", "label", "rule"),
    [
        (["a:dog"], "more", None, "1 of 3 have answered"),
        (["a:dog", "b:dog"], "more", None, "2 of 3 have answered"),
        (["a:dog", "b:dog", "c:cat"], "confirm", "dog", "2 of 3 agree"),
        (["a:dog", "b:cat", "c:eel"], "more", None, "no consensus yet"),
        (["a:dog-", "b:dog", "c:cat"], "more", None, "3 of 4 have answered"),  # a doubtful answer is one more to get
        (["a:dog", "b:cat", "c:eel", "d:dog"], "more", None, "no consensus yet: 2 of 4 agree"),
        (["a:dog", "b:cat", "c:eel", "d:dog", "e:cat"], "review", None, "5 people differ: 2 × dog, 2 × cat, 1 × eel"),
        (["a:dog", "b:cat", "c:eel", "d:dog", "e:dog"], "confirm", "dog", "3 of 5 agree"),
    ],
)
def test_a_sample_that_three_people_answer(given, action, label, rule) -> None:
    quality = QualityConfig(overlap=3, most_opinions=5)
    verdict = decide(opinions(*given), quality, asked=3, gold=True)
    assert (verdict.action, verdict.label) == (action, label)
    assert rule in verdict.rule


def test_two_who_differ_are_no_consensus_even_where_half_is_enough() -> None:
    verdict = decide(opinions("a:dog", "b:cat"), QualityConfig(overlap=2, agreement=0.5), asked=2, gold=True)
    assert verdict.action == "more"


def test_a_policy_that_checks_nothing_confirms_at_once() -> None:
    verdict = decide(opinions("a:dog"), QualityConfig(check="none"), asked=1, gold=True)
    assert (verdict.action, verdict.label) == ("confirm", "dog")
    assert decide(opinions("a:dog-"), QualityConfig(check="none"), asked=1, gold=True).action == "more"


def test_a_policy_that_reviews_everything_confirms_nothing_itself() -> None:
    quality = QualityConfig(check="review", overlap=2)
    for given, asked in ((["a:dog"], 1), (["a:dog", "b:dog"], 2)):
        verdict = decide(opinions(*given), quality, asked=asked, gold=True)
        assert (verdict.action, verdict.kind, verdict.label) == ("review", "policy", "dog")


def reliability(**correct: float) -> Reliability:
    def confusion(share: float) -> np.ndarray:
        return np.full((3, 3), (1 - share) / 2) + np.eye(3) * (share - (1 - share) / 2)

    return Reliability(("cat", "dog", "eel"), np.full(3, 1 / 3), {name: confusion(c) for name, c in correct.items()})


def test_one_reliable_person_outweighs_two_who_guess() -> None:
    quality = QualityConfig(overlap=3, consensus="dawid_skene", agreement=0.9)
    known = reliability(ann=0.99, bob=0.4, cid=0.4)
    given = opinions("ann:cat", "bob:dog", "cid:dog")
    verdict = decide(given, quality, asked=3, gold=True, reliability=known)
    assert (verdict.action, verdict.label) == ("confirm", "cat")
    assert "Dawid-Skene" in verdict.rule
    assert decide(given, quality, asked=3, gold=True).action == "more"  # nothing fitted yet: two of three are below 0.9


def test_a_fit_of_other_classes_is_not_asked() -> None:
    quality = QualityConfig(overlap=2, consensus="dawid_skene")
    verdict = decide(opinions("ann:fox", "bob:fox"), quality, asked=2, gold=True, reliability=reliability(ann=0.9))
    assert (verdict.label, verdict.rule) == ("fox", "2 of 2 agree")


def test_a_share_of_the_samples_is_answered_by_several() -> None:
    quality = QualityConfig(overlap=3, overlap_share=0.2)
    asked = [wanted(f"sample-{n}", quality) for n in range(10_000)]
    assert set(asked) == {1, 3}
    assert asked.count(3) == pytest.approx(2000, abs=150)
    assert asked == [wanted(f"sample-{n}", quality) for n in range(10_000)]  # and always the same ones
    assert {wanted(f"s{n}", QualityConfig(overlap=2)) for n in range(1000)} == {2}
    assert {wanted(f"s{n}", QualityConfig()) for n in range(1000)} == {1}
