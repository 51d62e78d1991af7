"""How good the models are that serve, whether the data has moved away from them, and whether servers have them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import Metric
from sqlalchemy import extract, func, select
from sqlalchemy.orm import Session

from learnloop.annotation.honest import accuracy_by_model
from learnloop.database import Dataset, Decision, Deployment, DeploymentStatus, ServerReplica
from learnloop.loop.drift import current_drift
from learnloop.loop.facts import accuracy_at_gate
from learnloop.loop.live import live_drift
from learnloop.models.deployment import LIVE_WITHIN
from learnloop.monitoring.datasets import MOST_DATASETS
from learnloop.monitoring.families import gauge

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
        .where(Deployment.dataset_id.in_(select(Dataset.id).order_by(Dataset.id.desc()).limit(MOST_DATASETS)))
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
    last = db.execute(taken_back.where(Decision.kind == "rollback").group_by(Dataset.name)).all()
    what = "When a model version that erred was last taken back."
    yield gauge("model_last_rollback_timestamp_seconds", what, ("dataset",), last)


def quality(db: Session) -> Iterable[Metric]:
    """Accuracy and drift: a few statements for each dataset that serves, so they are told anew less often."""
    at_gate, honest, shifts = [], [], []
    deployed = (
        select(Dataset, Deployment.alias, Deployment.model_version)
        .join(Deployment, Deployment.dataset_id == Dataset.id)
        .order_by(Dataset.id.desc(), Deployment.alias)
        .limit(4 * MOST_DATASETS)
    )
    measured: dict[str, dict[int, tuple[int, float, float, float]]] = {}
    for dataset, alias, version in db.execute(deployed).all():
        at_gate.append((dataset.name, alias, accuracy_at_gate(db, dataset, version)))
        if dataset.name not in measured:
            measured[dataset.name] = {
                found.model_version: (found.labelled, found.low, found.accuracy, found.high)
                for found in accuracy_by_model(db, dataset)
            }
            scored = current_drift(db, dataset)
            if scored is not None:
                shifts.append((dataset.name, "predictions", *scored))
            shifts += [(dataset.name, _SOURCES[of], now, chance) for of, now, chance in live_drift(db, dataset)]
        if version in measured[dataset.name]:
            honest.append((dataset.name, alias, *measured[dataset.name][version]))
    what = "Accuracy on the frozen test split of the model an alias leads to, as its gate measured it."
    yield gauge("model_test_accuracy", what, _ALIAS, at_gate)
    what = "Random samples with a confirmed label that the model had predicted before."
    yield gauge("model_new_data_samples", what, _ALIAS, [(*row[:2], row[2]) for row in honest])
    what = "Accuracy on new random samples, {} Wilson's 95 % interval."
    for number, (name, which) in enumerate((("_low", "low end of"), ("", "the middle; see"), ("_high", "high end of"))):
        told = [(*row[:2], row[3 + number]) for row in honest]
        yield gauge(f"model_new_data_accuracy{name}", what.format(which), _ALIAS, told)
    labels = ("dataset", "source")
    what = "Population stability index between what the current model met first (or was trained on) and meets now."
    yield gauge("drift_psi", what, labels, [row[:3] for row in shifts])
    what = "What that index stays below by chance 95 times in 100."
    yield gauge("drift_psi_by_chance", what, labels, [(*row[:2], row[3]) for row in shifts])
