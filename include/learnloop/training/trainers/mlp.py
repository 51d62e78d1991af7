"""A multi-layer perceptron, trained epoch by epoch: warm starts, checkpoints, a stop at the plateau."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from learnloop.training.data import Labels, Rows
from learnloop.training.trainers.base import (
    Array,
    Fitted,
    Progress,
    Trainer,
    balanced_weights,
    check_samples,
    fit_scaler,
    no_progress,
    plateau,
    scaler_and_classifier,
)
from learnloop.training.trainers.carrying import carried, columns_of
from learnloop.training.trainers.checkpoint import RESUMED, Checkpoint
from learnloop.training.trainers.growing import Network, keeps_its_function, reshaped

PROGRESS_EPOCHS = 10
SHRINK = 0.5
PLATEAU_EPOCHS = 15  # without 1 % less loss: the end
CALL_SAMPLES = 1000  # scikit-learn checks its input at each call, which for 60 samples takes longer than an epoch


class MLPTrainer(Trainer):
    """Adam on cross-entropy with all classes weighing the same.

    Given a parent of the same structure it starts half way between fresh weights and the parent's: shrink and perturb
    (Ash & Adams, "On Warm-Starting Neural Network Training", NeurIPS 2020), since weights that were fitted round
    after round may generalise worse than fresh ones. On digits (12 seeds, 60 to 220 labels) it is no worse than a
    cold start, and with 32 hidden units half a point better.

    Given a parent of another structure it starts afresh; with ``grow`` it starts from the parent's weights brought into
    this structure (:mod:`learnloop.training.trainers.growing`): a wider or deeper model then predicts at first just what
    the parent does.
    """

    hidden: list[Annotated[int, Field(ge=1, le=8192)]] = Field(default=[32], min_length=1, max_length=10)
    alpha: float = Field(default=0.01, ge=0)
    learning_rate: float = Field(default=0.003, gt=0, le=1)
    max_epochs: int = Field(default=150, ge=1)
    grow: bool = False

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
        names = np.array(classes)[y]
        scaler = fit_scaler(X, self.scale)
        rows, weights = scaler.transform(X).astype(np.float32), balanced_weights(y)
        checkpoint = Checkpoint(checkpoint_dir, "mlp")
        classifier, start = checkpoint.load(), RESUMED
        if classifier is None:
            classifier, start = self.start(rows, names, classes, scaler, parent=parent, seed=seed)
        each = max(1, CALL_SAMPLES // len(y))  # epochs of one call
        epoch = min(each * len(classifier.loss_curve_), self.max_epochs)
        told = epoch
        while epoch < self.max_epochs and not plateau(classifier.loss_curve_, -(-PLATEAU_EPOCHS // each)):
            # An order by seed and epoch alone, so that a resumed fit goes on exactly where it was.
            upto = min(epoch + each, self.max_epochs)
            order = np.concatenate(
                [np.random.default_rng([seed, number]).permutation(len(y)) for number in range(epoch, upto)]
            )
            classifier.partial_fit(rows[order], names[order], sample_weight=weights[order])
            epoch = upto
            if epoch - told >= PROGRESS_EPOCHS:
                progress(epoch=epoch, max_epochs=self.max_epochs, loss=round(float(classifier.loss_), 6))
                told = epoch
            checkpoint.save(classifier)
        loss = float(classifier.loss_curve_[-1])
        progress(epoch=epoch, max_epochs=self.max_epochs, loss=round(loss, 6), done=True)
        _strip(classifier)
        return Fitted(
            Pipeline([("scaler", scaler), ("classifier", classifier)]),
            {"epochs": epoch, "loss": loss, "start": start},
        )

    def start(
        self, rows: Array, names: Any, classes: tuple[str, ...], scaler: StandardScaler, *, parent: Any, seed: int
    ) -> tuple[MLPClassifier, str]:
        """The classifier before its first epoch, behind ``scaler``, and what it starts from."""
        classifier = self._new(rows, names, classes, seed)
        if parent is None:
            return classifier, "cold: there is no parent"
        return classifier, self._start_from(parent, classifier, scaler)

    def _new(self, rows: Array, names: Any, classes: tuple[str, ...], seed: int) -> MLPClassifier:
        """A classifier with fresh weights for all classes, also those that no sample has yet."""
        classifier = MLPClassifier(
            tuple(self.hidden),
            alpha=self.alpha,
            learning_rate_init=self.learning_rate,
            batch_size=min(len(rows), max(32, min(len(rows) // 16, 256))),
            shuffle=False,
            random_state=seed,
        )
        # This makes the weight arrays; what it learned is overwritten at once.
        classifier.partial_fit(rows, names, classes=np.sort(np.array(classes)))
        generator = np.random.default_rng(seed)
        for weights, biases in zip(classifier.coefs_, classifier.intercepts_, strict=True):
            bound = np.sqrt(6 / sum(weights.shape))  # Glorot, as scikit-learn's own
            weights[...] = generator.uniform(-bound, bound, weights.shape)
            biases[...] = generator.uniform(-bound, bound, biases.shape)
        classifier.loss_curve_.clear()
        del classifier._optimizer
        return classifier

    def _start_from(self, parent: Any, classifier: MLPClassifier, scaler: StandardScaler) -> str:
        """Move the weights of ``classifier`` towards the parent's, or make them the parent's; says what was done."""
        parts = scaler_and_classifier(parent)
        if parts is None or type(parts[1]) is not MLPClassifier:
            return "cold: the parent is no perceptron of this trainer's"
        before, old = parts
        kept = columns_of(old.classes_, classifier.classes_)
        if not kept:
            return "cold: the parent has other classes"
        if len(before.mean_) != len(scaler.mean_):
            return "cold: the parent has other features"
        network, share, start = (
            _rescaled(old, before, scaler),
            SHRINK,
            f"warm: the parent's weights, shrunk to {SHRINK:g}",
        )
        if network.hidden != self.hidden:
            if not self.grow:
                return "cold: the parent has another structure"
            grown = reshaped(network, self.hidden, classifier.random_state)
            if grown is None:
                return f"cold: the parent has {len(network.hidden)} hidden layers, more than {len(self.hidden)}"
            start = "grown: the parent's function, in more units"
            if not keeps_its_function(network.hidden, self.hidden):
                start = "pruned: the parent's units that matter most"
            network, share = grown, 1.0
        for place, learned in ((classifier.coefs_, network.weights), (classifier.intercepts_, network.biases)):
            for fresh, part in zip(place[:-1], learned[:-1], strict=True):
                fresh *= 1 - share
                fresh += share * part
            place[-1] = carried(place[-1], learned[-1], kept, share)
        new = len(classifier.classes_) - len(kept)
        return start + (f"; {new} new classes start afresh" if new else "")


def _rescaled(old: MLPClassifier, before: StandardScaler, now: StandardScaler) -> Network:
    """The old weights, changed so that behind the new scaler they compute what they did behind the old one."""
    first = old.coefs_[0] * (now.scale_ / before.scale_)[:, None]
    bias = old.intercepts_[0] + ((now.mean_ - before.mean_) / before.scale_) @ old.coefs_[0]
    return Network([first, *old.coefs_[1:]], [bias, *old.intercepts_[1:]])


def _strip(classifier: MLPClassifier) -> None:
    """Drop what only training needs: Adam's state (not a type that models may hold), copies of the weights, all losses.

    The losses are 50 KiB of a file: as much as all the rest of a small network.
    """
    del classifier._optimizer
    classifier.loss_curve_ = []
    for name in ("_best_coefs", "_best_intercepts", "_random_state"):
        if hasattr(classifier, name):
            delattr(classifier, name)
