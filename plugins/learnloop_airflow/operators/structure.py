"""Operators of structure optimisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from learnloop_airflow.common import run_owner
from learnloop_airflow.operators.job import JobOperator
from learnloop_airflow.operators.rounds import loop_facts
from learnloop_airflow.operators.snapshot import pin
from learnloop_airflow.operators.train import job_on_dataset

if TYPE_CHECKING:
    from learnloop.jobs.spec import JobSpec


class StructureNeededOperator(BaseOperator):
    """Ask whether the structure should be looked at again; skips the run, with the reason stored, when not.

    :param dataset: the dataset (templated).
    :return: the head's pin, with the structure's parameters and the facts that were looked at.
    """

    template_fields: Sequence[str] = ("dataset",)

    def __init__(self, *, dataset: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.datasets.versions import get_dataset
        from learnloop.loop.decisions import record_decision, structure_facts
        from learnloop.training.structure import structure_needed

        with session() as db:
            dataset = get_dataset(db, self.dataset)
            facts = structure_facts(db, dataset)
            verdict = structure_needed(facts)
            chosen = {**pin(dataset.head), **loop_facts(dataset)}
            if not verdict.needed:
                record_decision(
                    db,
                    dataset_name=self.dataset,
                    kind="structure",
                    run_id=context["run_id"],
                    accepted=False,
                    reason=f"no change: {verdict.reason}",
                    owner=run_owner(context),
                )
        self.log.info("%s", verdict.reason)
        if not verdict.needed:
            raise AirflowSkipException(verdict.reason)
        return chosen


class CandidatesOperator(BaseOperator):
    """List the structures to try; the first is the current one, tried beside the others on the same folds."""

    template_fields: Sequence[str] = ("pin",)

    def __init__(self, *, pin: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pin = pin

    def execute(self, context: Context) -> list[dict[str, Any]]:
        from learnloop.database import session
        from learnloop.datasets.versions import get_dataset
        from learnloop.loop.decisions import structure_facts
        from learnloop.training.structure import candidates

        with session() as db:
            dataset = get_dataset(db, self.pin["dataset"])
            labels = structure_facts(db, dataset).labels
            classes = len(dataset.loop["classes"])
        current = self.pin["trainer"]
        if current.get("name", "mlp") != "mlp":
            return [current]  # only a perceptron has widths to try
        return [current, *({**current, **other} for other in candidates(current["hidden"], classes, labels))]


class TrialOperator(JobOperator):
    """Cross-validate one candidate structure on the training split, as a job."""

    template_fields: Sequence[str] = ("pin", "candidate")

    def __init__(self, *, pin: Any, candidate: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pin = pin
        self.candidate = candidate

    def build_spec(self, context: Context) -> JobSpec:
        return job_on_dataset(
            "learnloop.training.trial", self.pin, params=dict(self.candidate), user=run_owner(context)
        )


class ChooseStructureOperator(BaseOperator):
    """Choose among the trials; skips the rest of the run, with the reason stored, when nothing should change."""

    template_fields: Sequence[str] = ("pin", "candidates", "trials")

    def __init__(self, *, pin: Any, candidates: Any, trials: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pin = pin
        self.candidates = candidates
        self.trials = trials

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.loop.decisions import record_decision
        from learnloop.training.structure import choose

        candidates, results = list(self.candidates), [trial["result"] for trial in self.trials]
        choice = choose(results[0], results[1:])
        self.log.info("%s", choice.reason)
        if choice.index is None:
            with session() as db:
                record_decision(
                    db,
                    dataset_name=self.pin["dataset"],
                    kind="structure",
                    run_id=context["run_id"],
                    accepted=False,
                    reason=f"no change: {choice.reason}",
                    comparison={"candidates": candidates, "trials": results},
                    owner=run_owner(context),
                )
            raise AirflowSkipException(choice.reason)
        return {**self.pin, "trainer": {**candidates[choice.index + 1], "from_scratch": True}}
