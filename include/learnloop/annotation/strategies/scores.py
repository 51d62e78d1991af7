"""How unsure a model, or a committee of models, is: one number a sample."""

from __future__ import annotations

import numpy as np

from learnloop.annotation.strategies.contract import Floats


def confidence(probabilities: Floats) -> Floats:
    """The largest probability of each row of ``[n, k]``."""
    return np.asarray(probabilities.max(axis=1))


def margin(probabilities: Floats) -> Floats:
    """The largest probability of each row of ``[n, k]`` less the second largest; 1 where there is one class."""
    if probabilities.shape[1] < 2:
        return np.ones(len(probabilities), dtype=probabilities.dtype)
    rows = np.arange(len(probabilities))
    best = probabilities.argmax(axis=1)
    others = probabilities.copy()
    others[rows, best] = -np.inf
    return np.asarray(probabilities[rows, best] - others.max(axis=1))


def entropy(probabilities: Floats) -> Floats:
    """Shannon entropy of each row of ``[n, k]``, in nats."""
    # The smallest number changes none that is not 0 itself, and makes 0 log 0 the 0 that it stands for.
    logarithms = np.log(probabilities + np.finfo(probabilities.dtype).tiny)
    return np.asarray(-np.einsum("...k,...k->...", probabilities, logarithms))


def vote_entropy(committee: Floats) -> Floats:
    """Entropy, in nats, of the votes of the ``m`` models of ``[n, m, k]`` (Engelson and Dagan 1996)."""
    models, classes = committee.shape[1:]
    votes = committee.argmax(axis=2)
    shares = np.stack([(votes == name).sum(axis=1) for name in range(classes)], axis=1) / models
    return entropy(shares)


def consensus_divergence(committee: Floats) -> Floats:
    """Mean Kullback-Leibler divergence, in nats, of the models of ``[n, m, k]`` to their mean (McCallum and Nigam 1998).

    It is the entropy of the mean less the mean of the entropies.
    """
    members = committee.astype(np.float64)
    return np.asarray(entropy(members.mean(axis=1)) - entropy(members).mean(axis=1))
