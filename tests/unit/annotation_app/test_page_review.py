"""Undo, comments, one's own quality and the review view: the page in Streamlit's harness, the server on a real socket."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest
from test_page_app import answers, log_in, words

from annotation_app.bench import Bench
from annotation_app.desk import Desk
from learnloop.client import LearnloopClient


@pytest.fixture
def desk(double) -> Desk:
    return Desk(LearnloopClient(double.url, double.token("anna")), "anna", "digits")


@pytest.fixture
def bench(double) -> Bench:
    return Bench(LearnloopClient(double.url, double.token("rita")), "rita", "digits")


def test_the_last_answer_is_taken_back_by_its_button_or_key(page: AppTest, double) -> None:
    log_in(page)
    page.button(key="answer_1_3").click().run()
    assert page.button(key="undo").proto.shortcut == "backspace"
    page.button(key="undo").click().run()
    assert double.answers == []
    assert "batch_7/0001" in words(page)
    page.button(key="answer_1_4").click().run()
    assert [(a["task"], a["label"]) for a in double.answers] == [(1, "4")]


def test_what_cannot_be_taken_back_is_said_and_the_task_in_hand_stays(page: AppTest, double) -> None:
    log_in(page)
    page.button(key="answer_1_3").click().run()
    double.last.clear()
    page.button(key="undo").click().run()
    assert "can no longer be taken back" in words(page)
    assert "batch_7/0002" in words(page)
    assert not [button for button in page.button if button.key == "undo"]
    page.button(key="answer_2_3").click().run()
    assert "can no longer be taken back" not in words(page)


def test_somebody_else_answers_it_just_now(desk: Desk, double) -> None:
    desk.take()
    desk.drawn = 1
    desk.answer(1, "7")
    desk.settle()
    double.open.insert(0, double.last["anna"])
    desk.undo()
    assert "asked about it later" in desk.notice
    assert desk.task is not None


def test_an_answer_that_was_not_sent_is_not_undone(desk: Desk, double) -> None:
    desk.take()
    desk.drawn = 1
    desk.answer(1, "7")
    desk.settle()
    double.down = True
    desk.drawn = 2
    desk.answer(2, "7")
    desk.settle()
    assert not desk.can_undo
    double.down = False
    desk.undo()
    assert len(double.answers) == 1  # the answer before it stands


def test_a_comment_goes_along_with_an_answer_or_a_skip(page: AppTest, double) -> None:
    log_in(page)
    page.text_input(key="comment_1").set_value("  a thin one ")
    page.button(key="answer_1_3").click().run()
    page.text_input(key="comment_2").set_value("cut off")
    page.button(key="skip_2_damaged").click().run()
    assert double.answers[0]["comment"] == "a thin one"
    assert double.answers[1]["reason"] == "Damaged: cut off"


def test_an_annotator_sees_their_own_quality_and_no_review(page: AppTest, double) -> None:
    double.differ("1", "7")
    log_in(page)
    shown = words(page)
    for said in ("34 given", "90 % of 30 checked ones confirmed", "4 of 5 test samples right", "3.2 s each"):
        assert said in shown
    assert "very fast" not in shown
    assert page.segmented_control(key="view").options == ["Annotate", "Queue", "Progress", "Projects"]
    assert not [url for url in double.urls if "/reviews" in url]


def open_review(page: AppTest) -> AppTest:
    log_in(page, "rita", "secret-r")
    page.session_state["view"] = "review"
    return page.run()


def test_a_reviewer_confirms_by_one_click(page: AppTest, double) -> None:
    double.differ("1", "7", None)
    open_review(page)
    shown = words(page)
    for said in ("People differ", "1 waiting", "3 people differ", "p0, 1.5 s", "&lt;7&gt;", "skipped", "Damaged"):
        assert said in shown.replace("\\u003c", "<").replace("\\u0026", "&"), said
    assert page.button(key="confirm_1_7").proto.shortcut == "7"
    page.button(key="confirm_1_7").click().run()
    assert [(one["decision"], one["label"], one["decided_by"]) for one in double.decisions] == [
        ("confirm", "7", "rita")
    ]
    assert "is confirmed as 7" in words(page)
    assert "Nothing to review" in words(page)
    assert not answers(page)


def test_a_label_that_nobody_gave_needs_a_reason(page: AppTest, double) -> None:
    double.differ("1", "7")
    open_review(page)
    page.button(key="confirm_1_3").click().run()
    assert "say why" in page.warning[0].value
    assert not double.decisions
    page.text_input(key="reason_1").set_value("a three")
    page.button(key="confirm_1_3").click().run()
    assert double.decisions[0]["reason"] == "a three"


@pytest.mark.parametrize("decision", ["send_back", "reject"])
def test_sending_back_and_rejecting(page: AppTest, double, decision) -> None:
    double.differ("1", "7")
    open_review(page)
    page.text_input(key="reason_1").set_value("why")
    page.button(key=f"{decision}_1").click().run()
    assert [(one["decision"], one["label"]) for one in double.decisions] == [(decision, None)]


def test_a_confirmed_label_can_only_be_confirmed_or_corrected(page: AppTest, double) -> None:
    double.differ("1", "7", confirmed="1")
    open_review(page)
    assert "Is the confirmed label right?" in words(page)
    assert "Confirmed as 1" in words(page)
    assert not [button for button in page.button if (button.key or "").startswith(("send_back", "reject"))]


def test_later_takes_the_next_and_comes_round_again(bench: Bench, double) -> None:
    for _ in range(2):
        double.differ("1", "7")
    bench.look()
    assert bench.review["id"] == 1
    bench.put_off()
    assert bench.review["id"] == 2
    bench.put_off()
    assert bench.review["id"] == 1


def test_a_second_press_decides_nothing_more(bench: Bench, double) -> None:
    for _ in range(2):
        double.differ("1", "7")
    bench.look()
    bench.drawn = 1
    bench.decide(1, "confirm", "7", "")
    bench.decide(1, "confirm", "7", "")
    bench.decide(2, "confirm", "7", "")  # the same key, by a button that was not taken away yet: nobody saw this one
    assert [one["id"] for one in double.decisions] == [1]
    assert bench.review["id"] == 2


def test_what_another_reviewer_decided_meanwhile_is_said_and_left(bench: Bench, double) -> None:
    for _ in range(2):
        double.differ("1", "7")
    bench.look()
    double.decisions.append(double.reviews.pop(0) | {"decision": "confirm", "label": "1"})
    bench.drawn = 1
    bench.decide(1, "confirm", "7", "")
    assert "ron chose confirm 1" in str(bench.error)
    assert bench.review["id"] == 2
    assert len(double.decisions) == 1


def test_a_lost_connection_is_said_and_the_review_stays(bench: Bench, double) -> None:
    double.differ("1", "7")
    bench.look()
    double.down = True
    bench.drawn = 1
    bench.decide(1, "confirm", "7", "")
    assert "does not answer" in str(bench.error)
    assert bench.review["id"] == 1
    double.down = False
    bench.look()
    assert bench.error is None
    bench.decide(1, "confirm", "7", "")
    assert [one["id"] for one in double.decisions] == [1]


def test_an_ended_session_leads_back_to_the_form(page: AppTest, double) -> None:
    double.differ("1", "7")
    open_review(page)
    double.revoked.add(double.token("rita"))
    page.button(key="confirm_1_7").click().run()
    assert "Your session has ended" in page.info[0].value
    assert not double.decisions
