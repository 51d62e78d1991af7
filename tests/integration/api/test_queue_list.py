"""The queue as a list, and the claim of a chosen task, over HTTP and at the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from stored_sample import SAMPLE
from test_review_cli import run, url  # noqa: F401
from typer.testing import Result

from learnloop.annotation.listing import choose
from learnloop.database import Annotation, AnnotationTask, Batch, Dataset, GoldQuestion, engine
from learnloop.errors import Conflict

CONFIDENCE = [0.2, 0.4, 0.6, 0.8, 0.95, 1.0]


def guess(label: str, confidence: float) -> dict[str, object]:
    spread = {label: confidence, "dog" if label == "cat" else "cat": 1 - confidence}
    return {
        "label": label,
        "confidence": confidence,
        "uncertainty": 1 - confidence,
        "probabilities": spread,
        "model_version": 1,
    }


@pytest.fixture
def pets(db: Session):
    """Two batches of tasks: cats and dogs by turns, the model surer and surer."""

    def make(tasks: int = 6, gold: int = 0, **quality: object) -> Dataset:
        loop = {"classes": ["cat", "dog"], "policy": {"labels": 100}, "quality": quality}
        made = Dataset(name="pets", task_type="image_classification", loop=loop, owner="ada")
        db.add(made)
        db.flush()
        batches = [
            Batch(dataset_id=made.id, name=name, tree=name * 32 + ".dir", samples=tasks, owner="ada") for name in "ab"
        ]
        db.add_all(batches)
        db.flush()
        for n in range(tasks):
            db.add(
                AnnotationTask(
                    dataset_id=made.id,
                    batch_id=batches[n * 2 // tasks].id,
                    sample_id=f"s{n}",
                    path="x.png",
                    object=SAMPLE,
                    prediction=guess(("cat", "dog")[n % 2], CONFIDENCE[n % 6]),
                    reason={"strategy": "random", "rank": n},
                    owner="ada",
                )
            )
        for n in range(gold):
            question = GoldQuestion(dataset_id=made.id, sample_id=f"g{n}", label="cat", path="x.png", owner="ada")
            question.object, question.prediction = SAMPLE, guess("cat", 0.5)
            db.add(question)
        db.commit()
        return made

    return make


def samples(client, **params: object) -> list[str]:
    answer = client.get("/datasets/pets/tasks", params=params)
    assert answer.status_code == 200, answer.text
    return [item["sample_id"] for item in answer.json()["items"]]


def test_filters_narrow_the_list(pets, as_user, db) -> None:
    pets()
    rita = as_user("rita", "reviewer")
    assert samples(rita) == ["s5", "s4", "s3", "s2", "s1", "s0"]
    assert samples(rita, label="cat") == ["s4", "s2", "s0"]
    assert samples(rita, batch="b") == ["s5", "s4", "s3"]
    assert samples(rita, least_confidence=0.4, most_confidence=0.8) == ["s3", "s2", "s1"]
    assert samples(rita, label="cat", batch="b", most_confidence=0.99) == ["s4"]
    assert samples(rita, label="no such") == samples(rita, batch="no such") == []
    db.execute(
        update(AnnotationTask)
        .where(AnnotationTask.sample_id.in_(["s0", "s1"]))
        .values(created_at=func.now() - timedelta(days=3))
    )
    db.commit()
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert samples(rita, until=yesterday) == ["s1", "s0"]
    assert samples(rita, since=yesterday, label="dog") == ["s5", "s3"]
    item = rita.get("/datasets/pets/tasks", params={"label": "dog", "batch": "b", "limit": 1}).json()["items"][0]
    assert (item["label"], item["confidence"], item["batch"], item["strategy"]) == ("dog", 1.0, "b", "random")
    assert item["skip_reason"] is None


def test_pages_join_without_gap_or_overlap(pets, as_user) -> None:
    pets(tasks=6)
    rita = as_user("rita", "reviewer")
    found, cursor = [], None
    for _ in range(3):
        page = rita.get("/datasets/pets/tasks", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        found += [item["sample_id"] for item in page["items"]]
        cursor = page["next"]
    assert found == ["s5", "s4", "s3", "s2", "s1", "s0"]
    assert cursor is None


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"state": "gold"}, "state"),
        ({"least_confidence": 0.9, "most_confidence": 0.1}, "above most_confidence"),
        ({"least_confidence": "nan"}, "least_confidence"),
        ({"most_confidence": 1.5}, "most_confidence"),
        ({"since": "yesterday"}, "ISO time"),
        ({"since": "2026-05-02T00:00:00Z", "until": "2026-05-01T00:00:00Z"}, "since is after until"),
        ({"state": "skipped", "batch": "a"}, "not by batch or age"),
        ({"label": "a\x00b"}, "label"),
        ({"lable": "cat"}, "unknown parameter"),
    ],
)
def test_odd_filters_are_told(pets, as_user, params, said) -> None:
    pets()
    answer = as_user("rita", "reviewer").get("/datasets/pets/tasks", params=params)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.text


def test_a_chosen_task_is_leased_and_what_was_held_goes_back(pets, as_user, db) -> None:
    pets()
    ann = as_user("ann", "annotator")
    first = ann.post("/datasets/pets/tasks/claim").json()
    wanted = db.scalars(select(AnnotationTask.id).where(AnnotationTask.sample_id == "s4")).one()
    chosen = ann.post(f"/tasks/{wanted}/claim")
    assert chosen.status_code == 200
    assert set(chosen.json()) == set(first)
    assert chosen.json()["sample_id"] == "s4"
    assert ann.post(f"/tasks/{wanted}/claim").status_code == 200  # again does no harm
    assert ann.post("/datasets/pets/tasks/claim").json()["id"] == wanted  # it is in hand
    states = dict(db.execute(select(AnnotationTask.sample_id, AnnotationTask.state)).all())
    assert (states["s0"], states["s4"]) == ("open", "claimed")
    assert ann.post(f"/tasks/{wanted}/annotation", json={"label": "cat"}).status_code == 201


def test_what_cannot_be_chosen_says_why_and_changes_nothing(pets, as_user, db) -> None:
    pets(gold=1)
    ids = dict(db.execute(select(AnnotationTask.sample_id, AnnotationTask.id)).all())
    assert as_user("ben", "annotator").post(f"/tasks/{ids['s1']}/claim").status_code == 200
    db.execute(update(AnnotationTask).where(AnnotationTask.id == ids["s2"]).values(state="cancelled"))
    gold = AnnotationTask(dataset_id=db.scalars(select(Dataset.id)).one(), kind="gold", sample_id="g0", owner="ben")
    gold.path, gold.object, gold.gold_label, gold.state = "x.png", SAMPLE, "cat", "answered"
    gold.prediction = guess("cat", 0.5)
    db.add(gold)
    db.commit()
    ann = as_user("ann", "annotator")
    held = ann.post(f"/tasks/{ids['s0']}/claim").json()["id"]
    for task_id, status, said in (
        (ids["s1"], 409, "somebody else is answering"),
        (ids["s2"], 409, "is cancelled"),
        (gold.id, 404, f"there is no task {gold.id}"),
        (10**6, 404, "there is no task 1000000"),
        (10**12, 404, "there is no task"),
        (-1, 404, "there is no task"),
    ):
        answer = ann.post(f"/tasks/{task_id}/claim")
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
        assert said in answer.json()["detail"]
    assert ann.post("/datasets/pets/tasks/claim").json()["id"] == held
    ann.post(f"/tasks/{held}/annotation", json={"label": "cat"})
    again = ann.post(f"/tasks/{held}/claim")
    assert again.status_code == 409
    assert "answered task" in again.json()["detail"]


def test_what_one_skipped_is_listed_with_its_reason_and_can_be_taken_after_all(pets, as_user, db) -> None:
    pets(tasks=2)
    ann = as_user("ann", "annotator")
    task = ann.post("/datasets/pets/tasks/claim").json()
    ann.post(f"/tasks/{task['id']}/skip", json={"reason": "Cannot tell"})
    assert task["sample_id"] not in samples(ann)
    (item,) = ann.get("/datasets/pets/tasks", params={"state": "skipped"}).json()["items"]
    assert (item["id"], item["skip_reason"], item["batch"], item["created_at"]) == (
        task["id"],
        "Cannot tell",
        None,
        None,
    )
    assert samples(as_user("ben", "annotator"), state="skipped") == []
    ann = as_user("ann", "annotator")
    assert ann.post(f"/tasks/{task['id']}/claim").status_code == 200
    assert samples(ann, state="skipped") == []
    assert ann.post(f"/tasks/{task['id']}/annotation", json={"label": "dog"}).status_code == 201
    assert db.scalars(select(Annotation.label).where(Annotation.outcome != "withdrawn")).all() == ["dog"]


def test_a_skipped_gold_task_looks_and_comes_back_like_any_other(pets, as_user, db) -> None:
    pets(tasks=4, gold=1, gold_every=2)
    ann = as_user("ann", "annotator")
    other = ann.post("/datasets/pets/tasks/claim").json()["id"]
    ann.post(f"/tasks/{other}/skip", json={"reason": "Damaged"})
    for _ in range(2):
        ordinary = ann.post("/datasets/pets/tasks/claim").json()["id"]
        assert ann.post(f"/tasks/{ordinary}/annotation", json={"label": "cat"}).status_code == 201
    gold = ann.post("/datasets/pets/tasks/claim").json()["id"]
    assert db.scalars(select(AnnotationTask.kind).where(AnnotationTask.id == gold)).one() == "gold"
    ann.post(f"/tasks/{gold}/skip", json={"reason": "Damaged"})
    listed = {item["id"]: item for item in ann.get("/datasets/pets/tasks", params={"state": "skipped"}).json()["items"]}
    differing = {name for name in listed[gold] if listed[gold][name] != listed[other][name]}
    assert differing <= {"id", "sample_id", "label", "confidence"}
    answers = [ann.post(f"/tasks/{task_id}/claim") for task_id in (other, gold)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert set(answers[0].json()) == set(answers[1].json())
    assert ann.post(f"/tasks/{gold}/annotation", json={"label": "cat"}).status_code == 201


def test_who_answers_sees_most_open_tasks_and_no_finished_one(pets, as_user) -> None:
    pets(tasks=200)
    whole = samples(as_user("rita", "reviewer"), limit=200)
    assert len(whole) == 200
    anns, bens = (samples(as_user(who, "annotator"), limit=200) for who in ("ann", "ben"))
    for shown in (anns, bens):
        assert 130 <= len(shown) <= 190  # one in five is left out, so that nothing follows from not being listed
    assert anns != bens
    assert anns == samples(as_user("ann", "annotator"), limit=200)
    for state in ("claimed", "answered", "review", "confirmed", "rejected"):
        refused = as_user("ann", "annotator").get("/datasets/pets/tasks", params={"state": state})
        assert refused.status_code == 403
        assert "annotation:review" in refused.json()["detail"]
        assert samples(as_user("rita", "reviewer"), state=state) == []
    assert as_user("vera", "viewer").get("/datasets/pets/tasks").status_code == 403


def test_one_task_chosen_by_many_at_once_is_one_persons(app, pets, db) -> None:
    pets(tasks=8)
    ids = db.scalars(select(AnnotationTask.id).order_by(AnnotationTask.id)).all()

    def work(who: str) -> int:
        got = 0
        for task_id in [*ids, *reversed(ids)]:
            try:
                with Session(engine()) as own, own.begin():
                    choose(own, task_id, who, lease_seconds=60)
                got += 1
            except Conflict:
                continue
        return got

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(work, [f"p{n}" for n in range(6)])) > 0
    held = db.execute(select(AnnotationTask.claimed_by).where(AnnotationTask.state == "claimed")).scalars().all()
    assert len(held) == len(set(held))  # nobody holds two


def test_the_list_at_the_command_line(run: Callable[..., Result]) -> None:  # noqa: F811
    shown = run("rita", "task", "list", "pets", "--label", "cat")
    assert "s2" in shown.output
    assert "0.60" in shown.output
    assert json.loads(run("rita", "task", "list", "pets", "--most", "0.5", "--json").output) == []
    wrong = run("ann", "task", "list", "pets", "--state", "confirmed", code=1)
    assert "annotation:review" in wrong.output
