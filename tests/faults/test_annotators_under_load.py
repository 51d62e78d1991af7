"""Many annotators at once on Airflow's real API server, which is killed under them: each task is answered just as often
as it was asked, no answer that was acknowledged is lost, none counts twice, nobody is given what somebody else holds."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from airflow_server import airflow_server
from annotators import HABITS, Annotator, Hold, Seen, overlapping
from sqlalchemy import func, select

from learnloop.database import Annotation, AnnotationTask, Batch, ConfirmedAnnotation, Dataset, engine, session

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


def truth(sample: str) -> str:
    return CLASSES[int(sample.removeprefix("s")) % len(CLASSES)]


def prepare(url: str) -> tuple[int, int]:
    loop = {
        "classes": CLASSES,
        "policy": {"labels": 1_000_000},
        "quality": {"lease_seconds": LEASE, "overlap": OVERLAP, "check": "none"},
    }
    with session(url) as db:
        dataset = Dataset(name="pets", task_type="image_classification", loop=loop, owner="ada")
        db.add(dataset)
        db.flush()
        batch = Batch(dataset_id=dataset.id, name="b", tree="0" * 32 + ".dir", samples=1, owner="ada")
        db.add(batch)
        db.flush()
        return dataset.id, batch.id


def top_up(url: str, dataset: int, batch: int, wanted: int) -> None:
    """Always a few open tasks, so that all annotators meet at the same ones."""
    with session(url) as db:
        of_dataset = AnnotationTask.dataset_id == dataset
        there = db.scalar(select(func.count()).select_from(AnnotationTask).where(of_dataset)) or 0
        open_ = (AnnotationTask.state == "open") & of_dataset
        missing = wanted - (db.scalar(select(func.count()).select_from(AnnotationTask).where(open_)) or 0)
        common = {"dataset_id": dataset, "batch_id": batch, "path": "x.png", "object": "0" * 32, "owner": "ada"}
        for n in range(there, there + max(0, missing)):
            db.add(AnnotationTask(sample_id=f"s{n}", prediction=PREDICTION, reason={"strategy": "random"}, **common))


def unanswered(url: str, dataset: int) -> int:
    with session(url) as db:
        left = select(func.count()).select_from(AnnotationTask)
        return db.scalar(left.where(AnnotationTask.dataset_id == dataset, AnnotationTask.state != "confirmed")) or 0


@pytest.mark.parametrize(
    ("people", "seconds", "kills"),
    [(8, 15, 1), pytest.param(50, 120, 4, marks=pytest.mark.long)],
)
@pytest.mark.timeout(900)
def test_each_task_is_answered_as_often_as_asked_and_no_answer_is_lost(
    postgres: str, people: int, seconds: int, kills: int
) -> None:
    users = {f"ann{n}": ("annotator", "admin") for n in range(people)}
    unlimited = {"rate_claim": "0", "rate_read": "0", "rate_write": "0"}
    with airflow_server("simple", postgres, users=users, **unlimited) as server:
        url = server.database_url
        dataset, batch = prepare(url)
        top_up(url, dataset, batch, 2 * people)
        seen, calm, end = Seen(), threading.Event(), threading.Event()
        annotators = [
            Annotator(server.url, name, server.token(name), "pets", seed, seen, truth)
            for seed, name in enumerate(users)
        ]
        threads = [threading.Thread(target=each.work, args=(calm, end)) for each in annotators]
        for thread in threads:
            thread.start()
        try:
            began = time.monotonic()
            killed = 0
            while time.monotonic() < began + seconds:
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
        check(url, dataset, seen)
        engine(url).dispose()
    assert killed == kills
    print(f"{people} annotators, {seconds} s, {killed} kills: {len(seen.accepted)} answers; {dict(seen.did)}")
    missing = [habit for habit in (*HABITS, "no answer") if not seen.did[habit]]
    assert missing == [], "what never happened was not tried"


def check(url: str, dataset: int, seen: Seen) -> None:
    assert seen.faults == []
    assert overlapping(seen.holds) == []
    with session(url) as db:
        standing = db.execute(
            select(Annotation.task_id, Annotation.owner, Annotation.label).where(Annotation.dataset_id == dataset)
        ).all()
        tasks = dict(
            db.execute(
                select(AnnotationTask.id, AnnotationTask.sample_id).where(AnnotationTask.dataset_id == dataset)
            ).all()
        )
        numbers = db.scalars(select(ConfirmedAnnotation.number).where(ConfirmedAnnotation.dataset_id == dataset)).all()
        pool = db.execute(
            select(ConfirmedAnnotation.sample_id, ConfirmedAnnotation.label).where(
                ConfirmedAnnotation.dataset_id == dataset
            )
        ).all()
    assert len(standing) == len({(task, owner) for task, owner, _ in standing})
    stored = {(task, owner): label for task, owner, label in standing}
    assert seen.accepted.items() - stored.items() == set(), "acknowledged, and lost"
    assert stored.items() - seen.accepted.items() == set(), "stored, and never acknowledged"
    answers = Counter(task for task, _ in stored)
    assert {task: answers[task] for task in tasks if answers[task] != OVERLAP} == {}
    assert sorted(numbers) == list(range(1, len(tasks) + 1)), "what is confirmed is counted by these"
    assert sorted(pool) == sorted((sample, truth(sample)) for sample in tasks.values())


def test_an_overlap_of_holds_would_be_seen() -> None:
    one = Hold(1, "ann", 0.0, 3.0)
    assert overlapping([one, Hold(1, "bo", 2.0, 4.0)]) == [(one, Hold(1, "bo", 2.0, 4.0))]
    assert overlapping([one, Hold(1, "bo", 3.0, 4.0), Hold(2, "bo", 1.0, 2.0), Hold(1, "ann", 1.0, 3.0)]) == []
