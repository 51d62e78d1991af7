"""The desk against a server over a real socket: no answer is lost, none is given twice."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from annotation_app.desk import HOLD, LEFT_AT_LEAST, Desk
from learnloop.client import LearnloopClient
from learnloop.errors import Unavailable


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


def take(desk: Desk) -> None:
    """Take a task, and wait for the one to follow it, as the page does."""
    desk.take()
    desk.settle()


def draw(desk: Desk) -> None:
    desk.drawn = desk.task and desk.task.id


def answer(desk: Desk, *said: object) -> None:
    """Answer what the page shows, and wait for what became of it."""
    draw(desk)
    desk.answer(*said)
    desk.settle()


def test_answer_is_sent_with_its_time_and_the_next_task_comes(desk: Desk, double, clock: Clock) -> None:
    take(desk)
    assert desk.content.startswith(b"\x89PNG")
    clock.now += 2.5
    answer(desk, 1, "7")
    assert [(a["task"], a["label"], a["seconds"]) for a in double.answers] == [(1, "7", 2.5)]
    assert desk.task.id == 2
    assert desk.last.label == "7"


def test_second_press_for_one_task_does_nothing(desk: Desk, double) -> None:
    take(desk)
    answer(desk, 1, "7")
    answer(desk, 1, "7")
    assert len(double.answers) == 1
    assert desk.task.id == 2


def test_what_nobody_saw_is_not_answered(desk: Desk, double) -> None:
    """One key pressed a button of each of two tasks: the one in hand, and one that was drawn earlier and comes next."""
    take(desk)
    answer(desk, 1, "7")
    following = desk.task.id
    desk.answer(following, "7")
    desk.settle()
    assert [(a["task"], a["label"]) for a in double.answers] == [(1, "7")]
    assert desk.task.id == following


def test_skip_sends_its_reason(desk: Desk, double) -> None:
    take(desk)
    answer(desk, 1, None, "Damaged")
    assert [(a["task"], a["reason"]) for a in double.answers] == [(1, "Damaged")]


def test_lost_connection_keeps_the_answer_until_it_is_back(desk: Desk, double) -> None:
    take(desk)
    double.down = True
    answer(desk, 1, "7")
    assert [kept.answer.label for kept in desk.kept.values()] == ["7"]
    assert desk.task.id == 2  # it was there before the connection was lost
    answer(desk, 2, "8")
    assert desk.task is None
    assert "does not answer" in str(desk.error)
    desk.send_kept()
    assert desk.kept
    double.down = False
    desk.send_kept()
    assert (desk.kept, [(a["task"], a["label"]) for a in double.answers]) == ({}, [(1, "7"), (2, "8")])


def test_reply_that_was_lost_does_not_make_two_answers(desk: Desk, double) -> None:
    take(desk)
    double.lose_reply = True
    answer(desk, 1, "7")
    assert desk.kept
    double.lose_reply = False
    desk.send_kept()
    assert (desk.kept, len(double.answers)) == ({}, 1)


def test_task_that_went_to_somebody_else_keeps_the_answer_for_a_person_to_decide(desk: Desk, double) -> None:
    take(desk)
    double.give(1, "ben")
    answer(desk, 1, "7")
    assert "ben's" in desk.kept[1].problem
    assert desk.task.id == 2
    double.give(1, "anna")
    desk.send_kept()
    assert desk.kept  # not by itself
    desk.send_kept(refused_too=True)
    assert (desk.kept, len(double.answers)) == ({}, 1)


def test_skip_that_comes_too_late_has_had_its_effect(desk: Desk, double) -> None:
    take(desk)
    double.reopen(1)
    answer(desk, 1, None, "Damaged")
    assert (desk.kept, desk.task.id) == ({}, 2)


def test_ended_session_keeps_the_answer_and_says_so(desk: Desk, double) -> None:
    take(desk)
    double.revoked.add(double.token("anna"))
    answer(desk, 1, "7")
    assert desk.signed_out
    assert not desk.kept[1].refused


def test_lease_is_renewed_while_somebody_may_look_then_let_go(desk: Desk, clock: Clock) -> None:
    take(desk)
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
    take(desk)
    double.give(1, "ben")
    desk.keep_lease(datetime.fromisoformat(desk.task.lease_expires_at))
    assert desk.task is None
    assert desk.paused


def test_lost_connection_does_not_take_the_task_away(desk: Desk, double) -> None:
    take(desk)
    double.down = True
    desk.keep_lease(datetime.fromisoformat(desk.task.lease_expires_at) - timedelta(seconds=20))
    assert desk.task.id == 1
    assert desk.offline


def test_api_that_did_not_answer_is_not_asked_again_at_once(
    desk: Desk, double, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotation_app.desk.AGAIN_SECONDS", 2.0)
    double.down = True
    take(desk)
    double.down = False
    assert not desk.look_again()
    clock.now += 2
    assert desk.look_again()


def test_empty_queue_is_no_problem(desk: Desk, double) -> None:
    double.open.clear()
    assert not desk.take()
    assert desk.error is None


def test_the_next_task_is_there_before_the_answer_is_sent(desk: Desk, double) -> None:
    take(desk)
    assert (desk.ahead.task.id, desk.ahead.content[:4]) == (2, b"\x89PNG")
    double.hold.clear()  # the server answers nothing from here on
    draw(desk)
    desk.answer(1, "7")
    assert (desk.task.id, desk.content[:4]) == (2, b"\x89PNG")
    assert [answer.task_id for answer in desk.on_its_way] == [1]
    assert not desk.settle(0)
    assert desk.last is None  # nobody has said yet that it was received
    double.hold.set()
    assert desk.settle()
    assert (desk.last.task_id, desk.ahead.task.id, desk.on_its_way) == (1, 3, [])


def test_two_tasks_are_held_and_never_more(desk: Desk, double) -> None:
    take(desk)
    for number in range(1, 6):
        answer(desk, number, "7")
        assert sorted(double.claims) == [number + 1, number + 2]
    assert [a["task"] for a in double.answers] == [1, 2, 3, 4, 5]


def test_the_task_ahead_is_taken_in_hand_only_while_its_lease_holds(desk: Desk, double, clock: Clock) -> None:
    double.lease_seconds = LEFT_AT_LEAST.total_seconds() - 1
    take(desk)
    double.lease_seconds = 300
    double.give(2, "ben")  # it lapsed, and somebody else has it
    answer(desk, 1, "7")
    assert desk.task.id == 3
    assert double.claims[2][0] == "ben"


def test_the_task_ahead_goes_back_when_its_lease_ends_and_is_not_renewed(desk: Desk, double) -> None:
    take(desk)
    ends = datetime.fromisoformat(desk.ahead.task.lease_expires_at)
    desk.keep_lease(ends - timedelta(seconds=30))
    assert datetime.fromisoformat(desk.task.lease_expires_at) > ends  # the one in hand was renewed
    assert desk.ahead.task.lease_expires_at == ends.isoformat()
    desk.keep_lease(ends - timedelta(seconds=5))
    assert (desk.ahead, sorted(double.claims)) == (None, [1])
    answer(desk, 1, "7")
    assert desk.task.id == 2


def test_who_leaves_holds_nothing(desk: Desk, double) -> None:
    take(desk)
    assert sorted(double.claims) == [1, 2]
    desk.leave()
    assert (desk.task, desk.ahead, double.claims) == (None, None, {})
    assert len(double.open) == 10


def test_a_pause_gives_both_back(desk: Desk, double, clock: Clock) -> None:
    take(desk)
    clock.now += HOLD.total_seconds()
    ends = datetime.fromisoformat(desk.task.lease_expires_at)
    desk.keep_lease(ends + timedelta(seconds=1))
    assert (desk.paused, desk.task, desk.ahead) == (True, None, None)
    assert 2 not in double.claims


def test_the_task_ahead_was_answered_by_somebody_meanwhile(desk: Desk, double) -> None:
    take(desk)
    double.give(2, "ben")
    answer(desk, 1, "7")
    answer(desk, 2, "8")
    assert [a["task"] for a in double.answers] == [1]
    assert "ben's" in desk.kept[2].problem  # kept, and said
    assert desk.task.id == 3


def test_what_a_lost_connection_kept_back_is_sent_by_a_pulse_while_a_task_is_in_hand(desk: Desk, double) -> None:
    take(desk)
    double.down = True
    answer(desk, 1, "7")
    assert (list(desk.kept), desk.task.id) == ([1], 2)
    double.down = False
    desk.send_again()
    desk.settle()
    assert (desk.kept, desk.last.task_id, desk.task.id) == ({}, 1, 2)
    assert [(a["task"], a["label"]) for a in double.answers] == [(1, "7")]
    assert desk.ahead.task.id == 3


def test_undo_while_the_answer_is_on_its_way(desk: Desk, double) -> None:
    take(desk)
    draw(desk)
    desk.answer(1, "7")
    desk.undo()
    assert (double.answers, desk.task.id) == ([], 1)


def test_a_picture_that_did_not_come_ahead_is_fetched_again(desk: Desk, double) -> None:
    take(desk)
    desk.ahead = replace(desk.ahead, content=None, error=Unavailable("no bytes"))
    answer(desk, 1, "7")
    assert (desk.task.id, desk.content, str(desk.error)) == (2, None, "no bytes")
    desk.load()
    assert desk.content.startswith(b"\x89PNG")


def test_no_label_is_sent_for_a_sample_whose_bytes_never_came(desk: Desk, double) -> None:
    double.content_gone = True
    take(desk)
    answer(desk, 1, "7")
    assert (double.answers, desk.task.id) == ([], 1)
    assert "not in the store any more" in str(desk.fault)
    answer(desk, 1, None, "Damaged")
    assert [a["task"] for a in double.answers] == [1]
