"""Another structure for a network that has learned: wider and deeper with the same function, or pruned.

Net2Net (Chen, Goodfellow & Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016), for networks of
dense layers under ReLU. A layer is ``(inputs, units)``; a network of n hidden layers has n + 1 of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

MOST_ADDED = 10  # hidden layers: an identity under ReLU each, which nothing but depth distinguishes


@dataclass(frozen=True)
class Network:
    """Weights, each (inputs, units), and biases, each (units,), of all layers, the output's last."""

    weights: list[Floats]
    biases: list[Floats]

    @property
    def hidden(self) -> list[int]:
        """Units of each hidden layer."""
        return [layer.shape[1] for layer in self.weights[:-1]]


def reshaped(network: Network, hidden: Sequence[int], seed: int) -> Network | None:
    """``network`` with the hidden layers ``hidden``.

    Where no layer becomes narrower, it computes what it did before, to rounding: wider layers get copies of their units,
    which share the weights that lead on from them, and new layers are identities after the last hidden layer. A narrower
    layer keeps the units that matter most.

    Returns:
        None when it would have to lose a layer: no part of the old network then does what one of the new has to.
    """
    if len(hidden) < len(network.hidden) or len(hidden) > len(network.hidden) + MOST_ADDED:
        return None
    generator = np.random.default_rng(seed)
    while len(network.hidden) < len(hidden):
        network = _deeper(network)
    for place, width in enumerate(hidden):
        now = network.hidden[place]
        network = _wider(network, place, width, generator) if width > now else _narrower(network, place, width)
    return network


def keeps_its_function(before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether a network of the widths ``before`` can become one of ``after`` without a change of what it computes."""
    carried = [*before, *[before[-1]] * (len(after) - len(before))]
    return len(after) >= len(before) and all(new >= old for old, new in zip(carried, after, strict=True))


def _wider(network: Network, place: int, width: int, generator: np.random.Generator) -> Network:
    """Net2WiderNet: each new unit is a copy of a random old one. Copies share what leads on from them, in uneven parts.

    Even parts would give copies the same gradients, and they would stay copies for ever.
    """
    weights, biases = list(network.weights), list(network.biases)
    units = weights[place].shape[1]
    source = np.concatenate([np.arange(units), generator.integers(units, size=width - units)])
    parts = generator.uniform(0.5, 1.5, size=width)
    parts /= np.bincount(source, weights=parts, minlength=units)[source]
    weights[place] = weights[place][:, source]
    biases[place] = biases[place][source]
    after = weights[place + 1]
    weights[place + 1] = (after[source] * parts[:, None]).astype(after.dtype)
    return Network(weights, biases)


def _deeper(network: Network) -> Network:
    """Net2DeeperNet: one more layer, the identity. What comes out of a ReLU is not negative, so a second one keeps it."""
    output, bias = network.weights[-1], network.biases[-1]
    identity = np.eye(len(output), dtype=output.dtype)
    return Network(
        [*network.weights[:-1], identity, output], [*network.biases[:-1], np.zeros(len(output), bias.dtype), bias]
    )


def _narrower(network: Network, place: int, width: int) -> Network:
    """Keep the ``width`` units with the largest product of incoming and outgoing weights (their norms), in their order.

    What a unit adds to the next layer is bounded by that product, for inputs of norm 1.
    """
    weights, biases = list(network.weights), list(network.biases)
    if width == weights[place].shape[1]:
        return network
    incoming = np.hypot(np.linalg.norm(weights[place], axis=0), biases[place])
    matters = incoming * np.linalg.norm(weights[place + 1], axis=1)
    kept = np.sort(np.argsort(-matters, kind="stable")[:width])
    weights[place], biases[place] = weights[place][:, kept], biases[place][kept]
    weights[place + 1] = weights[place + 1][kept]
    return Network(weights, biases)
