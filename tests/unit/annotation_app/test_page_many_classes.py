"""More classes than there are keys: a class is found by typing, and a table takes colours and keys."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest
from test_page_app import answers, log_in, words
from test_page_progress import view
from test_page_projects import area, button

MANY = [f"species {n}" for n in range(60)]


@pytest.fixture
def birds(double) -> None:
    """A dataset of 60 classes, 29 of them without a key, and nothing else to do."""
    double.datasets = {"birds": MANY}
    double.open, double.known = [], {}
    double.put(3, "birds")


def test_a_class_without_a_key_is_found_by_typing(page: AppTest, double, birds) -> None:
    log_in(page)
    assert len(answers(page)) == 60
    field = page.selectbox(key="typed_1")
    assert field.options == MANY
    field.set_value("species 57").run()
    assert [(answer["task"], answer["label"]) for answer in double.answers] == [(1, "species 57")]
    assert page.selectbox(key="typed_2").value is None
    page.selectbox(key="typed_2").set_value("species 57").run()  # the same of the next sample
    assert len(double.answers) == 2
    page.button(key="answer_3_0").click().run()  # the keys go on as ever
    assert double.answers[-1]["label"] == "species 0"


def test_what_was_taken_back_can_be_answered_the_same_again(page: AppTest, double, birds) -> None:
    log_in(page)
    page.selectbox(key="typed_1").set_value("species 40").run()
    page.button(key="undo").click().run()
    assert double.answers == []
    page.selectbox(key="typed_1").set_value("species 40").run()
    assert [answer["label"] for answer in double.answers] == ["species 40"]


def test_where_every_class_has_a_key_there_is_no_field(page: AppTest) -> None:
    log_in(page)
    assert not [each for each in page.selectbox if (each.key or "").startswith("typed_")]


def test_a_reviewer_finds_a_class_by_typing_too(page: AppTest, double) -> None:
    double.datasets["digits"] = MANY
    double.differ(MANY[3], MANY[4])
    view(page, "rita", "review")
    page.text_input(key="reason_1").set_value("neither of these")
    page.selectbox(key="typed_review_1").set_value("species 41").run()
    assert [(one["decision"], one["label"]) for one in double.decisions] == [("confirm", "species 41")]


def test_the_table_keeps_what_nobody_changed(page: AppTest, double, birds) -> None:
    styles = {"species 3": {"color": "#ff0000", "key": "T"}, "species 45": {"color": "#00ff00", "key": None}}
    double.write_guide("birds", "Old words.", styles)
    view(page, "sue", "projects")
    (table,) = page.data_editor
    assert list(table.value.columns) == ["label", "color", "key"]
    assert table.value.set_index("label").loc["species 45"].tolist() == ["#00ff00", ""]
    assert len(table.value) == 60
    area(page).set_value("New words.")
    button(page, "Save").click().run()
    assert "New words." in words(page)
    kept = {name: style for name, style in double.guides["birds"]["classes"].items() if any(style.values())}
    assert kept == styles
