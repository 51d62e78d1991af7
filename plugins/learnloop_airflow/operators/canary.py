"""Try an accepted model version on a share of an alias's requests, before it answers all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from learnloop_airflow.common import cluster_client, run_owner

if TYPE_CHECKING:
    from learnloop.serving.cluster.served import ServedModels


class CanaryOperator(BaseOperator):
    """Have pods of the gate's model answer a share of ``alias``'s requests, watch them, and end them when they do worse.

    For models served by pods (``LEARNLOOP_SERVING_RUNNER=kubernetes``). The task waits in the triggerer; it fails with the
    reason when the canary's pods fail more requests than those beside it, are slower, or end by themselves, and when they
    were asked too seldom to tell; the canary is gone then. ``DeployOperator`` follows on success, and ends it as well.

    :param gate: what ``ApproveModelOperator`` (or ``GateOperator``) returned (templated).
    :param alias: ``base``, ``realtime`` or ``optimized``: something must be served there already, else it is skipped.
    :param percent: the share, at most 50.
    :param rules: when it is bad, as fields of `learnloop.serving.cluster.judging.Rules`.
    :param timeout_seconds: how long its pods may take to be ready.
    :return: ``{"reason"}``: what was seen.
    """

    template_fields: Sequence[str] = ("gate", "alias")

    def __init__(
        self,
        *,
        gate: Any,
        alias: str,
        percent: int = 10,
        rules: dict[str, Any] | None = None,
        timeout_seconds: float = 300,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.gate = gate
        self.alias = alias
        self.percent = percent
        self.rules = rules or {}
        self.timeout_seconds = timeout_seconds

    def execute(self, context: Context) -> None:
        from learnloop.database import session
        from learnloop.errors import LearnloopError
        from learnloop.models.deployment import served_version
        from learnloop.models.promotion import canary
        from learnloop.serving.cluster.connected import rows_of
        from learnloop.serving.cluster.judging import Rules
        from learnloop.serving.cluster.units import wanted_of
        from learnloop.settings import settings
        from learnloop_airflow.triggers.canary import CanaryTrigger

        if not self.gate["accepted"]:
            raise AirflowSkipException(f"not tried: {self.gate['reason']}")
        if settings().serving_runner != "kubernetes":
            raise AirflowFailException(
                "a canary of pods needs LEARNLOOP_SERVING_RUNNER=kubernetes; where model servers read the database, it is"
                " `learnloop model canary`"
            )
        name, version = self.gate["model_name"], self.gate["model_version"]
        rules, cluster = Rules(**self.rules), self._cluster()
        with session() as db:
            if served_version(db, name, self.alias) in (None, version):
                raise AirflowSkipException(
                    f"{name}:{self.alias} serves nothing that version {version} could stand beside"
                )
            canary(db, name, self.alias, version, percent=self.percent, by=run_owner(context), reason="tried by a run")
        try:
            rows = rows_of(session, name)
            cluster.follow(name, rows, wait_for=(self.alias,), timeout=self.timeout_seconds)
        except LearnloopError as error:
            self._end(cluster, run_owner(context), str(error))
        unit = next(unit for unit in wanted_of(name, rows).units if unit.alias == self.alias)
        trigger = CanaryTrigger(unit=asdict(unit), namespace=cluster.namespace, rules=asdict(rules))
        self.defer(trigger=trigger, method_name="judged")

    def judged(self, context: Context, event: dict[str, Any]) -> dict[str, str]:
        """Go on when there is something to say of the canary."""
        self.log.info("%s", event["reason"])
        if not event["good"]:
            self._end(self._cluster(), run_owner(context), event["reason"])
        return {"reason": event["reason"]}

    def _end(self, cluster: ServedModels, by: str, reason: str) -> None:
        from learnloop.database import session
        from learnloop.errors import LearnloopError
        from learnloop.models.promotion import canary
        from learnloop.serving.cluster.connected import rows_of

        name = self.gate["model_name"]
        with session() as db:
            canary(db, name, self.alias, None, percent=0, by=by, reason=reason)
        try:
            cluster.follow(name, rows_of(session, name))
        except LearnloopError as error:
            self.log.warning("its pods are left to platform_maintenance: %s", error)
        raise AirflowFailException(f"{name} version {self.gate['model_version']} was a canary, and was ended: {reason}")

    def _cluster(self) -> ServedModels:
        from learnloop.serving.cluster.connected import served_models

        return served_models(cluster_client(), self.log.info)
