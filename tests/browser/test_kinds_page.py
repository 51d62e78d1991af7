"""Texts and rows on a tablet, and more classes than keys, in a real browser against the whole running stack.

The datasets have no model: what is shown is a first pool.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from first_pools import CLASSES, LONG
from test_page import artefacts, browser, log_in_by_form, open_page, pytestmark, ready, settled  # noqa: F401

from learnloop.client import LearnloopClient

FITS = "document.documentElement.scrollWidth <= window.innerWidth"
LAST = CLASSES[-1]
"""Has no key."""


def test_a_text_with_more_classes_than_keys_fits_a_tablet_and_is_answered_by_typing(
    live_stack: Any,
    birds: str,
    browser: Any,  # noqa: F811
    artefacts: Path,  # noqa: F811
) -> None:
    user = live_stack.users["annotator"]
    with LearnloopClient.login(live_stack.url, *user) as client:
        assert client.progress(birds).open_tasks > 2
        before = client.progress(birds).answered_by_me
        page = open_page(browser, width=820)
        log_in_by_form(page, live_stack, user, birds)
        sample = ready(page)
        assert LONG in page.locator(".ll-words").inner_text()
        assert page.evaluate(FITS)
        page.get_by_text("No model has looked at it yet.").wait_for()
        page.get_by_text("It stands for a group of samples that are alike.").wait_for()
        page.screenshot(path=artefacts / "page-text-820.png")
        page.keyboard.press(",")
        page.keyboard.type(LAST[3:])
        page.get_by_role("option").filter(has_text=LAST).wait_for()
        page.screenshot(path=artefacts / "page-typing-820.png")
        page.keyboard.press("Enter")
        page.get_by_role("status").filter(has_text=f"{LAST} received for {sample}").wait_for()
        page.wait_for_function("document.activeElement === document.body")
        following = ready(page)
        assert following != sample
        page.keyboard.press("1")  # the keys go on as ever
        page.get_by_role("status").filter(has_text=f"{CLASSES[0]} received for {following}").wait_for()
        assert client.progress(birds).answered_by_me == before + 2


def test_a_row_fits_a_tablet(
    live_stack: Any,
    stones: str,
    browser: Any,  # noqa: F811
    artefacts: Path,  # noqa: F811
) -> None:
    page = open_page(browser, width=820, scheme="dark")
    log_in_by_form(page, live_stack, live_stack.users["annotator"], stones)
    ready(page)
    assert page.locator(".ll-row th").all_inner_texts() == ["weight", LONG, "found"]
    assert page.evaluate(FITS)
    page.screenshot(path=artefacts / "page-row-dark-820.png")


def test_colours_of_many_classes_are_a_table_and_labels_go_out_and_tasks_come_in(
    live_stack: Any,
    birds: str,
    browser: Any,  # noqa: F811
    artefacts: Path,  # noqa: F811
) -> None:
    page = open_page(browser)
    log_in_by_form(page, live_stack, live_stack.users["scientist"], birds)
    page.get_by_role("radio", name="Projects", exact=True).click()
    page.locator(".ll-classes").wait_for()
    page.get_by_text("Edit", exact=True).click()
    grid = page.locator('[data-testid="stDataFrame"] canvas').first
    grid.scroll_into_view_if_needed()
    # The first class's colour: below the headings, in the second of three columns.
    grid.dblclick(position={"x": grid.bounding_box()["width"] / 2, "y": 55}, force=True)
    page.locator("textarea.gdg-input").wait_for()
    page.keyboard.type("#AA3377")
    page.keyboard.press("Enter")
    page.locator("textarea.gdg-input").wait_for(state="detached")
    page.screenshot(path=artefacts / "projects-table.png")
    with LearnloopClient.login(live_stack.url, *live_stack.users["scientist"]) as scientist:
        saved: dict[str, str] = {}
        while not saved:  # the table tells the form of a change a moment later
            settled(page)
            page.get_by_role("button", name="Save", exact=True).click()
            page.get_by_text("Saved").first.wait_for()
            saved = {style["label"]: style["color"] for style in scientist.guide(birds)["classes"] if style["color"]}
        assert saved == {CLASSES[0]: "#aa3377"}
    page.get_by_text("Export labels").click()
    page.get_by_role("button", name="Make the file").click()
    with page.expect_download() as download:
        page.locator(".st-key-export_download button").click()
    assert download.value.suggested_filename == f"{birds}.json"
    assert download.value.path().read_text().startswith("[")
    page.get_by_text("Import tasks").click()
    rows = b"sample_id,priority\nnote-01,5\nnowhere,1\n"
    chosen = page.locator('[data-testid="stFileUploaderDropzoneInput"]')
    for content, said in ((rows, "line 3, sample_id: 'nowhere' is not in batch first"), (rows[:29], "1 rows:")):
        chosen.set_input_files({"name": "tasks.csv", "mimeType": "text/csv", "buffer": content})
        page.get_by_text("line 3").wait_for(state="detached")  # it is there: the other's error is said no more
        page.get_by_role("button", name="Import", exact=True).click()
        page.get_by_text(said).wait_for()
        page.screenshot(path=artefacts / f"projects-import-{len(content)}.png", full_page=True)
