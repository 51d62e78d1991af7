"""The trainers by name. A new one is a file here and a line below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from learnloop.errors import InvalidInput
from learnloop.training.trainers.base import Fitted, Trainer
from learnloop.training.trainers.logistic import LogisticTrainer
from learnloop.training.trainers.mlp import MLPTrainer

TRAINERS: dict[str, type[Trainer]] = {"mlp": MLPTrainer, "logistic": LogisticTrainer}

# What a job's params hold beside those of its trainer.
_NOT_THE_TRAINERS = {"name", "seed", "from_scratch"}


def trainer(params: Mapping[str, Any]) -> Trainer:
    """The trainer that ``params["name"]`` (default ``mlp``) names, with the other parameters checked.

    Raises:
        InvalidInput: there is no such trainer, or it takes no such parameter.
    """
    name = params.get("name", "mlp")
    if name not in TRAINERS:
        raise InvalidInput(f"there is no trainer {name!r}; there are {', '.join(sorted(TRAINERS))}")
    return TRAINERS[name].from_params({key: value for key, value in params.items() if key not in _NOT_THE_TRAINERS})


__all__ = ["TRAINERS", "Fitted", "Trainer", "trainer"]
