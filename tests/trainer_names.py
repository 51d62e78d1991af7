"""The trainers that tests go through. That in PyTorch is a long proof, where PyTorch is installed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from learnloop.training.trainers import TRAINERS

NAMES = [
    *sorted(set(TRAINERS) - {"torch"}),
    pytest.param(
        "torch",
        marks=[
            pytest.mark.long,
            pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed (learnloop[torch])"),
        ],
    ),
]
