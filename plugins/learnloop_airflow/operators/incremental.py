"""Operators of an incremental training of a declared pipeline: share the new version or not, derive, wait for its run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, BaseSensorOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from learnloop_airflow.common import is_true, run_owner
from learnloop_airflow.operators.workspace import MergeOrBranchOperator


class ShareOrKeepOperator(MergeOrBranchOperator):
    """Bring a personal version into the head's line, as `MergeOrBranchOperator` does; or leave it personal.

    :param personal: leave it (templated).
    """

    template_fields: Sequence[str] = (*MergeOrBranchOperator.template_fields, "personal")

    def __init__(self, *, personal: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.personal = personal

    def execute(self, context: Context) -> dict[str, Any]:
        if is_true(self.personal):
            return {"state": "personal", "version": self.pin["version"], "merge": None, "conflicts": 0}
        return super().execute(context)


class DerivePipelineOperator(BaseOperator):
    """Make the pipeline of an incremental training out of a base pipeline.

    :param base: the base pipeline's name (templated).
    :param pin: the version that the labels were put into, with what it was made from (templated).
    :param shared: what ``ShareOrKeepOperator`` returned: the version to train on (templated).
    :param annotations: the file that the labels are from (templated).
    :param personal: whose it is: the person's alone, or everybody's (templated).
    :return: ``{"name": ..., "version": ..., "dag_id": ..., "trains_on": ...}``
    """

    template_fields: Sequence[str] = ("base", "pin", "shared", "annotations", "personal")

    def __init__(self, *, base: str, pin: Any, shared: Any, annotations: str, personal: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.base = base
        self.pin = pin
        self.shared = shared
        self.annotations = annotations
        self.personal = personal

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.pipelines.incremental import derive
        from learnloop.pipelines.names import dag_id_of

        version = self.shared["version"]
        with session() as db:
            made = derive(
                db,
                self.base,
                dataset=self.pin["dataset"],
                version=version,
                user=run_owner(context),
                personal=is_true(self.personal),
                work=f"{self.dag_id} {context['run_id']}",
                provenance={
                    "kind": "incremental",
                    "labelled_version": self.pin["version"],
                    "trains_on": version,
                    "annotations": self.annotations,
                    "run_id": context["run_id"],
                },
            )
            name, number, extends = made.pipeline.name, made.number, made.graph["extends"]
        self.log.info("%s extends %s and reads %s", name, extends, version)
        return {"name": name, "version": number, "dag_id": dag_id_of(name), "trains_on": version}


class PipelineRunSensor(BaseSensorOperator):
    """Wait until a run of a pipeline has ended well; fails when it failed.

    :param pipeline: what ``DerivePipelineOperator`` returned (templated).
    :param pipeline_run_id: the run's id (templated).
    """

    template_fields: Sequence[str] = ("pipeline", "pipeline_run_id")

    def __init__(self, *, pipeline: Any, pipeline_run_id: str, **kwargs: Any) -> None:
        super().__init__(mode="reschedule", **kwargs)
        self.pipeline = pipeline
        self.pipeline_run_id = pipeline_run_id

    def poke(self, context: Context) -> bool:
        state = context["ti"].get_dagrun_state(self.pipeline["dag_id"], self.pipeline_run_id)
        if state == "failed":
            raise AirflowFailException(
                f"run {self.pipeline_run_id} of {self.pipeline['name']} failed: run it again from where it failed"
                f" (learnloop pipeline rerun {self.pipeline['name']} {self.pipeline_run_id}), and then clear this task"
            )
        return state == "success"
