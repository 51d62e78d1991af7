"""Example: try many parameters side by side, one mapped job each, and train with the best."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, task

from learnloop_airflow.notifiers.events import TOLD
from learnloop_airflow.operators.job import JobOperator
from learnloop_airflow.operators.train import EvaluateOperator, TrainOperator, job_on_dataset
from learnloop_airflow.operators.workspace import ReadLeaseOperator, ReleaseReadOperator

AT_ONCE = 8
MOST = 100

with DAG(
    "hyperparameter_sweep",
    description="Example: a grid of parameters, cross-validated in mapped jobs; the best one is trained and evaluated",
    doc_md="""
### Example: a sweep over hyper-parameters

The grid says of each parameter which values to try; each combination is a mapped task `trial` and a job of its own, on
whatever workers or nodes there are. All are cross-validated on the same folds of the training split
(`learnloop.training.trial`), so that the test split, on which the best one is evaluated in the end, has chosen nothing. A
trial that fails is left out.
""",
    schedule=None,
    catchup=False,
    tags=["learnloop", "example"],
    **TOLD,
    params={
        "dataset": Param("", type="string", minLength=1, title="Dataset"),
        "version": Param(None, type=["null", "string"], title="Version", description="Empty: the head"),
        "grid": Param(
            {"name": ["mlp"], "hidden": [[16], [64]]},
            type="object",
            minProperties=1,
            additionalProperties={"type": "array", "minItems": 1},
            title="Grid",
            description="Of each parameter of the trainer, the values to try",
        ),
    },
):

    @task
    def combinations(pin: dict[str, Any], params: dict[str, Any]) -> list[dict[str, Any]]:
        """A job for each combination of the grid."""
        from learnloop.errors import InvalidInput
        from learnloop.permissions import SERVICE

        grid = params["grid"]
        every = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
        if len(every) > MOST:
            raise InvalidInput(f"the grid has {len(every)} combinations; {MOST} are the most: try fewer values")
        specs = [job_on_dataset("learnloop.training.trial", pin, params=each, user=SERVICE.name) for each in every]
        # Whose job it is, the operator says: the one who triggered the run.
        return [spec.model_dump(mode="json", exclude={"user"}) for spec in specs]

    @task(trigger_rule="all_done_min_one_success")
    def best(specs: list[dict[str, Any]], tried: list[dict[str, Any]]) -> dict[str, Any]:
        """The parameters of the most accurate trial, as its job was given them; some trials may be missing."""
        found = max(tried, key=lambda trial: trial["result"]["accuracy"])
        given = json.loads((Path(found["results_dir"]) / "params.json").read_text())
        params = {name: value for name, value in given.items() if name != "seed"}
        print(f"{len(tried)} of {len(specs)} trials ended well; the best is {params}")  # noqa: T201 - the task's log
        return params

    @task
    def with_trainer(pin: dict[str, Any], trainer: dict[str, Any]) -> dict[str, Any]:
        """The pin with that trainer alone: nothing of the dataset's, and no model to start from."""
        return {**pin, "trainer": trainer, "parent_model_version": None}

    lease = ReadLeaseOperator(
        task_id="read_lease", dataset="{{ params.dataset }}", version="{{ params.version or '' }}"
    )
    specs = combinations(lease.output)
    trials = JobOperator.partial(task_id="trial", max_active_tis_per_dagrun=AT_ONCE, on_failure_callback=None).expand(
        spec=specs
    )
    train = TrainOperator(task_id="train", pin=with_trainer(lease.output, best(specs, trials.output)))
    evaluate = EvaluateOperator(task_id="evaluate", pin=lease.output, trained=train.output)
    release = ReleaseReadOperator(task_id="release_lease", lease=lease.output).as_teardown(setups=lease)

    evaluate >> release
