"""Operators that train and evaluate, as jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from learnloop_airflow.common import model_name_of, run_owner
from learnloop_airflow.lineage import TellsLineage, Thing, dataset_version, model_version
from learnloop_airflow.operators.job import TRAINING_TABLES, JobOperator

if TYPE_CHECKING:
    from learnloop.jobs.spec import JobSpec


class TrainOperator(TellsLineage, JobOperator):
    """Train a model on a pinned dataset version, from a parent model when there is one.

    :param pin: a version as ``SnapshotOperator`` returns it, with ``parent_model_version`` and ``trainer`` optional
        (templated, usually another task's output).
    :param trainer: parameters of the trainer, or the JSON of them; they override those of the pin (templated).
    """

    template_fields: Sequence[str] = ("pin", "trainer")

    def __init__(self, *, pin: Any, trainer: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pin = pin
        self.trainer = trainer

    def build_spec(self, context: Context) -> JobSpec:
        given = json.loads(self.trainer) if isinstance(self.trainer, str) else self.trainer
        params = {**self.pin.get("trainer", {}), **(given or {})}
        parent = None if params.get("from_scratch") else self.pin.get("parent_model_version")
        self.read = [dataset_version(self.pin), *parents_of(self.pin["dataset"], parent)]
        return job_on_dataset(
            "learnloop.training.train",
            self.pin,
            params=params,
            parent=parent,
            user=run_owner(context),
        )


class EvaluateOperator(JobOperator):
    """Score a trained candidate, and the current model beside it, on the pinned version's frozen test split.

    :param pin: the version, as for ``TrainOperator`` (templated).
    :param trained: what ``TrainOperator`` returned (templated).
    """

    template_fields: Sequence[str] = ("pin", "trained")

    def __init__(self, *, pin: Any, trained: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pin = pin
        self.trained = trained

    def build_spec(self, context: Context) -> JobSpec:
        inputs = {"candidate": {"kind": "url", "source": (Path(self.trained["models_dir"]) / "model").as_uri()}}
        current = self.pin.get("parent_model_version")
        if current is not None:
            inputs["current"] = {"kind": "model", "source": f"{model_name_of(self.pin['dataset'])}/{current}"}
        return job_on_dataset("learnloop.training.evaluate", self.pin, inputs=inputs, user=run_owner(context))


def parents_of(dataset: str, version: int | None) -> list[Thing]:
    """The model that one is trained from, or held against; none for a first one."""
    return [] if version is None else [model_version(model_name_of(dataset), version)]


def job_on_dataset(
    module: str,
    pin: dict[str, Any],
    *,
    user: str,
    params: dict[str, Any] | None = None,
    inputs: dict[str, dict[str, Any]] | None = None,
    parent: int | None = None,
) -> JobSpec:
    """A job of ours that reads the tables of a pinned version, and perhaps a parent model."""
    from learnloop.jobs.spec import parse_spec

    name = model_name_of(pin["dataset"])
    every = {"dataset": {"kind": "dataset", "source": pin["tree"], "include": TRAINING_TABLES}, **(inputs or {})}
    if parent is not None:
        every["parent"] = {"kind": "model", "source": f"{name}/{parent}"}
    return parse_spec(
        {
            "module": module,
            "params": params or {},
            "inputs": every,
            "user": user,
            "pins": {
                "dataset_version": pin["version"],
                "dataset_tree": pin["tree"],
                "model_name": name,
                "model_version": parent,
            },
        }
    )
