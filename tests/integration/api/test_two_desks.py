"""One person with the page open twice: two desks that answer on the real API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from test_client import url  # noqa: F401

from annotation_app.desk import Desk
from learnloop.client import LearnloopClient
from learnloop.database import Annotation, AnnotationTask

TASKS = 16


@pytest.fixture
def make_desk(url, db) -> Iterator[Callable[[], Desk]]:  # noqa: F811
    """Each has a client of its own, as each tab has."""
    first = db.scalars(select(AnnotationTask).limit(1)).one()
    copied = ("dataset_id", "batch_id", "path", "object", "prediction", "reason", "owner")
    have = db.scalar(select(func.count()).select_from(AnnotationTask))
    values = {name: getattr(first, name) for name in copied}
    db.add_all(AnnotationTask(sample_id=f"s{n}", **values) for n in range(have, TASKS))
    db.commit()
    clients: list[LearnloopClient] = []

    def make() -> Desk:
        clients.append(LearnloopClient(url, "ben"))
        return Desk(clients[-1], "ben", "pets")

    yield make
    for client in clients:
        client.close()


def right(sample: str) -> str:
    return ("cat", "dog")[int(sample.removeprefix("s")) % 2]


def answer(desk: Desk, label: str) -> None:
    """Of the task that the page shows."""
    desk.drawn = desk.task.id
    desk.answer(desk.task.id, label)


def work(desk: Desk) -> int:
    given = 0
    while desk.take():
        # Also when the other one answered a task while it was being fetched.
        assert desk.content is not None, desk.error
        answer(desk, right(desk.task.sample_id))
        given += 1
        assert given <= 50 * TASKS, "it goes round and round"
    desk.settle()
    return given


def test_two_that_answer_at_once_lose_nothing_and_count_nothing_twice(make_desk, db) -> None:
    desks = make_desk(), make_desk()
    with ThreadPoolExecutor(2) as threads:
        given = list(threads.map(work, desks))
    assert min(given) > 0  # both were at it
    assert [(desk.kept, desk.error) for desk in desks] == [({}, None)] * 2
    stored = dict(db.execute(select(AnnotationTask.sample_id, Annotation.label).join(Annotation.task)).all())
    assert stored == {f"s{n}": right(f"s{n}") for n in range(TASKS)}
    assert db.scalar(select(func.count()).select_from(Annotation)) == TASKS


def test_a_task_that_the_other_answers_while_its_sample_is_fetched_is_passed_over(make_desk, db, monkeypatch) -> None:
    one, other = make_desk(), make_desk()
    fetch, answered = one.client.content, []

    def late(task: int) -> bytes:
        if not answered:
            other.take()
            answered.append(other.task.id)
            assert answered == [task]
            answer(other, right(other.task.sample_id))
            other.settle()
        return fetch(task)

    monkeypatch.setattr(one.client, "content", late)
    assert one.take()
    assert (one.error, one.fault) == (None, None)
    assert one.content is not None
    assert one.task.id not in answered


def test_of_two_different_answers_the_first_stands_and_the_other_is_kept_with_the_reason(make_desk, db) -> None:
    one, other = make_desk(), make_desk()
    one.take()
    other.take()
    assert one.task.id == other.task.id
    task = one.task.id
    answer(one, "cat")
    one.settle()
    answer(other, "dog")
    other.settle()
    assert "has answered task" in str(other.kept[task].error)
    assert other.kept[task].answer.label == "dog"
    assert other.task is not None  # and the work goes on
    assert db.scalars(select(Annotation.label)).all() == ["cat"]
