"""Try an accepted model version on a share of an alias's requests, before it answers all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from learnloop_airflow.common import cluster_client, run_owner
from learnloop_airflow.operators.undoing import UndoingOperator

if TYPE_CHECKING:
    from learnloop.serving.cluster.served import ServedModels
    from learnloop.serving.cluster.units import Unit


class CanaryOperator(UndoingOperator):
    """Have the gate's model answer a share of ``alias``'s requests, watch it, and end it when it does worse.

    Where models are pods (``LEARNLOOP_SERVING_RUNNER=kubernetes``) it has pods of its own, else a share within each model
    server. The task waits in the triggerer; it fails with the reason when the canary fails more requests than what it stands
    beside, is slower, or its pods end by themselves, and when it was asked too seldom to tell; the canary is gone then.
    A round whose model did worse is rejected: its labels stay used. ``DeployOperator`` follows on success.

    :param gate: what ``ApproveModelOperator`` (or ``GateOperator``) returned (templated).
    :param alias: ``base``, ``realtime`` or ``optimized``: something must be served there already, else it is skipped.
    :param percent: the share; of pods, at most 50.
    :param rules: when it is bad, as fields of `learnloop.serving.cluster.judging.Rules`.
    :param as_dataset_says: take both from the dataset's ``loop: canary:``; skipped where it says nothing.
    :param timeout_seconds: how long its pods, or servers, may take to be ready.
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
        as_dataset_says: bool = False,
        timeout_seconds: float = 300,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.gate = gate
        self.alias = alias
        self.percent = percent
        self.rules = rules or {}
        self.as_dataset_says = as_dataset_says
        self.timeout_seconds = timeout_seconds

    def execute(self, context: Context) -> None:
        from learnloop.database import session
        from learnloop.errors import LearnloopError
        from learnloop.models.canaries import ended_meanwhile
        from learnloop.models.deployment import Replaced, served_version
        from learnloop.models.promotion import canary
        from learnloop.serving.cluster.judging import Rules
        from learnloop.serving.cluster.units import Unit
        from learnloop_airflow.triggers.canary import CanaryTrigger

        if not self.gate["accepted"]:
            raise AirflowSkipException(f"not tried: {self.gate['reason']}")
        if self.as_dataset_says:
            self._read_dataset()
        name, version = self.gate["model_name"], self.gate["model_version"]
        rules, cluster = asdict(Rules(**self.rules)), self._cluster()
        with session() as db:
            if served_version(db, name, self.alias) in (None, version):
                raise AirflowSkipException(
                    f"{name}:{self.alias} serves nothing that version {version} could stand beside"
                )
            by, why = run_owner(context), "tried by a run"
            row = canary(db, name, self.alias, version, percent=self.percent, by=by, reason=why, rules=rules)
            unit = Unit.of(row)
        try:
            with self.interruptible():
                self._wait(cluster, unit)
        except Replaced as error:
            ended = ended_meanwhile(session, unit)
            if ended is not None and ended.worse:  # by a server, before all of them had it
                self._fail(cluster, run_owner(context), ended.reason, worse=True)
            self._fail(cluster, run_owner(context), str(error))
        except LearnloopError as error:
            self._fail(cluster, run_owner(context), str(error))
        except BaseException:
            self._end(cluster, run_owner(context), "its task was ended by hand")
            raise
        namespace = None if cluster is None else cluster.namespace
        self.defer(trigger=CanaryTrigger(unit=asdict(unit), namespace=namespace, rules=rules), method_name="judged")

    def judged(self, context: Context, event: dict[str, Any]) -> dict[str, str]:
        """Go on when there is something to say of the canary."""
        self.log.info("%s", event["reason"])
        if not event["good"]:
            self._fail(self._cluster(), run_owner(context), event["reason"], worse=event["worse"])
        return {"reason": event["reason"]}

    def _read_dataset(self) -> None:
        from learnloop.database import session
        from learnloop.datasets.schema import loop_config
        from learnloop.datasets.versions import get_dataset

        with session() as db:
            wanted = loop_config(get_dataset(db, self.gate["dataset"]).loop).canary
        if wanted is None:
            raise AirflowSkipException(f"dataset {self.gate['dataset']} asks for no canary (loop: canary:)")
        self.percent = wanted.percent
        self.rules = {**self.rules, "seconds": wanted.seconds, "requests": wanted.requests}

    def _wait(self, cluster: ServedModels | None, unit: Unit) -> None:
        """Until the canary answers its share everywhere."""
        from learnloop.database import session
        from learnloop.models.deployment import wait_until_served
        from learnloop.serving.cluster.connected import rows_of

        if cluster is None:
            wait_until_served(session, unit.row, unit.generation, timeout=self.timeout_seconds)
        else:
            cluster.follow(
                unit.model, rows_of(session, unit.model), wait_for=(unit.alias,), timeout=self.timeout_seconds
            )

    def _reject(self, reason: str) -> None:
        from learnloop.database import session
        from learnloop.loop.decisions import reject_round
        from learnloop.models import registry
        from learnloop_airflow.operators.gate import gate_tags

        reason = f"as a canary it did worse: {reason}"
        if (round_id := self.gate.get("round_id")) is not None:
            with session() as db:
                reject_round(db, round_id, reason)
        registry.set_tags(self.gate["model_name"], self.gate["model_version"], gate_tags(False, reason))

    def _end(self, cluster: ServedModels | None, by: str, reason: str) -> None:
        from learnloop.database import session
        from learnloop.errors import LearnloopError
        from learnloop.models.deployment import canary_version
        from learnloop.models.promotion import canary
        from learnloop.serving.cluster.connected import rows_of

        name = self.gate["model_name"]
        with session() as db:
            if canary_version(db, name, self.alias) == self.gate["model_version"]:  # else others ended it, and said why
                canary(db, name, self.alias, None, percent=0, by=by, reason=reason)
        if cluster is None:
            return
        try:
            cluster.follow(name, rows_of(session, name))
        except LearnloopError as error:
            self.log.warning("its pods are left to platform_maintenance: %s", error)

    def _fail(self, cluster: ServedModels | None, by: str, reason: str, *, worse: bool = False) -> None:
        if worse:
            self._reject(reason)
        self._end(cluster, by, reason)
        name = self.gate["model_name"]
        raise AirflowFailException(f"{name} version {self.gate['model_version']} was a canary, and was ended: {reason}")

    def _cluster(self) -> ServedModels | None:
        """Where models are pods; None: they are in model servers that read the database."""
        from learnloop.serving.cluster.connected import served_models
        from learnloop.settings import settings

        if settings().serving_runner != "kubernetes":
            return None
        return served_models(cluster_client(), self.log.info)
