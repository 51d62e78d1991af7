"""A share of what people are asked about is drawn at random, says so, and tells how good the model is."""

from __future__ import annotations

import numpy as np
import pytest
from predictions import CLASSES, chooser, rows, write
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from learnloop.annotation.answers import submit
from learnloop.annotation.honest import accuracy_by_model, wilson
from learnloop.annotation.queue import claim
from learnloop.database import Annotation, AnnotationTask, ConfirmedAnnotation, GoldQuestion

SAMPLES = 60


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(tasks=0, gold=0)


@pytest.fixture
def choose(db: Session, dataset, tmp_path):
    write(tmp_path / "p", rows(SAMPLES))
    return chooser(db, dataset, tmp_path / "p", SAMPLES)


def tasks(db: Session) -> list[AnnotationTask]:
    wanted = select(AnnotationTask).where(AnnotationTask.state == "open").order_by(AnnotationTask.id)
    return list(db.scalars(wanted))


def by(db: Session, strategy: str) -> list[AnnotationTask]:
    return [task for task in tasks(db) if task.reason["strategy"] == strategy]


def answer_all(db: Session, dataset, wrong: set[str] = frozenset()) -> None:
    """Ben answers what the model said, but for some."""
    while (task := claim(db, dataset.id, "ben", lease_seconds=60)) is not None:
        said = CLASSES.index(task.prediction["label"])
        submit(db, task.id, "ben", CLASSES[(said + (task.sample_id in wrong)) % 3])


def test_the_share_is_drawn_at_random_and_says_so(db, choose) -> None:
    done = choose(budget=20, random_share=0.25)
    assert (done.chosen, done.summary["random"]) == (20, 5)
    assert len(by(db, "random")) == 5
    assert all("score" not in task.reason for task in by(db, "random"))
    assert all(task.reason["score"] == pytest.approx(task.reason["margin"]) for task in by(db, "margin_sampling"))
    ranks = [task.reason["rank"] for task in tasks(db)]
    assert ranks == list(range(20))
    margins = [task.reason["margin"] for task in by(db, "margin_sampling")]
    assert margins == sorted(margins)


@pytest.mark.parametrize(("share", "random"), [(0.0, 0), (1.0, 20)])
def test_the_share_may_be_nothing_and_all(db, choose, share: float, random: int) -> None:
    assert choose(budget=20, random_share=share).summary["random"] == random
    assert len(by(db, "random")) == random


def test_a_small_budget_gets_its_share_over_many_runs(db, choose) -> None:
    """5 % of 5 are a quarter of a sample: one run in four has one."""
    drawn = [choose(f"r{seed}", seed=seed, random_share=0.05).summary["random"] for seed in range(80)]
    assert set(drawn) == {0, 1}
    assert 8 <= sum(drawn) <= 34  # 20, and 3.6 standard deviations


def test_every_sample_is_drawn_equally_often_whatever_the_model_says(db, choose) -> None:
    drawn = np.zeros(SAMPLES)
    places = []
    for seed in range(150):
        choose(f"r{seed}", seed=seed, budget=12, random_share=0.5)
        found = by(db, "random")
        places += [task.reason["rank"] for task in found]
        for task in found:
            drawn[int(task.sample_id[1:])] += 1
    expected = 150 * 6 / SAMPLES
    assert np.abs(drawn - expected).max() < 5 * expected**0.5
    assert abs(np.mean(places) - 5.5) < 0.6  # anywhere among the others: answering half of them answers half of these


def test_the_accuracy_is_that_of_the_model_on_the_random_samples_alone(db, dataset, choose) -> None:
    choose(budget=40, random_share=0.5)
    hard = {task.sample_id for task in by(db, "margin_sampling")}
    lucky = sorted(task.sample_id for task in by(db, "random"))
    answer_all(db, dataset, wrong=hard | set(lucky[:5]))
    (found,) = accuracy_by_model(db, dataset)
    assert (found.model_version, found.labelled, found.right, found.accuracy) == (7, 20, 15, 0.75)
    assert (found.low, found.high) == wilson(15, 20)
    following = choose("r2", model_version=8, budget=4, random_share=0.5)
    assert following.summary["accuracy_on_random"] == [vars(found)]
    answer_all(db, dataset)
    assert [(each.model_version, each.labelled) for each in accuracy_by_model(db, dataset)] == [(8, 2), (7, 20)]


def test_random_labels_go_into_training_like_any_other(db, dataset, choose) -> None:
    choose(budget=10, random_share=0.5)
    answer_all(db, dataset)
    assert len(list(db.scalars(select(ConfirmedAnnotation)))) == 10


def test_a_correction_counts_and_what_it_corrects_does_not(db, dataset, choose) -> None:
    choose(budget=4, random_share=1.0)
    answer_all(db, dataset)
    assert accuracy_by_model(db, dataset)[0].right == 4
    first = db.scalars(select(ConfirmedAnnotation).order_by(ConfirmedAnnotation.id)).first()
    other = CLASSES[(CLASSES.index(first.label) + 1) % 3]
    answer = Annotation(
        dataset_id=dataset.id, task_id=first.annotation.task_id, owner="eva", label=other, outcome="confirmed"
    )
    db.add(answer)
    db.flush()
    copied = {"dataset_id": dataset.id, "batch_id": first.batch_id, "sample_id": first.sample_id, "owner": "eva"}
    db.add(
        ConfirmedAnnotation(
            annotation_id=answer.id, label=other, confirmed_by="corrected", supersedes_id=first.id, number=9, **copied
        )
    )
    db.flush()
    (found,) = accuracy_by_model(db, dataset)
    assert (found.labelled, found.right) == (4, 3)


def test_nothing_labelled_is_no_accuracy(db, dataset, choose) -> None:
    assert accuracy_by_model(db, dataset) == []
    choose(random_share=1.0)
    assert accuracy_by_model(db, dataset) == []


def test_wilsons_interval() -> None:
    """Against the values in Newcombe 1998, table I (81 of 263, 15 of 148, 0 of 20, 1 of 29)."""
    for right, of, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(right, of) == pytest.approx((low, high), abs=5e-5)
    assert wilson(20, 20) == pytest.approx((1 - 0.1611, 1), abs=5e-5)


@pytest.mark.parametrize(("uncertainty", "strategy"), [(0.99, "margin_sampling"), (0.02, "random")])
def test_a_gold_task_names_a_strategy_that_would_have_chosen_it(db, make_dataset, uncertainty, strategy) -> None:
    """Margins of what a strategy chose are small; only what was drawn at random may be as sure as a gold sample."""
    dataset = make_dataset(tasks=6, name="others")
    for n, task in enumerate(db.scalars(select(AnnotationTask).order_by(AnnotationTask.id))):
        drawn = n == 3
        task.reason = {"strategy": "random" if drawn else "margin_sampling", "margin": 0.9 if drawn else 0.01 * n}
    question = db.scalars(select(GoldQuestion)).first()
    db.execute(update(GoldQuestion).values(prediction=question.prediction | {"uncertainty": uncertainty}))
    db.expire_all()
    while (gold := claim(db, dataset.id, "ben", lease_seconds=60)).kind == "label":
        submit(db, gold.id, "ben", "dog")
    assert gold.reason == {"strategy": strategy, "margin": pytest.approx(1 - uncertainty)}
