"""A network in PyTorch, saved as ONNX: convolutions for images. PyTorch is the extra ``learnloop[torch]``.

It is also the example of a trainer with an image of its own (deploy/images/torch): what it leaves is a model like any
other, and neither the platform nor the model server needs PyTorch.
"""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from learnloop.errors import InvalidInput
from learnloop.training.data import Labels, Rows
from learnloop.training.onnx_files import OnnxClassifier
from learnloop.training.trainers.base import (
    Fitted,
    Progress,
    Trainer,
    balanced_weights,
    check_samples,
    fit_scaler,
    no_progress,
    plateau,
)
from learnloop.training.trainers.carrying import carried, columns_of
from learnloop.training.trainers.checkpoint import RESUMED, Checkpoint

PROGRESS_EPOCHS = 10
SHRINK = 0.5
PLATEAU_EPOCHS = 15
LAST = ("last.weight", "last.bias")
SCALE = ("scale.mean", "scale.scale")


class TorchTrainer(Trainer):
    """AdamW on cross-entropy, all classes weighing the same; on the CPU.

    ``filters`` are convolutions (3 x 3, ReLU, the largest of 2 x 2) of features that are the pixels of an ``image``; then
    come ``hidden`` layers. A parent of the same structure gives half of its weights, as in `MLPTrainer`.
    """

    hidden: list[Annotated[int, Field(ge=1, le=8192)]] = Field(default=[64], max_length=10)
    image: tuple[int, int, int] | None = None
    """Height, width and channels of what the features are the pixels of, channels last."""
    filters: list[Annotated[int, Field(ge=1, le=1024)]] = Field(default=[], max_length=6)
    weight_decay: float = Field(default=0.01, ge=0)
    learning_rate: float = Field(default=0.003, gt=0, le=1)
    max_epochs: int = Field(default=150, ge=1)

    @model_validator(mode="after")
    def _filters_fit_the_image(self) -> TorchTrainer:
        if self.filters and self.image is None:
            raise ValueError("filters need image: [height, width, channels]")
        if self.image is not None and min(self.image[:2]) < 2 ** len(self.filters):
            raise ValueError(f"{len(self.filters)} filters halve height and width each; {self.image[:2]} is too small")
        return self

    def fit(
        self,
        X: Rows,
        y: Labels,
        classes: tuple[str, ...],
        *,
        parent: Any = None,
        seed: int,
        progress: Progress = no_progress,
        checkpoint_dir: Path | None = None,
    ) -> Fitted:
        check_samples(X, y, classes)
        modules = _modules()
        torch = modules.torch
        network = self._network(modules, X, len(classes), seed)
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        checkpoint = Checkpoint(checkpoint_dir, "torch")
        losses: list[float] = []
        if (state := checkpoint.load()) is not None:
            losses, start = state["losses"], RESUMED
            modules.set_weights(network, state["weights"])
            modules.set_moments(optimizer, state["moments"])
        else:
            start = "cold: there is no parent" if parent is None else _start_from(parent, network, classes, modules)
        rows, labels, weights = (torch.from_numpy(part) for part in (X, y, balanced_weights(y).astype(np.float32)))
        size = min(len(y), max(32, min(len(y) // 16, 256)))
        while len(losses) < self.max_epochs and not plateau(losses, PLATEAU_EPOCHS):
            # An order by seed and epoch alone, so that a resumed fit goes on exactly where it was.
            order = torch.from_numpy(np.random.default_rng([seed, len(losses)]).permutation(len(y)))
            total = 0.0
            for chosen in order.split(size):
                scores = network[:-1](rows[chosen])
                each = torch.nn.functional.cross_entropy(scores, labels[chosen], reduction="none")
                loss = (each * weights[chosen]).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(chosen)
            losses.append(total / len(y))
            if len(losses) % PROGRESS_EPOCHS == 0:
                progress(epoch=len(losses), max_epochs=self.max_epochs, loss=round(losses[-1], 6))
            checkpoint.save(
                {"losses": losses, "weights": modules.weights(network), "moments": modules.moments(optimizer)}
            )
        progress(epoch=len(losses), max_epochs=self.max_epochs, loss=round(losses[-1], 6), done=True)
        return Fitted(
            OnnxClassifier(modules.in_onnx(network, classes, X.shape[1])),
            {"epochs": len(losses), "loss": losses[-1], "start": start},
        )

    def _network(self, modules: ModuleType, X: Rows, classes: int, seed: int) -> Any:
        if self.image is not None and math.prod(self.image) != X.shape[1]:
            raise InvalidInput(
                f"an image of {self.image} (height, width, channels) has {math.prod(self.image)} numbers, and the samples"
                f" have {X.shape[1]} features"
            )
        scaler = fit_scaler(X, self.scale)
        scaling = modules.Scaling(scaler.mean_, scaler.scale_)
        return modules.network(
            scaling, image=self.image, filters=self.filters, hidden=self.hidden, classes=classes, seed=seed
        )


def _modules() -> ModuleType:
    try:
        from learnloop.training.trainers import torch_modules
    except ImportError as error:
        raise InvalidInput(
            "the trainer torch needs PyTorch, which is not installed here; install learnloop[torch] where jobs run, or"
            " have them run in an image that has it (deploy/images/torch)"
        ) from error
    return torch_modules


def _start_from(parent: Any, network: Any, classes: tuple[str, ...], modules: ModuleType) -> str:
    """Move the network's weights half way to the parent's; says what was done."""
    learned = modules.weights_in_onnx(parent.content) if isinstance(parent, OnnxClassifier) else {}
    if any(name not in learned for name in (*LAST, *SCALE)):
        return "cold: the parent is no network of this trainer's"
    kept = columns_of(list(parent.classes_), classes)
    if not kept:
        return "cold: the parent has other classes"
    fresh = modules.weights(network)
    if len(learned[SCALE[0]]) != len(fresh[SCALE[0]]):
        return "cold: the parent has other features"
    inner = [name for name in fresh if name not in (*LAST, *SCALE)]
    widths = [learned[name].shape if name in learned else None for name in inner]
    if widths != [fresh[name].shape for name in inner] or learned[LAST[0]].shape[1] != fresh[LAST[0]].shape[1]:
        return "cold: the parent has another structure"
    for name in inner:
        fresh[name] = (1 - SHRINK) * fresh[name] + SHRINK * learned[name]
    for name in LAST:
        fresh[name] = carried(fresh[name].T, learned[name].T, kept, SHRINK).T
    modules.set_weights(network, fresh)
    new = len(classes) - len(kept)
    return f"warm: the parent's weights, shrunk to {SHRINK:g}" + (f"; {new} new classes start afresh" if new else "")
