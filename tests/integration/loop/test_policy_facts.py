"""What the policy judges by comes from the rows that the loop leaves, and every evaluation keeps it with its reason."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pool_rows import next_number
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from learnloop.database import (
    Annotation,
    AnnotationTask,
    Batch,
    ConfirmedAnnotation,
    Dataset,
    Decision,
    Deployment,
    PolicyEvaluation,
    Round,
    ScoringRun,
)
from learnloop.loop.drift import current_drift, distribution, keep_distribution, psi
from learnloop.loop.progress import progress
from learnloop.loop.rounds import due_rounds, evaluate_policy, evaluate_waiting


@pytest.fixture
def dataset(db: Session) -> Dataset:
    """With version 2 served, accepted at 95 %; one label waits, and 40 would be enough."""
    made = Dataset(name="pets", task_type="image_classification", loop={"classes": ["cat", "dog"]}, owner="ada")
    db.add(made)
    db.flush()
    comparison = {"candidate": {"accuracy": 0.95}, "model_version": 2}
    db.add_all(
        [
            Batch(id=1, dataset_id=made.id, name="b", tree="0" * 32 + ".dir", samples=9, owner="ada"),
            Deployment(dataset_id=made.id, model_name="pets", alias="current", model_version=2, owner="ada"),
            Decision(
                dataset_id=made.id, kind="gate", run_id="r", accepted=True, reason="", comparison=comparison, owner="a"
            ),
        ]
    )
    db.flush()
    answer(db, made, "s0", "cat", "cat")
    db.commit()
    return made


def answer(db: Session, dataset: Dataset, sample: str, said: str, label: str, **reason: Any) -> None:
    """A confirmed label of a sample of which the model said ``said``."""
    task = AnnotationTask(
        dataset_id=dataset.id,
        batch_id=1,
        sample_id=sample,
        path="x",
        object="0" * 32,
        prediction={"label": said},
        reason=reason,
        state="confirmed",
        owner="a",
    )
    db.add(task)
    db.flush()
    given = Annotation(dataset_id=dataset.id, task_id=task.id, label=label, outcome="confirmed", owner="ben")
    db.add(given)
    db.flush()
    db.add(
        ConfirmedAnnotation(
            dataset_id=dataset.id,
            batch_id=1,
            annotation_id=given.id,
            sample_id=sample,
            label=label,
            confirmed_by="gold passed",
            number=next_number(dataset.id),
            owner="ben",
        )
    )
    db.flush()


def asked(db: Session, dataset: Dataset, **policy: Any) -> PolicyEvaluation:
    dataset.loop = {**dataset.loop, "policy": policy}
    db.flush()
    said = progress(db, dataset).reason  # what the page shows
    evaluation = evaluate_policy(db, dataset)
    assert evaluation.reason == said
    return evaluation


def test_by_default_only_labels_count(db, dataset) -> None:
    evaluation = asked(db, dataset)
    assert (evaluation.due, evaluation.reason) == (False, "39 more labels needed")
    assert evaluation.facts["waiting"] == 1
    assert evaluation.facts["psi"] is None


def test_time_passes_without_a_label(db, dataset) -> None:
    ended = Round(dataset_id=dataset.id, number=0, state="rejected", owner="a", metrics={})
    ended.finished_at = func.now() - timedelta(hours=30)
    db.add(ended)
    assert asked(db, dataset, interval_hours=31).due is False
    dataset.loop = {**dataset.loop, "policy": {"interval_hours": 29}}
    db.flush()
    (evaluation,) = evaluate_waiting(db)
    assert evaluation.reason == "the last training ended 30.0 hours ago, 29 are enough"
    (due,) = due_rounds(db)
    assert due.reason == evaluation.reason
    assert evaluate_waiting(db) == []  # a round is under way
    assert db.scalar(select(func.count()).select_from(PolicyEvaluation)) == 2


def scored(
    db: Session, dataset: Dataset, folder: Path, confidence: float, version: int = 2, samples: int = 400
) -> None:
    """A scoring run whose predictions are Parquet, as the shards of a real one."""
    folder.mkdir(parents=True)
    highest = np.clip(np.random.default_rng(0).normal(confidence, 0.05, samples), 0.5, 1)
    first = np.where(np.arange(samples) % 2 == 0, highest, 1 - highest)
    for number, part in enumerate(np.array_split(first, 2)):
        rows = pa.array(list(np.stack([part, 1 - part], axis=1).astype(np.float32)), pa.list_(pa.float32()))
        pq.write_table(pa.table({"probabilities": rows}), folder / f"batch-{number}.parquet")
    run = ScoringRun(
        dataset_id=dataset.id,
        batch_id=1,
        run_id=str(folder),
        model_name="pets",
        model_version=version,
        predictions=str(folder),
        strategy="random",
        scored=samples,
        chosen=0,
        summary={},
        owner="a",
    )
    db.add(run)
    keep_distribution(run, 2)
    db.flush()


def test_drift_is_between_runs_of_one_model(db, dataset, tmp_path) -> None:
    scored(db, dataset, tmp_path / "old", 0.6, version=1)
    scored(db, dataset, tmp_path / "one", 0.9)
    assert distribution(tmp_path / "one", 2)["predicted"] == [200, 200]
    assert current_drift(db, dataset) is None
    scored(db, dataset, tmp_path / "few", 0.6, samples=20)
    assert current_drift(db, dataset) is None
    scored(db, dataset, tmp_path / "same", 0.9, samples=500)
    assert asked(db, dataset, drift=0.1).due is False
    scored(db, dataset, tmp_path / "other", 0.7)
    evaluation = asked(db, dataset, drift=0.25)
    assert evaluation.due is True
    assert evaluation.reason.startswith("what the model predicts has drifted: PSI ")
    assert evaluation.facts["psi"] > 1


def test_psi_is_symmetric_zero_for_equals_and_seldom_above_its_bound_by_chance() -> None:
    assert psi([10, 20, 0], [100, 200, 0])[0] == pytest.approx(0, abs=0.01)
    assert psi([10, 20], [20, 10])[0] == pytest.approx(psi([20, 10], [10, 20])[0])
    assert psi([100, 0], [0, 100])[0] > 5
    assert psi([10, 0], [20, 0]) == (0, 0)
    # By hand: shares (10.5/31, 20.5/31) and (20.5/31, 10.5/31).
    assert psi([10, 20], [20, 10])[0] == pytest.approx(2 * (10 / 31) * np.log(20.5 / 10.5))
    generator = np.random.default_rng(0)
    drawn = [psi(*generator.multinomial(500, [0.1] * 10, size=2)) for _ in range(400)]
    assert 0.02 < np.mean([found > bound for found, bound in drawn]) < 0.09


def test_performance_drops_where_the_interval_says_so(db, dataset) -> None:
    for number in range(30):
        answer(db, dataset, f"r{number}", "cat", "dog" if number % 2 else "cat", strategy="random", model_version=2)
    evaluation = asked(db, dataset, performance_drop=0.1)
    assert evaluation.due is True
    assert "accuracy on new random samples is 50.0%" in evaluation.reason
    assert "was 95.0% when the model was accepted" in evaluation.reason


def test_a_few_wrong_answers_are_no_drop(db, dataset) -> None:
    for number in range(5):
        answer(db, dataset, f"r{number}", "cat", "cat" if number else "dog", strategy="random", model_version=2)
    evaluation = asked(db, dataset, performance_drop=0.1)
    assert evaluation.due is False
    assert evaluation.facts["accuracy_now"] == 0.8


def test_gold_answers_since_the_last_round_speak_for_the_labels(db, dataset) -> None:
    ended = Round(dataset_id=dataset.id, number=0, state="rejected", owner="a", metrics={})
    ended.created_at = func.now() - timedelta(hours=1)
    db.add(ended)
    for number in range(16):
        task = AnnotationTask(
            dataset_id=dataset.id,
            kind="gold",
            sample_id=f"g{number}",
            path="x",
            object="0" * 32,
            gold_label="cat",
            state="answered",
            owner="a",
        )
        db.add(task)
        db.flush()
        old = number < 10  # before the round, all wrong
        outcome = "gold_right" if number >= 12 else "gold_wrong"
        given = Annotation(dataset_id=dataset.id, task_id=task.id, label="cat", outcome=outcome, owner="ben")
        if old:
            given.created_at = func.now() - timedelta(hours=2)
        db.add(given)
    db.flush()
    evaluation = asked(db, dataset, labels=1, quality=0.9)
    assert evaluation.due is False
    assert evaluation.reason.startswith("only 4 of 6 gold tasks since the last round were answered right, 90% needed")
    assert asked(db, dataset, labels=1, quality=0.6).due is True
