"""Register a trained model and decide whether it may serve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context

from learnloop_airflow.common import model_name_of, run_owner


class GateOperator(BaseOperator):
    """Register the candidate as a model version, compare it with the current model, store the decision.

    A rejected model stays in the registry with its reason; it gets no alias.

    :param pin: what the round trained on (templated).
    :param trained: what ``TrainOperator`` returned (templated).
    :param evaluated: what ``EvaluateOperator`` returned (templated).
    :param kind: ``gate`` for a round, ``structure`` for a structure optimisation.
    :return: ``{accepted, reason, model_name, model_version, metrics}``
    """

    template_fields: Sequence[str] = ("pin", "trained", "evaluated")

    def __init__(self, *, pin: Any, trained: Any, evaluated: Any, kind: str = "gate", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pin = pin
        self.trained = trained
        self.evaluated = evaluated
        self.kind = kind

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.datasets.schema import loop_config
        from learnloop.datasets.versions import get_dataset
        from learnloop.loop.decisions import record_decision
        from learnloop.models import registry
        from learnloop.models.gate import decide
        from learnloop.settings import settings

        comparison = self.evaluated["result"]
        name = model_name_of(self.pin["dataset"])
        owner = run_owner(context)
        with session() as db:
            rules = loop_config(get_dataset(db, self.pin["dataset"]).loop).gate
        decision = decide(comparison, min_gain=rules.min_gain, max_class_drop=rules.max_class_drop)
        version = registry.register(
            name,
            Path(self.trained["models_dir"]) / "model",
            models_root=settings().models,
            tags={
                "dataset_version": self.pin["version"],
                "round": str(self.pin.get("round", "")),
                "parent_model": str(self.pin.get("parent_model_version") or ""),
                "owner": owner,
                "run_id": context["run_id"],
                "gate": "accepted" if decision.accepted else "rejected",
                "gate_reason": decision.reason,
            },
            metrics={"accuracy": comparison["candidate"]["accuracy"]},
            idempotency_key=f"{context['dag'].dag_id}-{context['run_id']}",
        )
        with session() as db:
            record_decision(
                db,
                dataset_name=self.pin["dataset"],
                round_id=self.pin.get("round_id"),
                kind=self.kind,
                run_id=context["run_id"],
                accepted=decision.accepted,
                reason=decision.reason,
                comparison=comparison,
                model_name=name,
                model_version=version,
                labels=self.trained["result"].get("labels"),
                owner=owner,
            )
        self.log.info("%s version %d: %s", name, version, decision.reason)
        return {
            "accepted": decision.accepted,
            "reason": decision.reason,
            "model_name": name,
            "model_version": version,
            "dataset": self.pin["dataset"],
            "round_id": self.pin.get("round_id"),
            "structure": self.trained["result"]["params"] if self.kind == "structure" else None,
        }
