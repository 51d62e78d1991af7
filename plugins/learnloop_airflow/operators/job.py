"""Run a `JobSpec`. The runner is configuration: a process on this worker, or a pod."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator, Context

from learnloop_airflow.common import run_owner
from learnloop_airflow.notifiers.events import EventNotifier

if TYPE_CHECKING:
    from learnloop.capacity.turn import Turn
    from learnloop.events.progress import TaskName
    from learnloop.jobs.contract import JobResult
    from learnloop.jobs.local import LocalRunner
    from learnloop.jobs.spec import JobSpec
    from learnloop.jobs.usage import Usage
    from learnloop_airflow.pods.runner import PodRunner

ADMITTED = EventNotifier("admitted")
TRAINING_TABLES = ("dataset.yaml", "annotations.parquet", "features.parquet")
"""What our trainers read of a dataset's tree: staging only these is quick however many files a dataset has."""


class JobOperator(BaseOperator):
    """Run one job, streaming its log into the task's; ended with the task.

    With the runner ``local`` it is a process on this worker. With ``kubernetes`` it is a pod, and the task waits for it
    in the triggerer, without a slot.

    Subclasses say what to run in :meth:`build_spec`; or give ``spec``, a dictionary of ``JobSpec`` fields (templated).

    :param mounts: what `MountsOperator` returned for this job, its ``output`` (templated).
    :return: ``{"result": what the job wrote, "results_dir": ..., "models_dir": ...}``
    """

    template_fields: Sequence[str] = ("spec", "mounts")

    def __init__(self, *, spec: dict[str, Any] | None = None, mounts: Any = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.mounts = mounts
        self._runner: LocalRunner | None = None
        self._pod: PodRunner | None = None

    def build_spec(self, context: Context) -> JobSpec:
        from learnloop.jobs.spec import parse_spec

        return parse_spec({"user": run_owner(context), **(self.spec or {})})

    def execute(self, context: Context) -> dict[str, Any]:
        return self.run_job(self.build_spec(context), context)

    def run_job(self, spec: JobSpec, context: Context) -> dict[str, Any]:
        from learnloop.settings import settings

        return self._run_pod(spec, context) if settings().job_runner == "kubernetes" else self._run_here(spec, context)

    def _run_pod(self, spec: JobSpec, context: Context) -> dict[str, Any]:
        from learnloop_airflow.mounts.use import check_mounts, with_mounts
        from learnloop_airflow.pods.runner import PodRunner

        spec, mounts = with_mounts(spec, self.mounts)
        self._pod = PodRunner(spec, context, self.log, mounts)
        found = self._pod.begin()
        if found is None:
            if mounts:
                check_mounts(mounts, spec.user, self.log.info)
            self._wait(self._pod)
        return _returned(found)

    def resume_job(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the wait for the job's pod."""
        from learnloop_airflow.mounts.use import with_mounts
        from learnloop_airflow.pods.asking import ApiAway
        from learnloop_airflow.pods.runner import PodRunner

        spec, mounts = with_mounts(self.build_spec(context), self.mounts)
        self._pod = PodRunner(spec, context, self.log, mounts)
        try:
            done = self._pod.end(event)
        except ApiAway as error:
            self.log.info("%s; waiting until it does", error)
            self._wait(self._pod)
        return _returned(done)

    def _wait(self, pod: PodRunner) -> NoReturn:
        self.defer(trigger=pod.trigger(self.execution_timeout), method_name="resume_job")

    def _run_here(self, spec: JobSpec, context: Context) -> dict[str, Any]:
        from learnloop.events.progress import followed
        from learnloop.jobs.contract import Places
        from learnloop.jobs.local import LocalRunner
        from learnloop.limits import running_job
        from learnloop.settings import settings
        from learnloop_airflow.mounts.use import check_mounts, with_mounts
        from learnloop_airflow.staging import stage
        from learnloop_airflow.tracing import traced_job

        spec, mounts = with_mounts(spec, self.mounts)
        if mounts:
            check_mounts(mounts, spec.user, self.log.info)
        turn = self._turn_of(spec, context)
        self._runner = LocalRunner(settings().namespaces, fork_server=settings().fork_server)
        write: Callable[[str], None] = self.log.info
        results = Places.of(settings().namespaces, spec).results
        folders = {one.mount.name: Path(one.place) for one in mounts}
        try:
            with running_job(spec.user, settings().jobs_per_user):
                ADMITTED(context)
                with followed(task_name(context), spec.user, results), traced_job(spec, results) as trace:
                    done = self._runner.run(
                        spec,
                        stage=lambda data: stage(spec, data),
                        log=write,
                        mounts=folders,
                        trace=trace,
                        used=lambda used: keep_usage(context, spec, used, "local", write),
                    )
        finally:
            if turn is not None:
                turn.release(self.log)
        return _returned(done)

    def _turn_of(self, spec: JobSpec, context: Context) -> Turn | None:
        """What the job holds of this machine from now on, for which the task defers until it is given; None: nothing."""
        from learnloop.capacity.machine import machine, wanted_here
        from learnloop.capacity.turn import Turn
        from learnloop.jobs.contract import RESULT, Places
        from learnloop.settings import settings
        from learnloop_airflow.pods.names import Owner
        from learnloop_airflow.triggers.admission import AdmissionTrigger

        places = Places.of(settings().namespaces, spec)
        if settings().admission == "none" or (places.results / RESULT).exists():
            return None
        wanted, described = wanted_here(spec, Owner.of(context).holder()), settings().machine
        turn = Turn(wanted)
        if not turn.begin(turn.take_a_look(lambda: machine(described))):
            trigger = AdmissionTrigger(wanted=wanted.to_json(), machine=described)
            self.defer(trigger=trigger, method_name="resume_admitted")
        return turn

    def resume_admitted(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the wait for a place on this machine, which is asked for anew if it was kept too long."""
        return self.execute(context)

    def on_kill(self) -> None:
        if self._runner is not None:
            self._runner.kill()
        if self._pod is not None:
            self._pod.remove()


def _returned(done: JobResult) -> dict[str, Any]:
    return {"result": done.result, "results_dir": str(done.results_dir), "models_dir": str(done.models_dir)}


def keep_usage(
    context: Context, spec: JobSpec, used: Usage, runner: str, log: Callable[[str], None], memory: str = ""
) -> None:
    """Log what a try's job used, and keep it; ``memory`` it had, where that is not what its spec asks for."""
    from learnloop.events.usage import keep
    from learnloop.jobs.quantities import bytes_of
    from learnloop.jobs.usage import words

    asked = spec.resources
    log(words(used, cpu=asked.cpu, memory_bytes=bytes_of(memory or asked.memory), gpu=asked.gpu))
    keep(task_name(context), context["ti"].try_number, spec, used, runner, memory)


def task_name(context: Context) -> TaskName:
    from learnloop.events.progress import TaskName

    task = context["ti"]
    return TaskName(task.dag_id, task.run_id, task.task_id, -1 if task.map_index is None else task.map_index)
