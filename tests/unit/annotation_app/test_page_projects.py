"""The projects view: choosing a dataset, its instructions beside the task, and who may edit them."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest
from test_page_app import answers, log_in, words
from test_page_progress import view

from annotation_app import markup
from annotation_app.guides import Guide, safe
from annotation_app.keys import keys_of
from learnloop.annotation.guide import MOST_WORDS, RESERVED_KEYS
from learnloop.client import LearnloopClient


@pytest.fixture
def guide(double) -> Guide:
    return Guide(LearnloopClient(double.url, double.token("sue")), "digits")


def area(page: AppTest):
    (found,) = page.text_area
    return found


def button(page: AppTest, label: str):
    (found,) = [each for each in page.button if each.label == label]
    return found


def test_a_dataset_is_chosen_and_worked_on(page: AppTest, double) -> None:
    double.datasets["pets"] = ["cat", "dog"]
    double.put(1, "pets")
    view(page, "anna", "projects")
    assert "digits" in words(page)
    page.button(key="choose_pets").click().run()
    assert page.selectbox(key="dataset").value == "pets"
    page.button(key="annotate_it").click().run()
    assert answers(page) == ["cat", "dog"]


def test_instructions_stand_beside_the_task_and_keys_and_colours_are_the_chosen_ones(page: AppTest, double) -> None:
    double.write_guide("digits", "# Digits\n\nA 7 may have a *bar*.", {"3": {"color": "#ff0000", "key": "T"}})
    log_in(page)
    assert [each.value for each in page.markdown] == ["# Digits\n\nA 7 may have a *bar*."]
    assert page.expander[0].label == "Instructions"
    assert page.button(key="answer_1_3").proto.shortcut == "t"
    assert page.button(key="answer_1_4").proto.shortcut == "4"
    assert ":nth-child(4) button" in words(page)
    assert "0.4rem solid #ff0000" in words(page)


def test_without_instructions_nothing_stands_there(page: AppTest) -> None:
    log_in(page)
    assert not page.markdown
    assert not page.expander


def test_html_is_shown_as_text_and_images_are_links(page: AppTest, double) -> None:
    double.write_guide("digits", "<script>alert(1)</script> ![far](http://elsewhere/x.png)", {})
    log_in(page)
    (shown,) = page.markdown
    assert not shown.allow_html
    assert shown.value == "<script>alert(1)</script> [far](http://elsewhere/x.png)"


@pytest.mark.parametrize(
    ("given", "shown"),
    [("![a](b)", "[a](b)"), ("[![a](b)](c)", "[[a](b)](c)"), ("![a][r]", "[a][r]"), ("Halt!\n[a](b)", "Halt!\n[a](b)")],
)
def test_nothing_is_fetched_from_elsewhere(given: str, shown: str) -> None:
    assert safe(given) == shown


def test_who_may_write_edits_and_it_is_there(page: AppTest, double) -> None:
    view(page, "sue", "projects")
    area(page).set_value("Look at the *ears*.")
    page.checkbox[0].set_value(True)
    page.text_input[3].set_value("t")
    button(page, "Save").click().run()
    assert not page.exception
    assert double.guides["digits"]["instructions"] == "Look at the *ears*."
    classes = double.guides["digits"]["classes"]
    assert classes["3"]["key"] == "T"
    assert all(style["color"].startswith("#") for style in classes.values())
    assert "Look at the *ears*." in words(page)
    assert "Written by sue" in words(page)


def test_who_may_not_write_is_offered_no_editor(page: AppTest, double) -> None:
    double.write_guide("digits", "Ears.", {})
    view(page, "rita", "projects")
    assert "Ears." in words(page)
    assert not page.text_area


def test_what_somebody_wrote_meanwhile_is_not_overwritten_unseen(page: AppTest, double) -> None:
    view(page, "sue", "projects")
    double.write_guide("digits", "Theirs.", {}, "ron")
    area(page).set_value("Mine.")
    button(page, "Save").click().run()
    assert double.guides["digits"]["instructions"] == "Theirs."
    assert "changed since you looked" in words(page)
    assert area(page).value == "Mine."  # nothing typed is lost
    button(page, "Save mine over theirs").click().run()
    assert double.guides["digits"]["instructions"] == "Mine."
    assert "changed since you looked" not in words(page)


def test_theirs_can_be_taken_instead(page: AppTest, double) -> None:
    view(page, "sue", "projects")
    double.write_guide("digits", "Theirs.", {}, "ron")
    area(page).set_value("Mine.")
    button(page, "Save").click().run()
    button(page, "Take theirs").click().run()
    assert area(page).value == "Theirs."
    assert double.guides["digits"]["instructions"] == "Theirs."
    assert not [each for each in page.button if each.label == "Take theirs"]


def test_a_guide_read_anew_while_somebody_types_does_not_let_them_overwrite_it(page: AppTest, double) -> None:
    view(page, "sue", "projects")
    double.write_guide("digits", "Theirs.", {}, "ron")
    page.session_state.guides["digits"].look(anew=True)  # as it does by itself after a minute
    area(page).set_value("Mine.")
    button(page, "Save").click().run()
    assert double.guides["digits"]["instructions"] == "Theirs."


def test_a_guide_is_read_once_a_minute(guide: Guide, double) -> None:
    times = iter([0.0, 10.0, 59.0, 61.0, 61.0])
    guide.clock = lambda: next(times)
    assert guide.look()
    assert not guide.look()
    double.write_guide("digits", "New.", {})
    assert not guide.look()
    assert guide.instructions == ""
    assert guide.look()
    assert guide.instructions == "New."


def test_while_the_api_does_not_answer_the_last_guide_stays(guide: Guide, double) -> None:
    double.write_guide("digits", "Ears.", {"3": {"color": "#ff0000", "key": "T"}})
    guide.look()
    double.down = True
    assert not guide.look(anew=True)
    assert (guide.instructions, guide.colors, guide.keys) == ("Ears.", {"3": "#ff0000"}, {"3": "T"})
    assert not guide.write("x", {}, None)
    assert "does not answer" in str(guide.error)


def test_what_is_no_colour_does_not_get_into_a_style_sheet(guide: Guide, double) -> None:
    double.write_guide("digits", "", {"3": {"color": "#fff}</style><script>"}, "4": {"color": "#00ff00"}})
    guide.look()
    assert guide.colors == {"4": "#00ff00"}
    assert markup.class_colors(["3", "4"], guide.colors).count("nth-child(2)") == 2


def test_chosen_keys_come_first_and_none_means_two_classes() -> None:
    assert keys_of(["cat", "dog", "1"], {"dog": "1"}) == {"cat": "2", "dog": "1", "1": "3"}
    assert keys_of(["a", "b"], {"gone": "A", "b": "S"}) == {"a": "A", "b": "B"}
    assert not set(RESERVED_KEYS) & set(keys_of([f"c{n}" for n in range(31)]).values())


def test_the_page_offers_as_many_words_as_the_api_takes() -> None:
    from annotation_app import projects

    assert projects.MOST_WORDS == MOST_WORDS


def test_a_reviewer_has_the_instructions_beside_the_sample_too(page: AppTest, double) -> None:
    double.write_guide("digits", "A 7 may have a bar.", {"3": {"color": "#ff0000", "key": "T"}})
    double.differ("3", "4")
    view(page, "rita", "review")
    assert [each.value for each in page.markdown] == ["A 7 may have a bar."]
    assert page.button(key="confirm_1_3").proto.shortcut == "t"
