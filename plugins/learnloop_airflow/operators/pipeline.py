"""Operators of declared pipelines. None has a templated field: what a pipeline says is never rendered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator, Context

from learnloop.pipelines.names import MAKE
from learnloop_airflow.common import run_owner
from learnloop_airflow.operators.job import JobOperator
from learnloop_airflow.operators.mounts import MountsOperator

if TYPE_CHECKING:
    from learnloop.jobs.spec import JobSpec
    from learnloop.pipelines.graph import Graph, Stage

LEASE = timedelta(days=7)


class PinInputsOperator(BaseOperator):
    """Begin a run: fix what its stages read from outside, and say that it is being read; a setup.

    :param version: the version that this DAG is.
    :param graph: what the version says.
    :return: ``{"run": id, "pins": {stage: {input: ...}}, "leases": [...]}``; of a run that began before, the same pins.
    """

    template_fields: ClassVar[Sequence[str]] = ()

    def __init__(self, *, version: int, graph: Graph, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._version = version
        self._graph = graph

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.pipelines.runs import begin

        with session() as db:
            begun = begin(
                db,
                self._graph,
                version=self._version,
                dag_id=self.dag_id,
                run_id=context["run_id"],
                user=run_owner(context),
                lasts=LEASE,
            )
        for stage, inputs in begun["pins"].items():
            for name, pinned in inputs.items():
                self.log.info("%s reads %s as %s", stage, pinned["name"], name)
        return begun


class ReleaseInputsOperator(BaseOperator):
    """End a run: what it read may be deleted again; a teardown. A lease that is missed here lapses by itself.

    :param pins: the id of the task that began the run.
    """

    template_fields: ClassVar[Sequence[str]] = ()

    def __init__(self, *, pins: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._pins = pins

    def execute(self, context: Context) -> int:
        from learnloop.database import session
        from learnloop.datasets.reading import release_read

        begun = context["ti"].xcom_pull(task_ids=self._pins) or {"leases": []}
        with session() as db:
            return sum(release_read(db, lease) for lease in begun["leases"])


class StageMountsOperator(MountsOperator):
    """Make the mounts of all stages, before the first; a setup.

    :param graph: what the version says.
    """

    template_fields: ClassVar[Sequence[str]] = ()

    def __init__(self, *, graph: Graph, **kwargs: Any) -> None:
        super().__init__(mounts=list(graph.mounts.values()), **kwargs)


class StageOperator(JobOperator):
    """Run one stage as its job, and keep what was run and what came of it, for runs to be compared.

    :param stage: what is declared of it.
    :param pins: the id of the task that began the run.
    """

    template_fields: ClassVar[Sequence[str]] = ()

    def __init__(self, *, stage: Stage, pins: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._stage = stage
        self._pins = pins

    def build_spec(self, context: Context) -> JobSpec:
        from learnloop.pipelines.jobs import spec_of

        task = context["ti"]
        made = {before: task.xcom_pull(task_ids=before) for before in self._stage.needs}
        pins = self._begun(context)["pins"].get(self.task_id, {})
        work = f"{task.dag_id} {task.run_id} {self.task_id}"
        return spec_of(self._stage, pins, made, user=run_owner(context), work=work)

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.jobs.contract import Places
        from learnloop.pipelines.runs import stage_begins
        from learnloop.settings import settings

        spec = self.build_spec(context)
        self._take_mounts(context)
        places, tries = Places.of(settings().namespaces, spec), context["ti"].try_number
        with session() as db:
            stage_begins(db, self._begun(context)["run"], self.task_id, spec, places, tries=tries)
        return self._ended(self.run_job(spec, context), context)

    def resume_job(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        self._take_mounts(context)
        return self._ended(super().resume_job(context, event), context)

    def _ended(self, done: dict[str, Any], context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.pipelines.runs import stage_ended

        with session() as db:
            stage_ended(db, self._begun(context)["run"], self.task_id, done["result"])
        return done

    def _take_mounts(self, context: Context) -> None:
        """Of what was made for the run, what this stage has declared."""
        made = (context["ti"].xcom_pull(task_ids=MAKE) or ()) if self._stage.mounts else ()
        self.mounts = [one for one in made if one["mount"]["name"] in self._stage.mounts]

    def _begun(self, context: Context) -> dict[str, Any]:
        return dict(context["ti"].xcom_pull(task_ids=self._pins))
