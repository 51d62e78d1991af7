"""Query strategies: which of the predicted samples are worth asking a person about."""

from learnloop.annotation.strategies import covering, diverse, ranked  # noqa: F401  (each registers its strategies)
from learnloop.annotation.strategies.contract import (
    STRATEGIES,
    Floats,
    Indices,
    Random,
    Shortlist,
    Strategy,
    check_known,
    choose,
    find,
    narrow,
)
from learnloop.annotation.strategies.diverse import first_pool
from learnloop.annotation.strategies.scores import confidence, consensus_divergence, entropy, margin, vote_entropy

__all__ = [
    "STRATEGIES",
    "Floats",
    "Indices",
    "Random",
    "Shortlist",
    "Strategy",
    "check_known",
    "choose",
    "confidence",
    "consensus_divergence",
    "entropy",
    "find",
    "first_pool",
    "margin",
    "narrow",
    "vote_entropy",
]
