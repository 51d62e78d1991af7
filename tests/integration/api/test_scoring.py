"""What was scored and how good the models were, over the API and as a terminal shows it."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from test_data_cli import run  # noqa: F401 - fixture

from learnloop.database import Annotation, AnnotationTask, Batch, ConfirmedAnnotation, Dataset, ScoringRun


@pytest.fixture
def dataset(db: Session) -> Dataset:
    made = Dataset(name="pets", task_type="image_classification", loop={"classes": ["cat", "dog"]}, owner="ada")
    db.add(made)
    db.flush()
    batch = Batch(dataset_id=made.id, name="b", tree="0" * 32 + ".dir", samples=3, owner="ada")
    db.add(batch)
    db.flush()
    common = {"dataset_id": made.id, "batch_id": batch.id, "owner": "ada"}
    db.add(
        ScoringRun(
            **common,
            run_id="r1",
            model_name="pets",
            model_version=4,
            predictions="/x",
            strategy="margin_sampling",
            scored=3,
            chosen=3,
            summary={"random": 2},
        )
    )
    for n, (strategy, label) in enumerate([("random", "cat"), ("random", "dog"), ("margin_sampling", "dog")]):
        reason = {"strategy": strategy, "rank": n, "margin": 0.1, "score": 0.1, "model_version": 4}
        task = AnnotationTask(
            **common, sample_id=f"s{n}", path="x", object="0" * 32, reason=reason, prediction={"label": "cat"}
        )
        db.add(task)
        db.flush()
        answer = Annotation(dataset_id=made.id, task_id=task.id, label=label, owner="ben", outcome="confirmed")
        db.add(answer)
        db.flush()
        db.add(
            ConfirmedAnnotation(
                **common,
                number=n + 1,
                annotation_id=answer.id,
                sample_id=f"s{n}",
                label=label,
                confirmed_by="two agree",
            )
        )
    db.commit()
    return made


def test_scoring_runs_are_listed(dataset, as_user) -> None:
    found = as_user("vic", "viewer").get("/datasets/pets/scoring-runs").json()
    (item,) = found["items"]
    assert (item["batch"], item["strategy"], item["chosen"], item["summary"]) == (
        "b",
        "margin_sampling",
        3,
        {"random": 2},
    )
    assert as_user("vic", "viewer").get("/datasets/nobody/scoring-runs").status_code == 404
    assert as_user("eve").get("/datasets/pets/scoring-runs").status_code == 403


def test_a_scientist_sees_how_good_a_model_was_on_random_samples(dataset, run) -> None:  # noqa: F811
    (found,) = json.loads(run("sam", "model", "accuracy", "pets", "--json").output)
    assert (found["model_version"], found["labelled"], found["right"], found["accuracy"]) == (4, 2, 1, 0.5)
    assert 0 < found["low"] < 0.5 < found["high"] < 1
    shown = run("sam", "model", "accuracy", "pets").output
    assert "1 of 2" in shown
    assert "50.0%" in shown


def test_without_random_samples_it_says_where_they_come_from(db, dataset, run) -> None:  # noqa: F811
    db.execute(ConfirmedAnnotation.__table__.delete())
    db.commit()
    assert "random_share" in run("sam", "model", "accuracy", "pets").output


def test_what_a_task_shows_is_what_a_gold_task_has_too(db, dataset, as_user) -> None:
    task = db.scalars(select(AnnotationTask)).first()
    task.state, task.claimed_by, task.lease_expires_at = "claimed", "ben", func.now()
    db.commit()
    shown = as_user("ben", "annotator").get(f"/tasks/{task.id}").json()
    assert shown["chosen_by"] == {"strategy": "random", "margin": 0.1, "model_version": 4}
