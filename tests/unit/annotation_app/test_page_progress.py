"""The progress view: what it shows, whose figures, and what it does while the API does not answer."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest
from streamlit.testing.v1 import AppTest
from test_page_app import log_in, words

from annotation_app import figures, markup
from annotation_app.standing import Standing
from learnloop.client import LearnloopClient, ProgressInfo
from learnloop.permissions import TABLE


def view(page: AppTest, user: str, name: str = "progress") -> AppTest:
    log_in(page, user, f"secret-{user[0]}")
    page.segmented_control(key="view").set_value(name)
    return page.run()


def standing(double, user: str) -> Standing:
    return Standing(LearnloopClient(double.url, double.token(user)), "digits", TABLE[double.users[user][1]])


def info(**changed: object) -> ProgressInfo:
    values = {"confirmed": 90, "waiting": 23, "needed": 40, "reason": "17 more labels needed", "open_tasks": 5}
    return ProgressInfo(**(values | {"pending": 2, "answered_by_me": 7, "round": None} | changed))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "17 more labels until the next training"),
        ({"waiting": 39, "reason": "1 more label needed"}, "1 more label until the next training"),
        (
            {"round": {"number": 3, "state": "running"}, "reason": "round 3 is under way; 23 labels wait for the next"},
            "Round 3 is being trained; 23 labels wait for the next",
        ),
        ({"waiting": 41, "reason": "5 more gold tasks must be answered"}, "5 more gold tasks must be answered"),
        (
            {"reason": "2 more labels needed, though the last training ended 9 hours ago"},
            "2 more labels needed, though",
        ),
    ],
)
def test_how_far_the_next_training_is(changed: dict, said: str) -> None:
    assert markup.training(info(**changed)).startswith(said)
    assert said in figures.until_training(info(**changed))


def test_an_annotator_sees_the_loop_and_themselves(page: AppTest, double) -> None:
    double.trained(0, 60, 0.9)
    double.trained(1, 100, 0.934)
    double.trained(2, 140, 0.93, "rejected")
    view(page, "anna")
    shown = words(page)
    assert "40 more labels until the next training" in shown
    assert "93.4 %" in shown
    assert "rejected" in shown
    assert "4: 7 confirmed labels, 1 of them waiting for training" in shown
    assert "How you answer" in shown
    assert "9 answers in 14 days, 9 today" in shown
    assert "1080" in shown  # 9 answers in 30 seconds, an hour
    assert "ben" not in shown
    assert not [url for url in double.urls if url.endswith("/quality") or "/throughput?" in url]


def test_a_reviewer_sees_everybody_and_how_far_they_agree(page: AppTest) -> None:
    view(page, "rita")
    shown = words(page)
    assert "How people answer" in shown
    assert "anna" in shown
    assert "ben" in shown
    assert "alpha 0.81" in shown


def test_who_may_not_annotate_sees_the_loop_and_nobodys_figures(page: AppTest, double) -> None:
    log_in(page, "vera", "secret-v")
    shown = words(page)
    assert page.segmented_control(key="view").options == ["Progress", "Projects"]
    assert "not part of your role" in shown
    assert "40 more labels until the next training" in shown
    assert "No round has been trained yet." in shown
    assert "answer" not in [url.rsplit("/", 1)[-1] for url in double.urls]
    assert not [url for url in double.urls if "quality" in url or "throughput" in url]


def test_the_curve_is_drawn_of_what_was_trained(double) -> None:
    double.trained(0, 60, 0.9)
    double.rounds.append({"number": 1, "labels": None, "state": "failed", "metrics": {}})
    double.trained(2, 100, 0.95)
    found = standing(double, "anna")
    found.look()
    assert [row["number"] for row in found.rounds] == [0, 2]
    chart = figures.learning_curve(found.rounds)
    points = [(row["labels"], row["accuracy"], row["decision"]) for row in chart["data"]["values"]]
    assert points == [(60, 0.9, "accepted"), (100, 0.95, "accepted")]


def test_while_the_api_does_not_answer_the_last_figures_stay(double) -> None:
    double.trained(0, 60, 0.9)
    found = standing(double, "anna")
    found.look()
    double.down = True
    found.look()
    assert "does not answer" in str(found.error)
    assert (found.progress.needed, len(found.rounds), len(found.people)) == (40, 1, 1)
    double.down = False
    found.look()
    assert found.error is None


def test_an_ended_session_leads_to_the_form(page: AppTest, double) -> None:
    view(page, "anna")
    double.revoked.add(double.token("anna"))
    page.run()
    assert "Your session has ended" in page.info[0].value


def test_days_are_bars_in_their_places() -> None:
    today = date(2026, 5, 20)
    person = {
        "annotator": "ann",
        "answers": 6,
        "skipped": 0,
        "median_seconds": None,
        "accepted": None,
        "fast": 0,
        "slow": 0,
    }
    person |= {"gold_right": 0, "gold_answered": 0}
    days = [
        {"day": (today - timedelta(days=back)).isoformat(), "answers": count, "timed": 0, "seconds": 0}
        for back, count in ((3, 4), (0, 2))
    ]
    html = figures.people([{**person, "days": days}], 5, today)
    assert re.findall(r"height:(\d+)%", html) == ["0", "100", "0", "0", "50"]
    assert "6 answers in 5 days, 2 today" in html


def test_names_are_escaped() -> None:
    evil = '<script>"'
    person = {
        "annotator": evil,
        "answers": 1,
        "skipped": 0,
        "median_seconds": 1.0,
        "accepted": 1.0,
        "fast": 0,
        "slow": 0,
    }
    shown = [
        figures.people([{**person, "gold_right": 1, "gold_answered": 1, "days": []}], 14, date(2026, 5, 20)),
        figures.balance([{"label": evil, "confirmed": 1, "waiting": 0}], None, {}),
        figures.until_training(info(reason=evil)),
        markup.classes({evil: evil}, {}),
    ]
    assert not [html for html in shown if "<script" in html or '""' in html]


REJECTED = {
    "id": 7,
    "sample_id": "batch_7/<0009>",
    "label": "4",
    "outcome": "rejected",
    "instead": "9",
    "reason": "reviewed by rita: mind the loop",
    "created_at": "2026-05-01T08:30:00+00:00",
}


def test_ones_own_rejected_answers_are_listed_with_the_reason(page: AppTest, double) -> None:
    double.decided = [REJECTED, {**REJECTED, "outcome": "confirmed", "reason": "not told"}]
    view(page, "anna")
    shown = words(page)
    assert "Your answers that were rejected" in shown
    assert "reviewed by rita: mind the loop" in shown
    assert "batch_7/&lt;0009&gt;" in shown
    assert "not told" not in shown


def test_who_has_no_rejected_answers_or_gives_none_sees_no_such_list(page: AppTest, double) -> None:
    view(page, "anna")
    assert "Your answers that were rejected" not in words(page)
    double.decided = [REJECTED]
    assert standing(double, "vera").rejected == []
