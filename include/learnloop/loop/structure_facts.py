"""What the rules of structure optimisation judge by, asked of the database."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop.database import Dataset, Round, StructureSearch
from learnloop.loop.facts import performance
from learnloop.training.structure.needed import StructureFacts

DECIDED = ("changed", "unchanged")
TRAINED = ("accepted", "rejected", "running")


def known(session: Session, dataset: Dataset) -> tuple[StructureFacts, int | None]:
    """What has happened since the last search that ended in a decision, and the number of the last round that trained."""
    trained = session.scalars(
        select(Round)
        .where(Round.dataset_id == dataset.id, Round.state.in_(TRAINED), Round.labels.is_not(None))
        .order_by(Round.number)
    ).all()
    if not trained:
        return StructureFacts(0, 0, []), None
    looked = session.scalars(
        select(StructureSearch)
        .where(StructureSearch.dataset_id == dataset.id, StructureSearch.state.in_(DECIDED))
        .order_by(StructureSearch.id.desc())
        .limit(1)
    ).first()
    since = trained[0].number if looked is None else looked.facts["round"]
    facts = StructureFacts(
        labels=trained[-1].labels or 0,
        labels_when_chosen=(trained[0].labels or 0) if looked is None else looked.facts["labels"],
        accuracies=[
            float(done.metrics["comparison"]["candidate"]["accuracy"])
            for done in trained
            if done.number >= since and done.metrics.get("comparison")
        ],
        **performance(session, dataset),
    )
    return facts, trained[-1].number
