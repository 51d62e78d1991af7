"""How good the models are that serve, whether the data has moved away from them, and whether servers have them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import Metric
from sqlalchemy import extract, func, select
from sqlalchemy.orm import Session

from learnloop.annotation.honest import accuracy_by_model
from learnloop.database import Dataset, Decision, Deployment, DeploymentStatus, ServerReplica
from learnloop.loop.drift import current_drift
from learnloop.loop.facts import accuracies_at_gate
from learnloop.loop.live import live_drift
from learnloop.models.deployment import LIVE_WITHIN
from learnloop.monitoring.datasets import NEWEST, TOLD
from learnloop.monitoring.families import gauge
from learnloop.permissions import SERVICE

_ALIAS = ("dataset", "alias")
_SOURCES = {"what the model is asked": "requests", "what the model answers live": "live_answers"}


def serving(db: Session) -> Iterable[Metric]:
    """What should be served, and which live servers do."""
    live = ServerReplica.seen_at > func.now() - LIVE_WITHIN
    replicas = db.scalar(select(func.count()).select_from(ServerReplica).where(live))
    yield gauge("model_server_replicas", "Model servers that told of themselves just now.", (), [(replicas,)])
    up_to_date = (DeploymentStatus.generation == Deployment.generation) & (DeploymentStatus.state == "ready")
    rows = db.execute(
        select(
            Deployment.model_name,
            Deployment.alias,
            func.max(Deployment.model_version),
            func.count().filter(up_to_date, live),
            func.count().filter(DeploymentStatus.state == "failed", live),
        )
        .outerjoin(DeploymentStatus, DeploymentStatus.deployment_id == Deployment.id)
        .outerjoin(ServerReplica, ServerReplica.name == DeploymentStatus.replica)
        .where(Deployment.dataset_id.in_(NEWEST))
        .group_by(Deployment.model_name, Deployment.alias)
    ).all()
    what = "The model version that should be served under an alias."
    yield gauge("deployment_version", what, _ALIAS, [row[:3] for row in rows])
    what = "Live model servers that serve what they should under an alias."
    yield gauge("deployment_ready_replicas", what, _ALIAS, [(*row[:2], row[3]) for row in rows])
    what = "Live model servers that could not load what they should serve."
    yield gauge("deployment_failed_replicas", what, _ALIAS, [(*row[:2], row[4]) for row in rows])
    decided = select(Dataset.name, Decision.kind, Decision.accepted, func.count()).join(
        Dataset, Dataset.id == Decision.dataset_id
    )
    counted = db.execute(decided.group_by(Dataset.name, Decision.kind, Decision.accepted)).all()
    told = [(name, kind, "accepted" if accepted else "rejected", count) for name, kind, accepted, count in counted]
    yield gauge("model_decisions", "Decisions about models, ever.", ("dataset", "kind", "outcome"), told)
    taken_back = select(Dataset.name, extract("epoch", func.max(Decision.created_at))).join(
        Dataset, Dataset.id == Decision.dataset_id
    )
    # A person's rollback is of that kind, too, and no fault that somebody else has to be told of.
    by_itself = (Decision.kind == "rollback") & (Decision.owner == SERVICE.name)
    last = db.execute(taken_back.where(by_itself).group_by(Dataset.name)).all()
    what = "When the platform last took a model version back, because it erred."
    yield gauge("model_last_rollback_timestamp_seconds", what, ("dataset",), last)


def quality(db: Session) -> Iterable[Metric]:
    """Accuracy and drift: a few statements for each dataset that serves, so they are told anew less often."""
    wanted = (
        select(Dataset, Deployment.alias, Deployment.model_version)
        .join(Deployment, Deployment.dataset_id == Dataset.id)
        .where(TOLD)
        .order_by(Dataset.id, Deployment.alias)
    )
    deployed = [(dataset, alias, version) for dataset, alias, version in db.execute(wanted)]
    datasets = list({dataset.id: dataset for dataset, _, _ in deployed}.values())
    yield from _accuracy(db, deployed, datasets)
    yield from _drift(db, datasets)


def _accuracy(db: Session, deployed: list[tuple[Dataset, str, int]], datasets: list[Dataset]) -> Iterable[Metric]:
    what = "Accuracy on the frozen test split of the model an alias leads to, as its gate measured it."
    known_at_gate = accuracies_at_gate(db, {(of.id, version) for of, _, version in deployed})
    at_gate = [(of.name, alias, known_at_gate.get((of.id, version))) for of, alias, version in deployed]
    yield gauge("model_test_accuracy", what, _ALIAS, at_gate)
    served = {of.id: {version for each, _, version in deployed if each.id == of.id} for of in datasets}
    honest = {
        (of.id, found.model_version): found for of in datasets for found in accuracy_by_model(db, of, served[of.id])
    }
    known = [(of.name, alias, honest[of.id, version]) for of, alias, version in deployed if (of.id, version) in honest]
    what = "Random samples with a confirmed label that the model had predicted before."
    samples = [(name, alias, found.labelled) for name, alias, found in known]
    yield gauge("model_new_data_samples", what, _ALIAS, samples)
    what = "Accuracy on these samples: {} Wilson's 95 % interval."
    for end, of_interval in (("accuracy", "what they say, within"), ("low", "low end of"), ("high", "high end of")):
        suffix = "" if end == "accuracy" else f"_{end}"
        told = [(name, alias, getattr(found, end)) for name, alias, found in known]
        yield gauge(f"model_new_data_accuracy{suffix}", what.format(of_interval), _ALIAS, told)


def _drift(db: Session, datasets: list[Dataset]) -> Iterable[Metric]:
    shifts = []
    for of in datasets:
        worst: dict[str, tuple[float, float]] = {}
        scored = current_drift(db, of)
        if scored is not None:
            shifts.append((of.name, "predictions", *scored))
        # One of a source, the worst against its bound: of two with the same labels Prometheus keeps the first alone.
        for found in sorted(live_drift(db, of), key=lambda shift: shift[1] - shift[2]):
            worst[_SOURCES[found[0]]] = found[1:]
        shifts += [(of.name, source, *shift) for source, shift in worst.items()]
    labels = ("dataset", "source")
    what = "Population stability index between what the current model met first (or was trained on) and meets now."
    yield gauge("drift_psi", what, labels, [row[:3] for row in shifts])
    what = "What that index stays below by chance 95 times in 100."
    yield gauge("drift_psi_by_chance", what, labels, [(*row[:2], row[3]) for row in shifts])
