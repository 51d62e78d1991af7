"""A login outlasts its token: it is exchanged in good time, and no request of another thread is lost to that."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from streamlit.testing.v1 import AppTest
from test_page_app import answers, log_in, words

from annotation_app.desk import Desk
from annotation_app.lasting import LastingClient
from learnloop.errors import NotAuthenticated

PAST_HALF = (-60, 50)
"""A minute old, of a life of 110 seconds."""
FRESH = (-10, 100)
PATIENCE = 30


def client(double, life: tuple[float, float] | None = PAST_HALF) -> LastingClient:
    double.life = life
    return LastingClient.login(double.url, "anna", "secret-a")


@pytest.mark.parametrize(("life", "due"), [(PAST_HALF, True), (FRESH, False), (None, False)])
def test_a_token_is_exchanged_once_half_of_its_life_has_passed(double, life, due) -> None:
    anna = client(double, life)
    old = anna.token
    assert anna.keep() is due
    assert (anna.token != old) is due
    assert anna.session().name == "anna"
    assert not anna.keep()  # the new one is fresh
    assert double.refreshed == int(due)


def test_an_exchange_that_does_not_come_through_is_tried_later_and_not_at_once(double, monkeypatch) -> None:
    anna = client(double)
    double.refusing = True
    assert not anna.keep()
    double.refusing = False
    assert not anna.keep()
    assert anna.session().name == "anna"
    monkeypatch.setattr("annotation_app.lasting.AGAIN_SECONDS", 0.0)
    anna._not_before = 0.0
    assert anna.keep()


def test_an_exchange_of_a_token_that_has_ended_says_so(double) -> None:
    anna = client(double)
    double.revoked.add(anna.token)
    with pytest.raises(NotAuthenticated):
        anna.keep()


def test_an_answer_that_is_on_its_way_when_the_token_is_exchanged_arrives(double) -> None:
    """The API looks who is calling only after the old token has ended."""
    anna = client(double)
    desk = Desk(anna, "anna", "digits")
    desk.take()
    desk.settle()
    arrived, go_on = threading.Event(), threading.Event()

    def hold(path: str) -> None:
        if path.endswith("/annotation"):
            arrived.set()
            assert go_on.wait(PATIENCE)

    double.on_request = hold
    desk.drawn = 1
    desk.answer(1, "7")
    assert arrived.wait(PATIENCE)
    assert anna.keep()
    go_on.set()
    desk.settle()
    assert [(a["task"], a["label"]) for a in double.answers] == [(1, "7")]
    assert (desk.kept, desk.signed_out) == ({}, None)


def test_an_answer_that_is_refused_before_the_new_token_is_here_waits_for_it(double) -> None:
    anna = client(double)
    task = anna.claim("digits")
    ended, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        ended.set()
        assert go_on.wait(PATIENCE)

    def refused(path: str) -> None:
        if path.endswith("/annotation"):
            go_on.set()  # it bears the old token, which has ended: the refusal meets the exchange

    double.on_refreshed, double.on_request = hold, refused
    with ThreadPoolExecutor(2) as threads:
        exchange = threads.submit(anna.keep)
        assert ended.wait(PATIENCE)
        threads.submit(anna.submit, task.id, "7").result(PATIENCE)
        assert exchange.result(PATIENCE)
    assert [a["label"] for a in double.answers] == ["7"]


def test_the_page_goes_on_past_the_end_of_its_first_token(page: AppTest, double) -> None:
    double.life = PAST_HALF
    log_in(page)
    assert double.refreshed == 1
    assert len(double.revoked) == 1  # the first token opens nothing any more
    page.button(key="answer_1_3").click().run()
    assert [(a["task"], a["label"]) for a in double.answers] == [(1, "3")]
    assert answers(page)
    assert "session has ended" not in words(page)


def test_the_browsers_own_token_is_left_alone(page: AppTest, double, cookies: dict[str, str]) -> None:
    double.life = PAST_HALF
    cookies["_token"] = double.token("anna")
    page.run()
    assert answers(page)
    assert double.refreshed == 0


def test_a_session_that_has_ended_leads_to_the_form(page: AppTest, double) -> None:
    double.life = FRESH
    log_in(page)
    double.revoked.add(page.session_state["login"].client.token)
    page.run()
    assert "Your session has ended" in page.info[0].value
