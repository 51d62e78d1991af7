"""The desk against a server over a real socket: no answer is lost, none is given twice."""

from datetime import UTC, datetime, timedelta

import pytest

from annotation_app.desk import HOLD, Desk
from learnloop.client import LearnloopClient


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(double, clock: Clock) -> Desk:
    client = LearnloopClient(double.url, double.token("anna"))
    return Desk(client, "anna", "digits", clock)


def test_answer_is_sent_with_its_time_and_the_next_task_comes(desk: Desk, double, clock: Clock) -> None:
    assert desk.take()
    assert desk.content.startswith(b"\x89PNG")
    clock.now += 2.5
    desk.answer(1, "7")
    assert [(a["task"], a["label"], a["seconds"]) for a in double.answers] == [(1, "7", 2.5)]
    assert desk.task.id == 2
    assert desk.last.label == "7"


def test_second_press_for_one_task_does_nothing(desk: Desk, double) -> None:
    desk.take()
    desk.answer(1, "7")
    desk.answer(1, "7")
    assert len(double.answers) == 1
    assert desk.task.id == 2


def test_skip_sends_its_reason(desk: Desk, double) -> None:
    desk.take()
    desk.answer(1, None, "Damaged")
    assert [(a["task"], a["reason"]) for a in double.answers] == [(1, "Damaged")]


def test_lost_connection_keeps_the_answer_until_it_is_back(desk: Desk, double) -> None:
    desk.take()
    double.down = True
    desk.answer(1, "7")
    assert [kept.answer.label for kept in desk.kept.values()] == ["7"]
    assert desk.task is None
    assert "does not answer" in desk.problem
    desk.send_kept()
    assert desk.kept
    double.down = False
    desk.send_kept()
    assert (desk.kept, len(double.answers)) == ({}, 1)


def test_reply_that_was_lost_does_not_make_two_answers(desk: Desk, double) -> None:
    desk.take()
    double.lose_reply = True
    desk.answer(1, "7")
    assert desk.kept
    double.lose_reply = False
    desk.send_kept()
    assert (desk.kept, len(double.answers)) == ({}, 1)


def test_task_that_went_to_somebody_else_keeps_the_answer_for_a_person_to_decide(desk: Desk, double) -> None:
    desk.take()
    double.give(1, "ben")
    desk.answer(1, "7")
    assert "ben's" in desk.kept[1].problem
    assert desk.task.id == 2
    double.give(1, "anna")
    desk.send_kept()
    assert desk.kept  # not by itself
    desk.send_kept(refused_too=True)
    assert (desk.kept, len(double.answers)) == ({}, 1)


def test_skip_that_comes_too_late_has_had_its_effect(desk: Desk, double) -> None:
    desk.take()
    double.reopen(1)
    desk.answer(1, None, "Damaged")
    assert (desk.kept, desk.task.id) == ({}, 2)


def test_ended_session_keeps_the_answer_and_says_so(desk: Desk, double) -> None:
    desk.take()
    double.revoked.add(double.token("anna"))
    desk.answer(1, "7")
    assert desk.signed_out
    assert not desk.kept[1].refused


def test_lease_is_renewed_while_somebody_may_look_then_let_go(desk: Desk, clock: Clock) -> None:
    desk.take()
    first = datetime.fromisoformat(desk.task.lease_expires_at)
    desk.keep_lease(datetime.now(UTC))
    assert desk.task.lease_expires_at == first.isoformat()  # plenty left
    clock.now += 280
    desk.keep_lease(first - timedelta(seconds=20))
    renewed = datetime.fromisoformat(desk.task.lease_expires_at)
    assert renewed > first
    clock.now += HOLD.total_seconds()
    desk.keep_lease(renewed - timedelta(seconds=1))
    assert desk.task is not None
    desk.keep_lease(renewed + timedelta(seconds=1))
    assert desk.task is None
    assert desk.paused


def test_lease_that_cannot_be_renewed_puts_the_task_down(desk: Desk, double) -> None:
    desk.take()
    double.give(1, "ben")
    desk.keep_lease(datetime.fromisoformat(desk.task.lease_expires_at))
    assert desk.task is None
    assert desk.paused


def test_lost_connection_does_not_take_the_task_away(desk: Desk, double) -> None:
    desk.take()
    double.down = True
    desk.keep_lease(datetime.fromisoformat(desk.task.lease_expires_at) - timedelta(seconds=20))
    assert desk.task.id == 1
    assert desk.offline


def test_api_that_did_not_answer_is_not_asked_again_at_once(
    desk: Desk, double, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotation_app.desk.AGAIN_SECONDS", 2.0)
    double.down = True
    desk.take()
    double.down = False
    assert not desk.look_again()
    clock.now += 2
    assert desk.look_again()


def test_empty_queue_is_no_problem(desk: Desk, double) -> None:
    double.open.clear()
    assert not desk.take()
    assert desk.problem is None
