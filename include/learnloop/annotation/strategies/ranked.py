"""Strategies that look at predictions alone."""

from __future__ import annotations

import numpy as np

from learnloop.annotation.strategies import scores
from learnloop.annotation.strategies.contract import Floats, Indices, Random, ranked

# A committee often agrees to the last digit (always, when it has one member): then the margin of its mean decides. Small
# enough to never overrule votes: those of up to 10 models differ in entropy by 0.01 or more.
TIE = 1e-6


@ranked()
def random(probabilities: Floats, committee: Floats, random: Random) -> Floats:
    """Any: what the others are measured against, and the only choice that says how good a model is."""
    return random.random(len(probabilities))


@ranked()
def least_confidence(probabilities: Floats, committee: Floats, random: Random) -> Floats:
    """Those whose likeliest class is least likely (Lewis and Gale 1994)."""
    return scores.confidence(probabilities)


@ranked()
def margin_sampling(probabilities: Floats, committee: Floats, random: Random) -> Floats:
    """Those whose two likeliest classes are closest (Scheffer, Decomain, Wrobel 2001)."""
    return scores.margin(probabilities)


@ranked()
def entropy_sampling(probabilities: Floats, committee: Floats, random: Random) -> Floats:
    """Those with the highest entropy (Dagan and Engelson 1995)."""
    return -scores.entropy(probabilities)


@ranked(needs_committee=True)
def vote_entropy(probabilities: Floats, committee: Floats, random: Random) -> Floats:
    """Those that the committee's models call by the most different names; then those with the closest classes."""
    return TIE * scores.margin(committee.mean(axis=1)) - scores.vote_entropy(committee)


@ranked(needs_committee=True)
def committee_divergence(probabilities: Floats, committee: Floats, random: Random) -> Floats:
    """Those on which the committee's models differ most from their mean; then those with the closest classes."""
    return TIE * scores.margin(committee.mean(axis=1)) - scores.consensus_divergence(committee)


def _in_turns(scored: Floats, size: int, random: Random) -> Indices:
    """Predicted classes in turn, the smallest margin of each; what a class lacks goes to the others."""
    mixed = random.permutation(len(scored))
    margins, classes = scored[mixed, 0], scored[mixed, 1]
    by_class = np.lexsort((margins, classes))
    starts = np.searchsorted(classes[by_class], classes[by_class])
    turns = np.empty(len(scored), dtype=np.intp)
    turns[by_class] = np.arange(len(scored)) - starts
    return np.asarray(mixed[np.lexsort((margins, turns))[:size]])


@ranked(order=_in_turns)
def class_balanced(probabilities: Floats, committee: Floats, random: Random) -> Floats:
    """As many of each predicted class as there are, those with the closest classes first."""
    classes = probabilities.argmax(axis=1).astype(probabilities.dtype)
    return np.stack([scores.margin(probabilities), classes], axis=1)
