"""What several people's answers to one sample come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learnloop.annotation.quality.dawid_skene import Reliability


@dataclass(frozen=True)
class Consensus:
    """``label`` is None when no label is ahead. ``strength`` is from 0 to 1; ``rule`` says what it is made of."""

    label: str | None
    strength: float
    rule: str


def majority(answers: Sequence[tuple[str, str]]) -> Consensus:
    """The label that most ``(annotator, label)`` give; its strength is their share."""
    ranked = Counter(label for _, label in answers).most_common()
    label, votes = ranked[0]
    ahead = len(ranked) == 1 or ranked[1][1] < votes
    return Consensus(label if ahead else None, votes / len(answers), f"{votes} of {len(answers)} agree")


def dawid_skene(answers: Sequence[tuple[str, str]], reliability: Reliability) -> Consensus:
    """The likeliest label, given how each of the annotators confuses classes; its strength is its probability.

    No label is ahead when the likeliest is one that nobody has given.
    """
    probabilities = reliability.posterior(answers)
    best = int(np.argmax(probabilities))
    probability = float(probabilities[best])
    label = reliability.classes[best]
    given = any(answer == label for _, answer in answers)
    rule = f"Dawid-Skene: {label} with {probability:.2f} from {len(answers)} answers"
    return Consensus(label if given else None, probability, rule)
