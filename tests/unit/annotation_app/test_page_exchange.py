"""Files out and in on the projects view: for whom, what is sent, and what is said of what was taken and refused."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest
from streamlit.testing.v1 import AppTest
from test_page_app import words
from test_page_progress import view

from annotation_app.transfer import ENDINGS, Transfer, format_of
from learnloop.annotation.exchange import exporting, importing
from learnloop.client import LearnloopClient
from learnloop.errors import InvalidInput, NotFound

DONE = {"rows": 5, "created": 2, "updated": 1, "unchanged": 0, "left": 2, "left_rows": ["line 3", "line 5"]}


def expanders(page: AppTest) -> set[str]:
    return {each.label for each in page.expander} & {"Export labels", "Import tasks"}


@pytest.mark.parametrize(
    ("user", "offered"),
    [("sue", {"Export labels", "Import tasks"}), ("rita", {"Export labels"}), ("anna", set()), ("vera", set())],
)
def test_who_may_is_offered_it(page: AppTest, user: str, offered: set[str]) -> None:
    view(page, user, "projects")
    assert expanders(page) == offered


def test_labels_are_made_into_a_file_of_the_chosen_format(page: AppTest, double) -> None:
    view(page, "sue", "projects")
    assert not page.download_button
    page.selectbox(key="export_format").set_value("csv").run()
    page.button(key="export_make").click().run()
    assert page.session_state.transfers["digits"].made == ("csv", b"[]\ncsv")
    assert page.download_button(key="export_download").label == "Download (6 B)"
    page.selectbox(key="export_format").set_value("parquet").run()
    assert not page.download_button  # that file was another


def test_a_file_is_sent_whole_and_what_became_of_its_rows_is_said(page: AppTest, double) -> None:
    double.upload_answer = {"result": DONE}
    view(page, "sue", "projects")
    assert page.button(key="import_submit").disabled
    page.file_uploader[0].set_value(("tasks.CSV", b"sample_id\ns0\n", "text/csv")).run()
    page.checkbox(key="import_ignore").set_value(True)
    page.button(key="import_submit").click().run()
    ((query, content),) = double.uploads
    assert content == b"sample_id\ns0\n"
    assert parse_qs(query) == {
        "batch": ["batch_7"],
        "format": ["csv"],
        "ignore_annotations": ["true"],
        "filename": ["tasks.CSV"],
    }
    assert "2 new tasks" in page.success[0].value
    assert "line 3, line 5" in words(page)


def test_what_is_refused_is_said_row_by_row_and_not_as_html(page: AppTest, double) -> None:
    double.upload_answer = InvalidInput(
        "upload.csv cannot be imported; nothing was changed:", ["line 2, label: '<b>' is not a class", "and 7 more"]
    )
    view(page, "sue", "projects")
    page.file_uploader[0].set_value(("t.csv", b"x", "text/csv")).run()
    page.button(key="import_submit").click().run()
    said = words(page)
    assert "cannot be imported" in page.error[0].value
    assert "<li>line 2, label: &#x27;&lt;b&gt;&#x27; is not a class</li><li>and 7 more</li>" in said
    assert not page.success
    page.file_uploader[0].set_value(("other.csv", b"y", "text/csv")).run()
    assert not page.error  # it was about the other file
    assert next(each for each in page.expander if each.label == "Import tasks").proto.expanded


def test_an_export_that_fails_is_said_and_offers_no_file(page: AppTest, double) -> None:
    view(page, "sue", "projects")
    double.down = True
    page.button(key="export_make").click().run()
    assert "does not answer" in page.error[0].value
    assert not page.download_button


def test_a_session_that_ended_leads_to_the_form(page: AppTest, double) -> None:
    view(page, "sue", "projects")
    double.revoked.add(double.token("sue"))
    page.button(key="export_make").click().run()
    assert page.text_input[0].label == "User name"


def test_without_a_batch_nothing_can_be_imported(double) -> None:
    transfer = Transfer(LearnloopClient(double.url, double.token("vera")), "digits")
    assert transfer.batches() == ["batch_7"]
    transfer.make("csv")
    assert "may not annotation:export" in str(transfer.export_error)
    assert transfer.made is None
    assert not transfer.signed_out
    double.upload_answer = NotFound("dataset digits has no batch 'b'")
    other = Transfer(LearnloopClient(double.url, double.token("sue")), "digits")
    other.bring("t.json", b"[]", "b", ignore_annotations=False)
    assert (str(other.import_error), other.brought) == ("dataset digits has no batch 'b'", None)


def test_the_page_knows_the_formats_that_there_are() -> None:
    assert set(ENDINGS) == set(exporting.Format.__args__)
    assert {ending: format_of(f"x{ending.upper()}") for ending in importing.SUFFIXES} == importing.SUFFIXES
