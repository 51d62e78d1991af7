"""What the database wants of a model server."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from learnloop.database import Dataset, Deployment, ModelLease, session
from learnloop.serving.noting import LiveRules
from learnloop.serving.versions import Key


@dataclass(frozen=True)
class Wanted:
    """The deployments, the versions with a live lease, and what is noted of live requests, by the model's name."""

    deployments: list[Deployment]
    leased: set[Key]
    live: dict[str, LiveRules] = field(default_factory=dict)

    @property
    def generations(self) -> dict[Key, int]:
        """Every version that must be loaded, with the newest generation that asks for it (0: only a lease does)."""
        newest = dict.fromkeys(self.leased, 0)
        for row in self.deployments:
            for version in (row.model_version, row.canary_version):
                if version is not None:
                    key = (row.model_name, version)
                    newest[key] = max(newest.get(key, 0), row.generation)
        return newest


def read(database_url: str) -> Wanted:
    """What is wanted now.

    Raises:
        SQLAlchemyError: the database did not answer.
    """
    with session(database_url) as opened:
        deployments = opened.scalars(select(Deployment).order_by(Deployment.id)).all()
        leases = opened.execute(
            select(ModelLease.model_name, ModelLease.model_version).where(ModelLease.expires_at > func.now())
        )
        return Wanted(list(deployments), {(name, version) for name, version in leases}, live_rules(opened))


def live_rules(db: Session) -> dict[str, LiveRules]:
    """What datasets want noted of the requests to their models, by the model's name; only of what is deployed."""
    loops = db.execute(
        select(Deployment.model_name, Dataset.id, Dataset.loop["live"])
        .join(Dataset, Dataset.id == Deployment.dataset_id)
        .where(Dataset.loop["live"].is_not(None))
        .distinct()
    )
    return {name: LiveRules(number, **rules) for name, number, rules in loops if rules}
