"""Register a trained model and decide whether it may serve: by thresholds, or by a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import BaseOperator, BaseOperatorLink, Context, Param

from learnloop_airflow.common import model_name_of, run_owner
from learnloop_airflow.lineage import TellsLineage, dataset_version, model_version
from learnloop_airflow.notifiers.events import EventNotifier
from learnloop_airflow.operators.train import parents_of

if TYPE_CHECKING:
    from learnloop.models.report import Facts

ACCEPT, REJECT = "accept", "reject"


class ReportLink(BaseOperatorLink):
    """From the task to the report of the version that it registered."""

    name = "Model report"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        from airflow.sdk.execution_time.xcom import XCom

        from learnloop.settings import settings

        gate = XCom.get_value(ti_key=ti_key, key=XCom.XCOM_RETURN_KEY)
        if not gate:
            return ""
        name = quote(gate["model_name"], safe="")
        return f"{settings().loop_api_url}/models/{name}/versions/{gate['model_version']}/report"


class GateOperator(TellsLineage, BaseOperator):
    """Register the candidate as a model version, compare it with the current model, store the decision.

    A rejected model stays in the registry with its reason; it gets no alias. Where the dataset's gate asks for a
    person's approval nothing is decided here: ``accepted`` is None, and ``ApproveModelOperator`` asks.

    :param pin: what the round trained on (templated).
    :param trained: what ``TrainOperator`` returned (templated).
    :param evaluated: what ``EvaluateOperator`` returned (templated).
    :param kind: ``gate`` for a round, ``structure`` for a structure optimisation.
    :return: ``{accepted, reason, kind, model_name, model_version, dataset, round_id, labels, structure}``
    """

    template_fields: Sequence[str] = ("pin", "trained", "evaluated")
    operator_extra_links = (ReportLink(),)

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
        from learnloop.loop.decisions import learning_curve
        from learnloop.models import registry
        from learnloop.models.gate import decide
        from learnloop.models.report import FILE, report
        from learnloop.settings import settings

        comparison = self.evaluated["result"]
        name = model_name_of(self.pin["dataset"])
        with session() as db:
            dataset = get_dataset(db, self.pin["dataset"])
            rules = loop_config(dataset.loop).gate
            curve = [(point.number, point.labels, point.accuracy) for point in learning_curve(db, dataset)]
        decision = decide(comparison, **rules.thresholds())
        accepted = None if rules.approval == "person" else decision.accepted
        folder = Path(self.trained["models_dir"]) / "model"
        registry.check(folder)
        version = registry.register(
            name,
            folder,
            models_root=settings().models,
            tags={
                "dataset_version": self.pin["version"],
                "round": str(self.pin.get("round", "")),
                "parent_model": str(self.pin.get("parent_model_version") or ""),
                "owner": run_owner(context),
                "run_id": context["run_id"],
                **gate_tags(accepted, decision.reason),
            },
            metrics={"accuracy": comparison["candidate"]["accuracy"]},
            idempotency_key=f"{context['dag'].dag_id}-{context['run_id']}",
            files={FILE: report(self._facts(name, decision.reason, curve, context["run_id"]))},
        )
        gate = {
            "accepted": accepted,
            "reason": decision.reason,
            "kind": self.kind,
            "model_name": name,
            "model_version": version,
            "dataset": self.pin["dataset"],
            "round_id": self.pin.get("round_id"),
            "labels": self.trained["result"].get("labels"),
            "structure": self.pin.get("structure"),
        }
        self.read = [dataset_version(self.pin), *parents_of(self.pin["dataset"], self.pin.get("parent_model_version"))]
        self.made = [model_version(name, version)]
        if accepted is not None:
            record(gate, comparison, context, owner=run_owner(context))
        self.log.info("%s version %d: %s", name, version, decision.reason)
        return gate

    def _facts(self, name: str, decision: str, curve: list[tuple[int, int, float]], run_id: str) -> Facts:
        from learnloop.models import registry
        from learnloop.models.report import Facts

        comparison, trained = self.evaluated["result"], self.trained["result"]
        number = self.pin.get("round")
        if number is not None and trained.get("labels") is not None:
            curve = [point for point in curve if point[0] != number]
            curve.append((number, trained["labels"], comparison["candidate"]["accuracy"]))
        parents, version = [], self.pin.get("parent_model_version")
        known = {found.version: found for found in registry.list_versions(name)} if version else {}
        while version in known:
            parents.append(f"version {version} ({known[version].tags.get('dataset_version', '')})")
            version = int(known[version].tags.get("parent_model") or 0)
        lineage = {
            "dataset version": self.pin["version"],
            "round": "" if number is None else str(number),
            "run": run_id,
            "parents, newest first": ", ".join(parents) or "none",
        }
        return Facts(name, comparison, trained, decision, curve, lineage)


class ApproveModelOperator(HITLOperator):
    """Let a person accept or reject the candidate where the dataset's gate asks for it; else nobody is asked.

    The form shows the comparison with the current model and what the thresholds would decide. Who responds needs the right
    ``model:deploy``; before that is known, nothing happens. Clear the task to ask again.

    :param gate: what ``GateOperator`` returned (templated).
    :param evaluated: what ``EvaluateOperator`` returned (templated).
    :return: as ``GateOperator``, decided.
    """

    template_fields: Sequence[str] = (*HITLOperator.template_fields, "gate", "evaluated")

    def __init__(self, *, gate: Any, evaluated: Any, **kwargs: Any) -> None:
        kwargs.setdefault("notifiers", [EventNotifier("needs_answer")])
        kwargs.setdefault("params", {"reason": Param("", type="string", maxLength=2000, title="Why")})
        super().__init__(subject="A trained model", options=[ACCEPT, REJECT], **kwargs)
        self.gate = gate
        self.evaluated = evaluated

    def execute(self, context: Context) -> Any:
        from learnloop.models.approval import approval_text

        if self.gate["accepted"] is not None:
            return self.gate
        model = f"{self.gate['model_name']} version {self.gate['model_version']}"
        for notifier in self.notifiers:
            if isinstance(notifier, EventNotifier) and not notifier.text:
                notifier.text = f"{model} waits to be accepted or rejected"
        self.subject = f"May {model} serve?"
        self.body = approval_text(self.evaluated["result"], self.gate["reason"])
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        from learnloop.database import session
        from learnloop.datasets.merge.responders import responder
        from learnloop.errors import PermissionDenied
        from learnloop.models import registry
        from learnloop.permissions import authorize

        response = super().execute_complete(context, event)
        who = response["responded_by_user"]
        if not who:
            raise PermissionDenied("nobody is named as who responded, so that the answer counts for nothing")
        with session() as db:
            person = responder(db, who["name"], dag_id=self.dag_id, run_id=context["run_id"], task_id=self.task_id)
            authorize(person, "model:deploy")
        accepted = response["chosen_options"][0] == ACCEPT
        why = str((response.get("params_input") or {}).get("reason") or "no reason given")
        reason = (
            f"{'accepted' if accepted else 'rejected'} by {person.name}: {why}"
            f" (the thresholds would say: {self.gate['reason']})"
        )
        decided = {**self.gate, "accepted": accepted, "reason": reason}
        record(decided, self.evaluated["result"], context, owner=person.name)
        registry.set_tags(self.gate["model_name"], self.gate["model_version"], gate_tags(accepted, reason))
        self.log.info("%s", reason)
        return decided


def gate_tags(accepted: bool | None, reason: str) -> dict[str, str]:
    """What the registry says of a version; a reason that is longer than MLflow takes is cut off."""
    state = "waits for approval" if accepted is None else "accepted" if accepted else "rejected"
    return {"gate": state, "gate_reason": reason[:4000]}


def record(gate: dict[str, Any], comparison: dict[str, Any], context: Context, *, owner: str) -> None:
    """Store the decision with its reason and what was compared."""
    from learnloop.database import session
    from learnloop.loop.decisions import record_decision

    with session() as db:
        record_decision(
            db,
            dataset_name=gate["dataset"],
            round_id=gate["round_id"],
            kind=gate["kind"],
            run_id=context["run_id"],
            accepted=gate["accepted"],
            reason=gate["reason"],
            comparison=comparison,
            model_name=gate["model_name"],
            model_version=gate["model_version"],
            labels=gate["labels"],
            owner=owner,
        )
