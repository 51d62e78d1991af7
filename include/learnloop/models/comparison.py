"""Two versions of a model side by side, from what was measured when each was decided about."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop.database import Dataset, Decision
from learnloop.models.registered import RegisteredVersion

FIGURES = ("accuracy", "ece", "latency_ms", "model_bytes")


def scores_of(db: Session, version: RegisteredVersion) -> dict[str, Any] | None:
    """What the evaluation measured of a version on the frozen test split; None when it was never decided about."""
    found = db.scalars(
        select(Decision.comparison)
        .join(Dataset, Dataset.id == Decision.dataset_id)
        .where(
            Dataset.name == version.name,
            Decision.comparison["model_version"].as_integer() == version.version,
            Decision.comparison["candidate"].as_string().is_not(None),
        )
        .order_by(Decision.id.desc())
        .limit(1)
    ).first()
    return None if found is None else dict(found["candidate"])


def side_by_side(db: Session, before: RegisteredVersion, after: RegisteredVersion) -> dict[str, Any]:
    """Figures and per-class accuracy of both, and what ``after`` changes.

    A figure that one of them lacks is None there and in ``change``. ``same_data`` says whether both were measured on
    one test split, as far as the dataset version, or else the number of samples of each class, tells: merged labels
    make a new version and leave the test split as it was.
    """
    old, new = scores_of(db, before) or {}, scores_of(db, after) or {}
    names = dict.fromkeys([*old.get("per_class", {}), *new.get("per_class", {})])
    return {
        "before": before.version,
        "after": after.version,
        "same_data": before.tags.get("dataset_version") == after.tags.get("dataset_version")
        or _tested_on(old) == _tested_on(new),
        "figures": {name: _change(old.get(name), new.get(name)) for name in FIGURES},
        "per_class": {
            name: _change(
                old.get("per_class", {}).get(name, {}).get("accuracy"),
                new.get("per_class", {}).get(name, {}).get("accuracy"),
            )
            for name in names
        },
        "confusion": {
            "classes": new.get("classes") or old.get("classes"),
            "before": old.get("confusion"),
            "after": new.get("confusion"),
        },
    }


def _tested_on(scores: dict[str, Any]) -> dict[str, int]:
    return {name: of["support"] for name, of in scores.get("per_class", {}).items()}


def _change(before: float | None, after: float | None) -> dict[str, float | None]:
    change = None if before is None or after is None else after - before
    return {"before": before, "after": after, "change": change}
