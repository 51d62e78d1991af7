"""Text and rows as people look at them."""

import pytest
from streamlit.testing.v1 import AppTest
from test_page_app import answers, log_in, words

from annotation_app import markup
from annotation_app.rows import is_row, row
from annotation_app.samples import readable
from learnloop.errors import InvalidInput


@pytest.mark.parametrize(
    ("content", "kind", "fields"),
    [
        (b"age,city\n41,Oslo\n", "text/csv", [("age", "41"), ("city", "Oslo")]),
        ('\ufeffname,said\r\n李,"a, b\nc"\r\n'.encode(), "text/csv", [("name", "李"), ("said", "a, b\nc")]),
        (b"a\tb\n1\t\n", "text/tab-separated-values", [("a", "1"), ("b", "")]),
        (b'{"b": 1.50, "a": null, "c": "x"}', "application/json", [("b", "1.5"), ("a", "null"), ("c", "x")]),
        (b"same,same\n1,2\n", "text/csv", [("same", "1"), ("same", "2")]),
    ],
)
def test_a_row_is_names_and_values_in_their_order(content: bytes, kind: str, fields: list[tuple[str, str]]) -> None:
    assert is_row(kind)
    assert row(content, kind) == fields


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"", "text/csv", "not 0 lines"),
        (b"a,b\n1,2\n3,4\n", "text/csv", "not 3 lines"),
        (b"a,b\n1\n", "text/csv", "2 names, 1 values"),
        (b"a\n\xff\n", "text/csv", "byte 2 is not UTF-8"),
        (b'a\n"1', "text/csv", "unexpected end of data"),
        (b"[1]", "application/json", "one JSON object"),
        (b"{", "application/json", "not JSON"),
        (b"[" * 100_000, "application/json", "not JSON"),
    ],
)
def test_what_is_no_row_is_refused_with_a_reason(content: bytes, kind: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        row(content, kind)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Ünïcode ✓".encode(), ("Ünïcode ✓", True)),
        ("\ufeffwith a mark".encode(), ("with a mark", True)),
        ("wide".encode("utf-16"), ("wide", True)),
        (b"caf\xe9", ("caf\ufffd", False)),
    ],
)
def test_text_is_read_whole_or_it_is_said_that_it_is_not(content: bytes, said: tuple[str, bool]) -> None:
    assert readable(content) == said


def test_words_and_fields_are_escaped() -> None:
    evil = '<script>"'
    for html in (
        markup.words(evil, alt=evil, caption=evil),
        markup.row([(evil, evil)], alt=evil, caption=evil),
    ):
        assert "<script" not in html
        assert '""' not in html


def test_text_sample_is_on_the_page_to_its_last_word(page: AppTest, double) -> None:
    double.open[0]["content_type"] = "text/plain"
    double.content = ("line\n" * 2000 + "the end <b>").encode()
    log_in(page)
    shown = words(page)
    assert "the end &lt;b&gt;" in shown
    assert "10011 characters" in shown
    assert not page.warning


def test_text_that_is_not_all_utf8_says_so(page: AppTest, double) -> None:
    double.open[0]["content_type"] = "text/plain"
    double.content = b"caf\xe9"
    log_in(page)
    assert "could not be read" in page.warning[0].value
    assert answers(page)


def test_row_is_a_table_with_a_line_a_field(page: AppTest, double) -> None:
    double.open[0]["content_type"] = "text/csv"
    double.content = b"mean radius,mean texture\n17.99,10.38\n"
    log_in(page)
    shown = words(page)
    assert "mean radius</th>" in shown
    assert "17.99</td>" in shown
    assert "2 fields" in shown


def test_broken_row_can_be_skipped(page: AppTest, double) -> None:
    double.open[0]["content_type"] = "text/csv"
    double.content = b"a,b\n1\n"
    log_in(page)
    assert "cannot be shown" in page.warning[0].value
    assert "2 names, 1 values" in page.warning[0].value
    assert not answers(page)
    page.button(key="skip_1_damaged").click().run()
    assert double.answers[0]["reason"] == "Damaged: this sample is no row that can be shown: 2 names, 1 values"


def test_agreeing_with_the_model_is_one_press(page: AppTest, double) -> None:
    log_in(page)
    button = page.button(key="agree_1")
    assert button.proto.shortcut == "enter" or button.proto.shortcut == "Enter"
    button.click().run()
    assert [(a["task"], a["label"]) for a in double.answers] == [(1, "1")]


def test_guess_that_is_no_class_cannot_be_agreed_with(page: AppTest, double) -> None:
    double.open[0]["prediction"]["label"] = "from an older model"
    log_in(page)
    assert not [button for button in page.button if (button.key or "").startswith("agree_")]
