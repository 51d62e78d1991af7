"""The queue on the page: filters, choosing, what one skipped; and what the desk makes of it."""

import pytest
from streamlit.testing.v1 import AppTest
from test_page_app import answers, log_in, words

from annotation_app import markup
from annotation_app.browsing import STEP, Browsing
from annotation_app.desk import Desk
from learnloop.client import LearnloopClient


@pytest.fixture
def desk(double) -> Desk:
    return Desk(LearnloopClient(double.url, double.token("anna")), "anna", "digits")


def queue(page: AppTest) -> AppTest:
    log_in(page)
    page.session_state.view = "queue"
    return page.run()


def takes(page: AppTest) -> list[str]:
    return [button.key for button in page.button if (button.key or "").startswith("take_")]


def test_open_tasks_are_listed_and_one_can_be_taken(page: AppTest, double) -> None:
    queue(page)
    assert takes(page) == [f"take_{number}" for number in range(3, 11)]  # the first is in hand, the second follows it
    assert "3: 52 %" in words(page)
    assert not page.markdown  # Streamlit shows what strings stand alone in its script
    page.button(key="take_5").click().run()
    assert page.session_state.view == "annotate"
    assert "batch_7/0005" in words(page)
    assert [number for number, (who, _) in double.claims.items() if who == "anna"] == [5, 2]  # and what follows it
    assert 1 in [task["id"] for task in double.open]  # what was in hand went back
    page.button(key="answer_5_3").click().run()
    assert [(a["task"], a["label"]) for a in double.answers] == [(5, "3")]


def test_the_models_guess_narrows_the_list(page: AppTest) -> None:
    queue(page)
    page.selectbox(key="queue_label").set_value("4").run()
    assert takes(page) == ["take_4"]
    page.selectbox(key="queue_label").set_value("1").run()
    assert takes(page) == []  # 1 is in hand
    assert "No such task" in words(page)


def test_filters_reach_the_api(page: AppTest, double) -> None:
    queue(page)
    page.selectbox(key="queue_batch").set_value("batch_7").run()
    page.slider(key="queue_confidence").set_value((20, 55)).run()
    page.selectbox(key="queue_age").set_value("older").run()
    asked = [url for url in double.urls if "/tasks?" in url][-1]
    for wanted in ("batch=batch_7", "least_confidence=0.2", "most_confidence=0.55", "until=", "state=open"):
        assert wanted in asked
    assert "since=" not in asked


def test_what_one_skipped_is_there_with_its_reason_and_can_be_taken(page: AppTest) -> None:
    log_in(page)
    page.button(key="skip_1_damaged").click().run()
    page.session_state.view = "queue"
    page.run()
    page.segmented_control(key="queue_state").set_value("skipped").run()
    assert takes(page) == ["take_1"]
    assert "You said: Damaged" in words(page)
    page.button(key="take_1").click().run()
    assert answers(page)
    assert "batch_7/0001" in words(page)


def test_task_that_somebody_else_took_meanwhile_stays_untaken_and_says_so(page: AppTest, double) -> None:
    queue(page)
    double.claims[5] = ("ben", double.known[5])
    page.button(key="take_5").click().run()
    assert page.session_state.view == "queue"
    assert "somebody else is answering task 5" in page.warning[0].value
    assert double.claims[1][0] == "anna"  # what was in hand still is


def test_a_reviewer_looks_through_other_states_too_and_takes_nothing_there(page: AppTest, double) -> None:
    double.claims[5] = ("ben", double.known[5])
    log_in(page, "rita", "secret-r")
    page.session_state.view = "queue"
    page.run()
    page.segmented_control(key="queue_state").set_value("claimed").run()
    assert "batch_7/0005" in words(page)
    assert takes(page) == []
    page.segmented_control(key="queue_state").set_value("rejected").run()
    assert "No such task" in words(page)


def test_who_only_answers_is_offered_no_other_state(page: AppTest) -> None:
    queue(page)
    assert page.segmented_control(key="queue_state").options == ["Open", "Skipped by you"]


def test_a_long_list_comes_in_steps(page: AppTest, double) -> None:
    double.put(2 * STEP)
    queue(page)
    assert len(takes(page)) == STEP
    page.button(key="queue_more").click().run()
    assert len(takes(page)) == 2 * STEP
    page.selectbox(key="queue_label").set_value("4").run()
    page.selectbox(key="queue_label").set_value(None).run()
    assert len(takes(page)) == STEP


def test_api_that_does_not_answer_is_said_on_the_list(page: AppTest, double) -> None:
    queue(page)
    double.down = True
    page.run()
    assert "does not answer" in words(page)
    double.down = False
    page.run()
    assert takes(page)


def test_ended_session_leads_to_the_form(page: AppTest, double) -> None:
    queue(page)
    double.revoked.add(double.token("anna"))
    page.run()
    assert "Your session has ended" in page.info[0].value


def test_choosing_without_a_connection_keeps_the_task_in_hand(desk: Desk, double) -> None:
    desk.take()
    double.down = True
    assert not desk.choose(5)
    assert desk.task.id == 1
    assert "does not answer" in str(desk.notice)


def test_choosing_after_a_pause_goes_on(desk: Desk) -> None:
    desk.take()
    desk.task, desk.paused = None, True
    assert desk.choose(5)
    assert (desk.task.id, desk.paused) == (5, False)
    assert desk.content.startswith(b"\x89PNG")


def test_list_of_a_dataset_that_is_gone_says_so(double) -> None:
    double.datasets["gone"] = []
    browsing = Browsing(LearnloopClient(double.url, double.token("vera")), "digits")
    browsing.look()
    assert "annotation:read" in str(browsing.error)
    assert browsing.found == []


def test_line_of_the_list_is_escaped_and_takes_what_is_missing() -> None:
    evil = "<script>"
    row = {"sample_id": evil, "label": evil, "confidence": 0.5, "batch": evil, "created_at": None, "skip_reason": evil}
    assert "<script" not in markup.queued(row, True)
    empty = markup.queued(row | {"label": None, "confidence": None, "batch": None, "skip_reason": None}, False)
    assert "0 %" in empty
    assert "None" not in empty
