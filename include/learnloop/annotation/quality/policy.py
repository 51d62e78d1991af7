"""What follows from a sample's answers, by the dataset's ``loop: quality:``. Pure.

A sample that one person answers (overlap 1) is confirmed when that person passes their next gold task, or when two people
agree. A sample that several answer is confirmed by consensus once all have. Whatever is still open after
``most_opinions`` answers goes to a reviewer.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from learnloop.annotation.quality.consensus import Consensus, dawid_skene, majority
from learnloop.annotation.quality.dawid_skene import Reliability
from learnloop.datasets.schema import QualityConfig

Action = Literal["confirm", "more", "wait", "review"]


@dataclass(frozen=True)
class Opinion:
    """One person's answer. ``standing``: ``pending`` (not checked yet), ``checked`` (their gold task was right), or
    ``second_opinion`` (it was not, or something else speaks against the answer).
    """

    annotator: str
    label: str
    standing: str


@dataclass(frozen=True)
class Verdict:
    """``confirm`` a ``label``, ask for ``more`` opinions, ``wait`` for a gold task, or have a reviewer decide.

    ``rule`` says why; ``kind`` is the review's (see ``Review``).
    """

    action: Action
    rule: str
    label: str | None = None
    kind: str = "disagreement"


def wanted(sample_id: str, quality: QualityConfig) -> int:
    """How many people answer a sample: ``overlap`` for its share of the samples (always the same ones), else one."""
    if quality.overlap == 1:
        return 1
    return quality.overlap if zlib.crc32(sample_id.encode()) < quality.overlap_share * 2**32 else 1


def decide(
    opinions: Sequence[Opinion],
    quality: QualityConfig,
    *,
    asked: int,
    gold: bool,
    reliability: Reliability | None = None,
) -> Verdict:
    """What becomes of a sample with these opinions, oldest first; at least one.

    Args:
        asked: of how many people (:func:`wanted`).
        gold: whether answers are checked by gold tasks.
        reliability: for ``consensus: dawid_skene``; without it (nothing was fitted yet) the majority decides.
    """
    verdict = _of_one(opinions, quality, gold) if asked == 1 else _of_many(opinions, quality, asked, reliability)
    if verdict.action == "confirm" and quality.check == "review":
        return Verdict("review", f"every label of this dataset is reviewed ({verdict.rule})", verdict.label, "policy")
    return verdict


def _of_one(opinions: Sequence[Opinion], quality: QualityConfig, gold: bool) -> Verdict:
    label, votes = Counter(opinion.label for opinion in opinions).most_common(1)[0]
    if votes > 1:
        return Verdict("confirm", "two agree", label)
    passed = [opinion for opinion in opinions if opinion.standing == "checked"]
    if passed:
        return Verdict("confirm", "gold task passed", passed[-1].label)
    waiting = any(opinion.standing == "pending" for opinion in opinions)
    if waiting and len(opinions) == 1 and quality.check != "gold":
        return Verdict("confirm", "not checked: the dataset's policy", label)
    if waiting and len(opinions) == 1 and not gold:
        return Verdict("confirm", "no gold questions to check by", label)
    if len(opinions) >= quality.most_opinions:
        return Verdict("review", _differing(opinions))
    if waiting and gold and quality.check == "gold":
        return Verdict("wait", "waits for the annotator's next gold task")
    return Verdict("more", "needs another opinion")


def _of_many(
    opinions: Sequence[Opinion], quality: QualityConfig, asked: int, reliability: Reliability | None
) -> Verdict:
    doubtful = sum(opinion.standing == "second_opinion" for opinion in opinions)
    needed = min(asked + doubtful, quality.most_opinions)
    if len(opinions) < needed:
        return Verdict("more", f"{len(opinions)} of {needed} have answered")
    found = _consensus(opinions, quality, reliability)
    if found.label is not None and found.strength >= quality.agreement:
        return Verdict("confirm", found.rule, found.label)
    if len(opinions) >= quality.most_opinions:
        return Verdict("review", _differing(opinions))
    return Verdict("more", f"no consensus yet: {found.rule}")


def _consensus(opinions: Sequence[Opinion], quality: QualityConfig, reliability: Reliability | None) -> Consensus:
    answers = [(opinion.annotator, opinion.label) for opinion in opinions]
    if quality.consensus == "majority" or reliability is None:
        return majority(answers)
    known = {label for _, label in answers} <= set(reliability.classes)
    # A fit from before the classes changed cannot judge a new one.
    return dawid_skene(answers, reliability) if known else majority(answers)


def _differing(opinions: Sequence[Opinion]) -> str:
    votes = Counter(opinion.label for opinion in opinions).most_common()
    each = ", ".join(f"{count} × {label}" for label, count in votes)
    return f"{len(opinions)} people differ: {each}"
