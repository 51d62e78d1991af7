"""How many labels wait for a round is told without reading them: it must be what reading them says, whatever happened."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, aliased
from test_rounds import dataset, label  # noqa: F401 - the first is a fixture

from learnloop.annotation import pool
from learnloop.database import Annotation, ConfirmedAnnotation, Dataset, Round, RoundAnnotation
from learnloop.loop.rounds import close_round, request_round, start_round
from learnloop.loop.waiting import standing, unused, waiting, waiting_since


def read(db: Session, of: Dataset) -> list[int]:
    """The labels that no round has used and nothing supersedes, one by one."""
    newer = aliased(ConfirmedAnnotation)
    return list(
        db.scalars(
            select(ConfirmedAnnotation.id)
            .outerjoin(RoundAnnotation, RoundAnnotation.confirmed_id == ConfirmedAnnotation.id)
            .outerjoin(newer, newer.supersedes_id == ConfirmedAnnotation.id)
            .where(ConfirmedAnnotation.dataset_id == of.id, RoundAnnotation.round_id.is_(None), newer.id.is_(None))
            .order_by(ConfirmedAnnotation.id)
        )
    )


def put(db: Session, of: Dataset, sample: str, label: str) -> bool:  # noqa: F811
    given = Annotation(dataset_id=of.id, task_id=1, label=label, outcome="confirmed", owner=f"ann{random.random()}")
    db.add(given)
    db.flush()
    return pool.put(
        db,
        dataset_id=of.id,
        batch_id=1,
        sample_id=sample,
        annotation_id=given.id,
        label=label,
        rule="two agree",
        owner="ann",
    )


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_reading_all_labels_says(db, dataset, seed: int) -> None:  # noqa: F811
    chance = random.Random(seed)
    seen = set()
    for _ in range(60):
        what = chance.choice(("label", "label", "label", "label", "round", "end", "fail"))
        under_way = db.scalar(select(Round.number).where(Round.state.in_(("requested", "running"))))
        if what == "label":  # of few samples, so that many correct an earlier one, or say the same
            put(db, dataset, f"s{chance.randrange(8)}", chance.choice(("cat", "dog")))
        elif what == "round" and under_way is None and read(db, dataset):
            request_round(db, dataset, by="ada", reason="")
        elif what in ("end", "fail") and under_way is not None:
            start_round(db, f"round-pets-{under_way}").metrics = {"accepted": False} if what == "end" else {}
            close_round(db, f"round-pets-{under_way}")
        seen.add(what)
        ids = read(db, dataset)
        assert unused(db, dataset) == ids
        assert waiting(db, dataset) == waiting_since(db, dataset)[0] == len(ids)
        assert standing(db, dataset).under_way == db.scalar(
            select(Round.number).where(Round.state.in_(("requested", "running")))
        )
    assert seen == {"label", "round", "end", "fail"}
    assert db.scalar(select(func.count()).where(ConfirmedAnnotation.supersedes_id.is_not(None))) > 5


def test_many_that_wait_are_not_read(db, dataset) -> None:  # noqa: F811
    """With every confirmed label it is asked how many wait."""

    def blocks() -> int:
        from learnloop.loop.waiting import _STANDING

        plan = db.execute(
            text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {_STANDING.text}"), {"dataset": dataset.id}
        ).scalar_one()
        return plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]

    def fill(first: int, last: int) -> None:
        span = {"dataset": dataset.id, "first": first, "last": last}
        db.execute(
            text(
                "INSERT INTO annotations (dataset_id, task_id, label, comment, outcome, outcome_reason, owner)"
                " SELECT :dataset, 1, 'cat', '', 'confirmed', '', 'a' || n"
                " FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n"
            ),
            span,
        )
        db.execute(
            text(
                "INSERT INTO confirmed_annotations (dataset_id, number, batch_id, annotation_id, sample_id, label,"
                " confirmed_by, owner) SELECT dataset_id, substr(owner, 2)::int, 1, id, owner, 'cat', '', owner"
                " FROM annotations WHERE substr(owner, 2)::int BETWEEN :first AND :last"
            ),
            span,
        )
        db.commit()
        for table in ("confirmed_annotations", "round_annotations", "rounds"):
            db.execute(text(f"ANALYZE {table}"))

    fill(1, 20)
    few = blocks()
    fill(21, 5000)
    assert waiting(db, dataset) == 5000
    assert blocks() <= few + 10
