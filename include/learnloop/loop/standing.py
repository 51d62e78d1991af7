"""Where a dataset is in its loop, asked of the database; what it says is `learnloop.loop.steps`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from learnloop.database import Batch, Dataset, MergeRequest, Round, ScoringRun, StructureSearch
from learnloop.database.rounds import round_run_id
from learnloop.loop.decisions import ACCURACY
from learnloop.loop.progress import progress
from learnloop.loop.rounds import BASE_MODEL, OPEN
from learnloop.loop.steps import LoopFacts, RoundFacts, ScoringFacts, SearchFacts, Standing, judge
from learnloop.models.deployment import served_version

MOST_MERGES = 20
"""So many open merges are named."""

_of: Any = bindparam("dataset")
_ROUND = (
    select(
        Round.number,
        Round.state,
        Round.reason,
        Round.labels,
        Round.metrics["run_id"].as_string().label("run_id"),
        ACCURACY.label("accuracy"),
    )
    .where(Round.dataset_id == _of)
    .order_by(Round.number.desc())
    .limit(1)
)
_TRAINED = _ROUND.where(Round.labels.is_not(None), Round.state.not_in(OPEN))
_SCORING = (
    select(ScoringRun.run_id, Batch.name.label("batch"), ScoringRun.scored, ScoringRun.chosen, ScoringRun.strategy)
    .join(Batch, Batch.id == ScoringRun.batch_id)
    .where(ScoringRun.dataset_id == _of)
    .order_by(ScoringRun.id.desc())
    .limit(1)
)
_SEARCH = (
    select(StructureSearch.run_id, StructureSearch.state, StructureSearch.reason, StructureSearch.outcome)
    .where(StructureSearch.dataset_id == _of)
    .order_by(StructureSearch.id.desc())
    .limit(1)
)
_MERGES = (
    select(MergeRequest.id)
    .where(MergeRequest.dataset_id == _of, MergeRequest.state == "open")
    .order_by(MergeRequest.id)
    .limit(MOST_MERGES)
)


def standing(session: Session, dataset: Dataset, annotator: str | None = None) -> Standing:
    """Where ``dataset`` is in the seven steps and what waits for a person; reads only.

    Args:
        annotator: whose own answers its progress counts.
    """
    values = {"dataset": dataset.id}
    scoring = session.execute(_SCORING, values).mappings().first()
    search = session.execute(_SEARCH, values).first()
    return judge(
        LoopFacts(
            progress=progress(session, dataset, annotator),
            serving=served_version(session, dataset.name, "current"),
            newest=_round(dataset, session.execute(_ROUND, values).first()),
            trained=_round(dataset, session.execute(_TRAINED, values).first()),
            scoring=None if scoring is None else ScoringFacts(**scoring),
            search=None
            if search is None
            else SearchFacts(search.run_id, search.state, (search.outcome or search.reason).rstrip(".")),
            open_merges=tuple(session.scalars(_MERGES, values)),
        )
    )


def _round(dataset: Dataset, row: Any) -> RoundFacts | None:
    if row is None:
        return None
    return RoundFacts(
        number=row.number,
        state=row.state,
        run_id=row.run_id or round_run_id(dataset.name, row.number),
        is_base=row.reason == BASE_MODEL,
        labels=row.labels,
        accuracy=row.accuracy,
    )
