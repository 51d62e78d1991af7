"""Many annotators at once on Airflow's real API server, which is killed under them: each task is answered just as often
as it was asked, no answer that was acknowledged is lost, none counts twice, nobody is given what somebody else holds."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from functools import partial

import pytest
from airflow_server import airflow_server
from annotators import HABITS, Annotator, Hold, Seen, overlapping
from sqlalchemy import func, select
from stored_sample import SAMPLE, put_sample

from learnloop.database import (
    Annotation,
    AnnotationTask,
    Batch,
    ConfirmedAnnotation,
    Dataset,
    GoldQuestion,
    engine,
    session,
)

OVERLAP = 2
LEASE = 3
CLASSES = ["cat", "dog", "eel"]
PREDICTION = {
    "label": "cat",
    "confidence": 0.5,
    "uncertainty": 0.9,
    "probabilities": {"cat": 0.5, "dog": 0.4, "eel": 0.1},
    "model_version": 1,
}


QUALITY = {
    "overlap": {"lease_seconds": LEASE, "overlap": OVERLAP, "check": "none"},
    "gold": {"lease_seconds": LEASE, "check": "gold", "gold_every": 4},
}
"""Two people answer each task; or one, whom gold tasks check, and one more where a gold task was answered wrongly."""
GOLD = 12
GOLD_WRONG = 0.3
"""So often a gold task is answered wrongly; what its annotator answered before it was right all the same."""


def truth(sample: str) -> str:
    return CLASSES[int(sample[1:]) % len(CLASSES)]


def answer_to(chance: random.Random, sample: str) -> str:
    if sample.startswith("g") and chance.random() < GOLD_WRONG:
        return CLASSES[(CLASSES.index(truth(sample)) + 1) % len(CLASSES)]
    return truth(sample)


def prepare(url: str, checked: str) -> tuple[int, int]:
    loop = {"classes": CLASSES, "policy": {"labels": 1_000_000}, "quality": QUALITY[checked]}
    with session(url) as db:
        dataset = Dataset(name="pets", task_type="image_classification", loop=loop, owner="ada")
        db.add(dataset)
        db.flush()
        batch = Batch(dataset_id=dataset.id, name="b", tree="0" * 32 + ".dir", samples=1, owner="ada")
        db.add(batch)
        if checked == "gold":
            common = {
                "dataset_id": dataset.id,
                "path": "x.png",
                "object": SAMPLE,
                "prediction": PREDICTION,
                "owner": "ada",
            }
            db.add_all(GoldQuestion(sample_id=f"g{n}", label=truth(f"g{n}"), **common) for n in range(GOLD))
        db.flush()
        return dataset.id, batch.id


def top_up(url: str, dataset: int, batch: int, wanted: int) -> None:
    """Always a few open tasks, so that all annotators meet at the same ones."""
    with session(url) as db:
        of_dataset = (AnnotationTask.dataset_id == dataset) & (AnnotationTask.kind == "label")
        there = db.scalar(select(func.count()).select_from(AnnotationTask).where(of_dataset)) or 0
        open_ = (AnnotationTask.state == "open") & of_dataset
        missing = wanted - (db.scalar(select(func.count()).select_from(AnnotationTask).where(open_)) or 0)
        common = {"dataset_id": dataset, "batch_id": batch, "path": "x.png", "object": SAMPLE, "owner": "ada"}
        for n in range(there, there + max(0, missing)):
            db.add(AnnotationTask(sample_id=f"s{n}", prediction=PREDICTION, reason={"strategy": "random"}, **common))


def unanswered(url: str, dataset: int) -> int:
    with session(url) as db:
        left = select(func.count()).select_from(AnnotationTask).where(AnnotationTask.kind == "label")
        return db.scalar(left.where(AnnotationTask.dataset_id == dataset, AnnotationTask.state != "confirmed")) or 0


@pytest.mark.parametrize(
    ("people", "seconds", "kills", "checked"),
    [
        (8, 15, 1, "overlap"),
        pytest.param(50, 120, 4, "overlap", marks=pytest.mark.long),
        pytest.param(12, 30, 2, "gold", marks=pytest.mark.long),
    ],
)
@pytest.mark.timeout(900)
def test_each_task_is_answered_as_often_as_asked_and_no_answer_is_lost(
    postgres: str, people: int, seconds: int, kills: int, checked: str
) -> None:
    users = {f"ann{n}": ("annotator", "admin") for n in range(people)}
    unlimited = {"rate_claim": "0", "rate_read": "0", "rate_write": "0"}
    with airflow_server("simple", postgres, users=users, **unlimited) as server:
        url = server.database_url
        put_sample(server.home / "learnloop" / "store")
        dataset, batch = prepare(url, checked)
        top_up(url, dataset, batch, 2 * people)
        seen, calm, end = Seen(), threading.Event(), threading.Event()
        annotators = [
            Annotator(server.url, name, server.token(name), "pets", seed, seen, partial(answer_to, random.Random(seed)))
            for seed, name in enumerate(users)
        ]
        threads = [threading.Thread(target=each.work, args=(calm, end)) for each in annotators]
        for thread in threads:
            thread.start()
        try:
            began = time.monotonic()
            killed = 0
            # On a loaded machine a start, and whatever people do, may take long.
            while time.monotonic() < began + seconds or killed < kills or untried(seen):
                end.wait(0.25)
                if killed < kills and time.monotonic() > began + seconds * (killed + 1) / (kills + 1):
                    server.process.kill()
                    killed += 1
                    server.process.start()
                top_up(url, dataset, batch, 2 * people)
            calm.set()
            deadline = time.monotonic() + 60 + seconds
            while unanswered(url, dataset) and not seen.faults:
                assert time.monotonic() < deadline, f"{unanswered(url, dataset)} tasks are not done; {seen.did}"
                end.wait(0.25)
        finally:
            calm.set()
            end.set()
            for thread in threads:
                thread.join(60)
        assert not [thread for thread in threads if thread.is_alive()]
        check(url, dataset, seen, checked)
        engine(url).dispose()
    assert killed == kills
    print(f"{people} annotators, {seconds} s, {killed} kills: {len(seen.accepted)} answers; {dict(seen.did)}")
    assert untried(seen) == [], "what never happened was not tried"


def untried(seen: Seen) -> list[str]:
    return [habit for habit in (*HABITS, "no answer") if not seen.did[habit]]


def check(url: str, dataset: int, seen: Seen, checked: str) -> None:
    assert seen.faults == []
    assert overlapping(seen.holds) == []
    with session(url) as db:
        standing = db.execute(
            select(Annotation.task_id, Annotation.owner, Annotation.label).where(Annotation.dataset_id == dataset)
        ).all()
        tasks = dict(
            db.execute(
                select(AnnotationTask.id, AnnotationTask.sample_id).where(
                    AnnotationTask.dataset_id == dataset, AnnotationTask.kind == "label"
                )
            ).all()
        )
        numbers = db.scalars(select(ConfirmedAnnotation.number).where(ConfirmedAnnotation.dataset_id == dataset)).all()
        pool = db.execute(
            select(ConfirmedAnnotation.sample_id, ConfirmedAnnotation.label, ConfirmedAnnotation.confirmed_by).where(
                ConfirmedAnnotation.dataset_id == dataset
            )
        ).all()
    assert len(standing) == len({(task, owner) for task, owner, _ in standing})
    stored = {(task, owner): label for task, owner, label in standing}
    assert seen.accepted.items() - stored.items() == set(), "acknowledged, and lost"
    assert stored.items() - seen.accepted.items() == set(), "stored, and never acknowledged"
    answers = Counter(tasks[task] for task, _ in stored if task in tasks)
    if checked == "gold":  # one more person was asked just where a gold task was answered wrongly
        wanted = {sample: {"gold task passed": 1, "two agree": 2}[rule] for sample, _, rule in pool}
        assert set(wanted.values()) == {1, 2}, "both happened"
    else:
        wanted = dict.fromkeys(tasks.values(), OVERLAP)
    assert answers == wanted
    assert sorted(numbers) == list(range(1, len(tasks) + 1)), "what is confirmed is counted by these"
    assert sorted((sample, label) for sample, label, _ in pool) == sorted((s, truth(s)) for s in tasks.values())


def test_an_overlap_of_holds_would_be_seen() -> None:
    one = Hold(1, "ann", 0.0, 3.0)
    assert overlapping([one, Hold(1, "bo", 2.0, 4.0)]) == [(one, Hold(1, "bo", 2.0, 4.0))]
    assert overlapping([one, Hold(1, "bo", 3.0, 4.0), Hold(2, "bo", 1.0, 2.0), Hold(1, "ann", 1.0, 3.0)]) == []
