"""Put an accepted model version behind an alias: of model servers, or of pods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from learnloop_airflow.common import cluster_client, run_owner
from learnloop_airflow.operators.undoing import UndoingOperator


class DeployOperator(UndoingOperator):
    """Move ``alias``, and ``current`` with it, to the gate's model, and wait until every live server serves it.

    A server that cannot load the model, or whose smoke test fails, keeps the old one: the task then fails with the
    server's reason and both aliases stay where they were. Skipped when the gate rejected the model.

    With ``LEARNLOOP_SERVING_RUNNER=kubernetes`` the alias is a Deployment and a Service besides (docs/kubernetes.md): its
    pods are rolled out one by one, and a rollout that stalls is taken back, with what it waited for as the reason. A task
    that is marked failed or cleared meanwhile leads both aliases back.

    :param gate: what ``ApproveModelOperator`` (or ``GateOperator``) returned (templated).
    :param alias: ``base``, ``realtime`` or ``optimized``.
    :param timeout_seconds: how long to wait for the servers.
    """

    template_fields: Sequence[str] = ("gate", "alias")

    def __init__(self, *, gate: Any, alias: str, timeout_seconds: float = 120, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gate = gate
        self.alias = alias
        self.timeout_seconds = timeout_seconds

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.datasets.versions import get_dataset
        from learnloop.loop.decisions import adopt_structure, mark_served
        from learnloop.models.promotion import CURRENT, move_aliases

        if not self.gate["accepted"]:
            raise AirflowSkipException(f"not deployed: {self.gate['reason']}")
        name, version, owner = self.gate["model_name"], self.gate["model_version"], run_owner(context)
        with session() as db:
            dataset_id = get_dataset(db, self.gate["dataset"]).id
        with self.interruptible():
            moved = move_aliases(
                session,
                dataset_id,
                name,
                (self.alias, CURRENT),
                version,
                by=owner,
                timeout=self.timeout_seconds,
                client=cluster_client(),
                log=self.log.info,
            )
        for one in moved:
            self.log.info("%s:%s is version %d, served since %s", name, one.alias, version, one.served_at.isoformat())
        served_at = moved[-1].served_at
        with session() as db:
            if self.gate.get("structure"):
                # The rounds that follow go on with the structure that is served now.
                adopt_structure(db, self.gate["dataset"], self.gate["structure"])
            if self.gate.get("round_id") is not None:
                mark_served(db, self.gate["round_id"], served_at)
        return {"model_name": name, "alias": self.alias, "model_version": version, "served_at": served_at.isoformat()}
