"""Operators of structure optimisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from learnloop_airflow.common import model_name_of, run_owner
from learnloop_airflow.operators.job import JobOperator
from learnloop_airflow.operators.rounds import loop_facts
from learnloop_airflow.operators.snapshot import pin
from learnloop_airflow.operators.train import job_on_dataset

if TYPE_CHECKING:
    from learnloop.database import StructureTrial
    from learnloop.jobs.spec import JobSpec

IF_NEEDED, ALWAYS = "if_needed", "always"


class StructureNeededOperator(BaseOperator):
    """Ask whether the structure should be looked at again; skips the run, with the reason stored, when not.

    :param dataset: the dataset (templated).
    :param when: ``if_needed``: as the dataset's rules say; ``always``: because a person wants it (templated).
    :param trials: at most so many structures, in place of the dataset's own budget; empty: that one (templated).
    :param minutes: in which trials may begin, likewise (templated).
    :return: the head's pin, with the model and the trainer of now, ``search`` (its id) and ``trials``.
    """

    template_fields: Sequence[str] = ("dataset", "when", "trials", "minutes")

    def __init__(
        self, *, dataset: str, when: str = IF_NEEDED, trials: str = "", minutes: str = "", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.when = when
        self.trials = trials
        self.minutes = minutes

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.datasets.versions import get_dataset
        from learnloop.loop.decisions import record_decision
        from learnloop.loop.structure import ask

        owner = run_owner(context)
        with session() as db:
            dataset = get_dataset(db, self.dataset)
            search = ask(
                db,
                dataset,
                run_id=context["run_id"],
                owner=owner,
                by_hand=self.when == ALWAYS,
                trials=int(self.trials) if self.trials else None,
                minutes=float(self.minutes) if self.minutes else None,
            )
            chosen = {
                **pin(dataset.head),
                **loop_facts(dataset),
                "search": search.id,
                "trials": search.trials,
            }
            if search.state == "not_needed":
                record_decision(
                    db,
                    dataset_name=self.dataset,
                    kind="structure",
                    run_id=context["run_id"],
                    accepted=False,
                    reason=f"no change: {search.reason}",
                    owner=owner,
                )
        self.log.info("%s", search.reason)
        if search.state == "not_needed":
            raise AirflowSkipException(search.reason)
        return chosen


class PlanTrialsOperator(BaseOperator):
    """The numbers of the trials. What each tries is asked for when it begins, so that it goes by those that have ended."""

    template_fields: Sequence[str] = ("pin",)

    def __init__(self, *, pin: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pin = pin

    def execute(self, context: Context) -> list[int]:
        return list(range(self.pin["trials"]))


class TrialOperator(JobOperator):
    """Try one structure, as a job: ask which, cross-validate it on the training split, tell what came of it.

    A trial of whose turn the search's time is up, or for which nothing is left to try, does nothing.

    :param pin: what ``StructureNeededOperator`` returned (templated).
    :param number: of the trial (templated).
    """

    template_fields: Sequence[str] = ("pin", "number")

    def __init__(self, *, pin: Any, number: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pin = pin
        self.number = number

    def build_spec(self, context: Context) -> JobSpec:
        from learnloop.database import session
        from learnloop.loop.structure import begin_trial, seconds_left, space_of
        from learnloop.training.structure.space import job_params

        with session() as db:
            trial = begin_trial(db, self.pin["search"], self.number)
            params = job_params(trial.candidate, space_of(trial.search))
            left = seconds_left(db, trial.search)
        spec = job_on_dataset("learnloop.training.trial", self.pin, params=params, user=run_owner(context))
        return spec.model_copy(update={"timeout_seconds": left})

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.loop.structure import begin_trial

        with session() as db:
            trial = begin_trial(db, self.pin["search"], self.number)
            skipped, what = trial.state == "skipped", trial.described or trial.reason
        self.log.info("trial %d: %s", self.number, what)
        if skipped:
            return {"skipped": what}
        return self._told(lambda: self.run_job(self.build_spec(context), context))

    def resume_job(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        return self._told(lambda: super(TrialOperator, self).resume_job(context, event))

    def _told(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What ``work`` returns; the search is told of it, or of why it failed."""
        from learnloop.database import session
        from learnloop.errors import LearnloopError
        from learnloop.loop.structure import end_trial, fail_trial

        search = self.pin["search"]
        try:
            done = work()
        except LearnloopError as error:
            with session() as db:
                fail_trial(db, search, self.number, str(error))
            raise
        with session() as db:
            end_trial(db, search, self.number, done["result"], done["models_dir"])
        return done


class ChooseStructureOperator(BaseOperator):
    """Choose among the trials that ended well; the others are kept as model versions, each with the reason.

    Skips the rest of the run, with the reason stored, when nothing should change.

    :param pin: what ``StructureNeededOperator`` returned (templated).
    :return: the pin, with the chosen structure as ``structure`` and in ``trainer``.
    """

    template_fields: Sequence[str] = ("pin",)

    def __init__(self, *, pin: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pin = pin

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.loop.decisions import record_decision
        from learnloop.loop.structure import decide, keep_version

        with session() as db:
            search, choice, trials = decide(db, self.pin["search"])
            others = [trial for index, trial in enumerate(trials) if index not in (0, choice.index)]
        for trial in others:
            version = self._keep(trial, context)
            with session() as db:
                keep_version(db, search.id, trial.number, version)
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
                    comparison={"search": search.id},
                    owner=run_owner(context),
                )
            raise AirflowSkipException(choice.reason)
        chosen = trials[choice.index].candidate
        start = {"from_scratch": True} if chosen["start"] == "cold" else {"grow": True}
        return {**self.pin, "structure": chosen["trainer"], "trainer": {**chosen["trainer"], **start}}

    def _keep(self, trial: StructureTrial, context: Context) -> int:
        from learnloop.models import registry
        from learnloop.models.retention import NOT_CHOSEN
        from learnloop.settings import settings

        return registry.register(
            model_name_of(self.pin["dataset"]),
            Path(trial.models_dir) / "model",
            models_root=settings().models,
            tags={
                "dataset_version": self.pin["version"],
                "structure": trial.described,
                "gate": NOT_CHOSEN,
                "gate_reason": trial.reason[:4000],
                "owner": run_owner(context),
                "run_id": context["run_id"],
            },
            metrics={
                "cross_validated_accuracy": trial.result["accuracy"],
                "latency_ms": trial.result["latency_ms"],
                "model_bytes": trial.result["model_bytes"],
            },
            idempotency_key=f"{context['dag'].dag_id}-{context['run_id']}-trial-{trial.number}",
        )
