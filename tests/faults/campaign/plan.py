"""Which fault comes when: the seed alone says it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator


def planned(seed: int, kinds: Iterable[str]) -> Iterator[tuple[str, random.Random]]:
    """Kinds for ever, each in turn in an order of chance, each with a chance of its own.

    A fault draws as often as what it finds has it draw (which of so many processes); with one chance for all, the faults
    that come after would depend on it.
    """
    names, number = sorted(kinds), 0
    while names:
        for name in random.Random(f"{seed}-order-{number}").sample(names, len(names)):
            yield name, random.Random(f"{seed}-{number}")
            number += 1
