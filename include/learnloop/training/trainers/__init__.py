"""The trainers by name. A new one is a file here and a line below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from learnloop.errors import InvalidInput
from learnloop.training.trainers.base import Fitted, Scale, Trainer
from learnloop.training.trainers.boosting import BoostingTrainer
from learnloop.training.trainers.logistic import LogisticTrainer
from learnloop.training.trainers.mlp import MLPTrainer
from learnloop.training.trainers.sgd import SGDTrainer
from learnloop.training.trainers.torch_network import TorchTrainer

TRAINERS: dict[str, type[Trainer]] = {
    "boosting": BoostingTrainer,
    "logistic": LogisticTrainer,
    "mlp": MLPTrainer,
    "sgd": SGDTrainer,
    "torch": TorchTrainer,
}

SCALES: dict[str, Scale] = {"text_classification": "rarity", "tabular_classification": "each"}
"""How features of a task type are scaled; pixels, and all else, share one scale."""

# What a job's params hold beside those of its trainer.
_NOT_THE_TRAINERS = {"name", "seed", "from_scratch", "parameters"}


def trainer(params: Mapping[str, Any]) -> Trainer:
    """The trainer that ``params["name"]`` (default ``mlp``) names, with the other parameters checked.

    Raises:
        InvalidInput: there is no such trainer, or it takes no such parameter.
    """
    name = params.get("name", "mlp")
    if name not in TRAINERS:
        raise InvalidInput(f"there is no trainer {name!r}; there are {', '.join(sorted(TRAINERS))}")
    own = {key: value for key, value in params.items() if key not in _NOT_THE_TRAINERS}
    return TRAINERS[name].from_params({**own, **(params.get("parameters") or {})})


def trainer_for(params: Mapping[str, Any], task_type: str) -> Trainer:
    """The trainer that ``params`` name, scaling features as the task type asks for unless they say otherwise."""
    return trainer({"scale": SCALES.get(task_type, "shared"), **params})


__all__ = ["SCALES", "TRAINERS", "Fitted", "Trainer", "trainer", "trainer_for"]
