"""Makes what jobs need as mounts, before them, and takes it away after them, however they end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context

from learnloop_airflow.common import run_owner

if TYPE_CHECKING:
    from learnloop.mounts.made import Prepared, Scope
    from learnloop.mounts.plan import Plan
    from learnloop_airflow.mounts.home import Home


class MountsOperator(BaseOperator):
    """Choose the cheapest storage for mounts, make them, and see that they are usable: the setup of jobs that use them.

    What is there already is taken as it is, and data stay where they are. The estimate is logged and stored before
    anything is made. Give the output to ``JobOperator(mounts=...)``, and to `RemoveMountsOperator` as teardown.

    :param mounts: the needs, as fields of `learnloop.jobs.mount.Mount` (templated).
    :param pipeline: what mounts with lifetime ``pipeline`` belong to (templated); empty: the DAG.
    :param ready_seconds: so long a claim may take to be bound and usable.
    :param aws_conn_id: the Airflow connection for storage classes on S3.
    :return: what was prepared, one for each mount.
    """

    template_fields: Sequence[str] = ("mounts", "pipeline")

    def __init__(
        self,
        *,
        mounts: Sequence[dict[str, Any]] | str,
        pipeline: str = "",
        ready_seconds: float = 300,
        aws_conn_id: str = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mounts = mounts
        self.pipeline = pipeline
        self.ready_seconds = ready_seconds
        self.aws_conn_id = aws_conn_id
        self._scope: Scope | None = None

    def execute(self, context: Context) -> list[dict[str, Any]]:
        from learnloop.mounts.plan import parse_mounts
        from learnloop_airflow.mounts.home import home

        wanted = parse_mounts(self.mounts)
        scope = self._scope = _scope_of(context, self.pipeline)
        there = home(self.aws_conn_id)
        deadline = time.monotonic() + self.ready_seconds
        made = [there.adopt(mount, scope.user) for mount in wanted if mount.claim]
        plan = self._plan([mount for mount in wanted if not mount.claim], scope, there, context)
        try:
            for choice in plan.choices:
                made.append(there.prepare(choice, scope, deadline))
                self.log.info("mount %s: %s", choice.mount.name, _said(made[-1]))
            self._check([one for one in made if one.how == "claim"], scope, there, context, deadline)
        except BaseException:
            self._undo(there, made)
            raise
        return [one.model_dump(mode="json") for one in made]

    def on_kill(self) -> None:
        from learnloop_airflow.mounts.home import home

        if self._scope is not None:
            home(self.aws_conn_id).remove_run(self._scope.dag_id, self._scope.run_id, self._names())

    def _plan(self, wanted: Sequence[Any], scope: Scope, there: Home, context: Context) -> Plan:
        from learnloop.database import session
        from learnloop.mounts.plan import Plan, choose
        from learnloop.mounts.plans import store
        from learnloop_airflow.mounts.home import table
        from learnloop_airflow.operators.job import task_name

        if not wanted:
            return Plan(currency="USD", cost=0, choices=())
        classes = table()
        already = {mount.name: name for mount in wanted if (name := there.where(mount, scope, classes)) is not None}
        plan = choose(wanted, classes, already)
        for line in plan.lines():
            self.log.info("%s", line)
        with session() as db:
            store(db, plan, scope, task_name(context))
        return plan

    def _check(self, claims: Sequence[Prepared], scope: Scope, there: Home, context: Context, deadline: float) -> None:
        if not claims or there.claims is None:
            return
        from learnloop.settings import settings
        from learnloop_airflow.mounts.check_pod import CheckPod
        from learnloop_airflow.pods.names import Owner
        from learnloop_airflow.pods.template import load_template

        template = load_template(settings().pod_template)
        pod = CheckPod(there.claims, template, settings().job_image, Owner.of(context), scope, self.log.info)
        pod.run(claims, deadline)

    def _undo(self, there: Home, made: Sequence[Prepared]) -> None:
        """Remove what this try made for the run: with a setup that failed, no teardown runs."""
        from learnloop.errors import LearnloopError

        for one in made:
            record = one.record
            if one.adopted or record is None or not record.of_run(record.dag_id, record.run_id):
                continue
            try:
                there.remove_run(record.dag_id, record.run_id, frozenset({record.name}))
            except LearnloopError as error:  # what failed before is what is to be told
                self.log.warning("mount %s is left to platform_maintenance: %s", record.name, error)

    def _names(self) -> frozenset[str]:
        from learnloop.mounts.plan import parse_mounts

        return frozenset(mount.name for mount in parse_mounts(self.mounts))


class RemoveMountsOperator(BaseOperator):
    """Remove what went with the run: ``RemoveMountsOperator(mounts=mounts.output).as_teardown(setups=mounts)``.

    Mounts with lifetime ``pipeline`` or ``user`` stay; of those on S3, what has changed is uploaded.

    :param mounts: what `MountsOperator` returned (templated); None, when it never did, is fine.
    :param aws_conn_id: the Airflow connection for storage classes on S3.
    :return: the names of what was removed.
    """

    template_fields: Sequence[str] = ("mounts",)

    def __init__(self, *, mounts: Any, aws_conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mounts = mounts
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> list[str]:
        from learnloop_airflow.mounts.home import home

        names = frozenset(str(made["mount"]["name"]) for made in self.mounts or ())
        task = context["ti"]
        removed = home(self.aws_conn_id).remove_run(task.dag_id, task.run_id, names)
        self.log.info("removed: %s", ", ".join(removed) or "nothing")
        return removed


def _scope_of(context: Context, pipeline: str) -> Scope:
    from learnloop.mounts.made import Scope

    task = context["ti"]
    return Scope(user=run_owner(context), dag_id=task.dag_id, run_id=task.run_id, pipeline=pipeline or task.dag_id)


def _said(made: Prepared) -> str:
    what = {"pod": "made with each job's pod", "claim": f"claim {made.place}", "folder": made.place}[made.how]
    return f"{what}, which was there" if made.adopted else what
