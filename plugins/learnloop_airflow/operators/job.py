"""Run a `JobSpec`. The runner is configuration: a process on this worker, or a pod."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context

from learnloop_airflow.common import run_owner
from learnloop_airflow.notifiers.events import EventNotifier

if TYPE_CHECKING:
    from learnloop.events.progress import TaskName
    from learnloop.jobs.local import LocalRunner
    from learnloop.jobs.spec import JobSpec

ADMITTED = EventNotifier("admitted")
TRAINING_TABLES = ("dataset.yaml", "annotations.parquet", "features.parquet")
"""What our trainers read of a dataset's tree: staging only these is quick however many files a dataset has."""


class JobOperator(BaseOperator):
    """Run one job as a local process, streaming its log into the task's; killed with the task.

    Subclasses say what to run in :meth:`build_spec`; or give ``spec``, a dictionary of ``JobSpec`` fields (templated).

    :return: ``{"result": what the job wrote, "results_dir": ..., "models_dir": ...}``
    """

    template_fields: Sequence[str] = ("spec",)

    def __init__(self, *, spec: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self._runner: LocalRunner | None = None

    def build_spec(self, context: Context) -> JobSpec:
        from learnloop.jobs.spec import parse_spec

        return parse_spec({"user": run_owner(context), **(self.spec or {})})

    def execute(self, context: Context) -> dict[str, Any]:
        return self.run_job(self.build_spec(context), context)

    def run_job(self, spec: JobSpec, context: Context) -> dict[str, Any]:
        from learnloop.events.progress import followed
        from learnloop.jobs.contract import Places
        from learnloop.jobs.local import LocalRunner
        from learnloop.limits import running_job
        from learnloop.settings import settings
        from learnloop_airflow.staging import stage

        self._runner = LocalRunner(settings().namespaces, fork_server=settings().fork_server)
        write: Callable[[str], None] = self.log.info
        results = Places.of(settings().namespaces, spec).results
        with running_job(spec.user, settings().jobs_per_user):
            ADMITTED(context)
            with followed(_task_name(context), spec.user, results):
                done = self._runner.run(spec, stage=lambda data: stage(spec, data), log=write)
        return {"result": done.result, "results_dir": str(done.results_dir), "models_dir": str(done.models_dir)}

    def on_kill(self) -> None:
        if self._runner is not None:
            self._runner.kill()


def _task_name(context: Context) -> TaskName:
    from learnloop.events.progress import TaskName

    task = context["ti"]
    return TaskName(task.dag_id, task.run_id, task.task_id, -1 if task.map_index is None else task.map_index)
