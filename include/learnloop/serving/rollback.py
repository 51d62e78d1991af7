"""Takes a version that errs back from its aliases, in the database, so that every server does."""

from __future__ import annotations

from sqlalchemy import select

from learnloop.database import Dataset, Deployment, session
from learnloop.loop.decisions import record_decision
from learnloop.models.deployment import withdraw_version
from learnloop.permissions import SERVICE
from learnloop.serving.versions import Key

MIN_FAULTS = 3
MIN_SHARE = 0.05
"""So many requests that another version could answer, and this share of all, must have failed."""


def take_back(database_url: str, bad: Key, reason: str) -> None:
    """Serve the version before again under every alias of ``bad``, end it as a canary, and keep why; once.

    An alias without a version before stays as it is.

    Raises:
        SQLAlchemyError: the database did not answer.
    """
    name, version = bad
    with session(database_url) as db:
        rows = db.scalars(
            select(Deployment)
            .where(
                Deployment.model_name == name,
                (Deployment.model_version == version) & Deployment.previous_version.is_not(None)
                | (Deployment.canary_version == version),
            )
            .order_by(Deployment.id)
            .with_for_update(key_share=True)
        ).all()
        for row in rows:
            was = "canary of " if row.canary_version == version else ""
            withdraw_version(db, row, version, owner=SERVICE.name)
            record_decision(
                db,
                dataset_name=db.get_one(Dataset, row.dataset_id).name,
                kind="rollback",
                run_id=f"rollback-{name}-{row.alias}-{row.generation}",
                accepted=True,
                reason=f"{was}{row.alias}: from {version}: {reason}",
                model_name=name,
                model_version=row.model_version,
                owner=SERVICE.name,
            )
