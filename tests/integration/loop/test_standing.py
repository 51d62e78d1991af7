"""Where a loop is, from what the database holds."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from learnloop.database import Batch, Dataset, Deployment, Round, ScoringRun, StructureSearch
from learnloop.loop.decisions import CurvePoint, learning_curve
from learnloop.loop.standing import standing
from learnloop.loop.steps import BASE, RETRAIN, SCORE, STRUCTURE


@pytest.fixture
def dataset(db: Session) -> Dataset:
    made = Dataset(name="pets", task_type="image_classification", loop={"classes": ["cat", "dog"]}, owner="ada")
    db.add(made)
    db.flush()
    return made


def add_round(
    db: Session, of: Dataset, number: int, state: str, accuracy: float | None = None, **values: object
) -> Round:
    metrics = {} if accuracy is None else {"comparison": {"candidate": {"accuracy": accuracy}}}
    made = Round(dataset_id=of.id, number=number, state=state, metrics=metrics, owner="ada")
    for name, value in values.items():
        setattr(made, name, value)
    db.add(made)
    db.flush()
    return made


def serve(db: Session, of: Dataset) -> None:
    db.add(Deployment(dataset_id=of.id, model_name=of.name, alias="current", model_version=1, owner="ada"))
    db.flush()


def test_a_dataset_nobody_has_trained_on(db: Session, dataset: Dataset) -> None:
    found = standing(db, dataset)
    assert (found.now, [need.dag_id for need in found.needs]) == (BASE, ["base_model_training"])
    assert found.progress.waiting == 0


def test_the_newest_of_each_is_told(db: Session, dataset: Dataset) -> None:
    serve(db, dataset)
    base = add_round(db, dataset, 0, "accepted", 0.8, labels=60, reason="base model")
    base.metrics = {**base.metrics, "run_id": "by-hand"}
    batch = Batch(dataset_id=dataset.id, name="pool", tree="0" * 32 + ".dir", samples=9, owner="ada")
    db.add(batch)
    db.flush()
    for number in (1, 2):
        db.add(
            ScoringRun(
                dataset_id=dataset.id,
                batch_id=batch.id,
                run_id=f"scored-{number}",
                model_name="pets",
                model_version=1,
                predictions="",
                strategy="margin",
                scored=9,
                chosen=number,
                owner="ada",
            )
        )
    db.flush()
    found = standing(db, dataset)
    assert found.now == SCORE
    assert [step.said for step in found.steps[1:3]] == ["Batch pool: 9 samples scored.", "2 chosen by margin."]
    assert found.steps[SCORE - 1].run_id == "scored-2"
    assert found.steps[RETRAIN - 1].said == "No round has retrained yet."
    add_round(db, dataset, 1, "running", reason="40 confirmed labels wait")
    running = standing(db, dataset)
    assert (running.now, running.steps[RETRAIN - 1].run_id) == (RETRAIN, "round-pets-1")


def test_a_structure_search_says_its_reason_and_then_its_outcome(db: Session, dataset: Dataset) -> None:
    serve(db, dataset)
    search = StructureSearch(
        dataset_id=dataset.id, run_id="s-1", state="searching", reason="the data has doubled.", owner="ada"
    )
    db.add(search)
    db.flush()
    found = standing(db, dataset)
    assert (found.now, found.steps[STRUCTURE - 1].said) == (
        STRUCTURE,
        "Structures are being tried: the data has doubled.",
    )
    search.state, search.outcome = "unchanged", "no structure is better"
    db.flush()
    assert standing(db, dataset).steps[STRUCTURE - 1].said == "Looked at, and kept: no structure is better."


def test_the_curve_has_the_rounds_that_were_measured(db: Session, dataset: Dataset) -> None:
    add_round(db, dataset, 0, "accepted", 0.8, labels=60)
    add_round(db, dataset, 1, "failed")
    add_round(db, dataset, 2, "rejected", 0.79, labels=100)
    assert learning_curve(db, dataset) == [CurvePoint(0, 60, 0.8, "accepted"), CurvePoint(2, 100, 0.79, "rejected")]
