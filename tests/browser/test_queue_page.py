"""Looking closer, and choosing from the queue, in a real browser against the whole running stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from test_page import (  # noqa: F401
    answer_by_key,
    artefacts,
    browser,
    log_in_by_form,
    open_page,
    pytestmark,
    ready,
)

from learnloop.client import LearnloopClient

LOOK = "image => [getComputedStyle(image).transform, getComputedStyle(image).filter]"


def test_zoom_and_contrast_by_key_and_button(
    live_stack: Any,
    live_dataset: Any,
    browser: Any,  # noqa: F811
    artefacts: Path,  # noqa: F811
) -> None:
    page = open_page(browser)
    log_in_by_form(page, live_stack, live_stack.users["annotator"], live_dataset.name)
    sample = ready(page)
    image = page.locator(".ll-image")
    plain = ["matrix(1, 0, 0, 1, 0, 0)", "contrast(1)"]
    assert image.evaluate(LOOK) == plain
    for key in ("+", "]", "ArrowLeft"):
        page.keyboard.press(key)
    assert image.evaluate(LOOK) == ["matrix(1.5, 0, 0, 1.5, 60, 0)", "contrast(1.25)"]
    page.screenshot(path=artefacts / "page-zoomed.png")
    page.get_by_role("button", name="As it was").click()
    assert image.evaluate(LOOK) == plain
    page.get_by_role("button", name="Zoom in").click()
    page.keyboard.press("]")
    answer_by_key(page)
    page.locator(".ll-sample figcaption").filter(has_not_text=sample).wait_for()
    assert page.locator(".ll-image").evaluate(LOOK) == [plain[0], "contrast(1.25)"]  # the zoom was this sample's


def test_comment_and_agreement_by_keyboard_only(live_stack: Any, live_dataset: Any, browser: Any) -> None:  # noqa: F811
    page = open_page(browser)
    with LearnloopClient.login(live_stack.url, *live_stack.users["annotator"]) as client:
        log_in_by_form(page, live_stack, live_stack.users["annotator"], live_dataset.name)
        sample = ready(page)
        guess = page.locator(".ll-guess .ll-label").first.inner_text()
        before = client.progress(live_dataset.name).answered_by_me
        page.keyboard.press("/")
        page.keyboard.type("3 or 8?")
        page.keyboard.press("Enter")
        page.wait_for_function("document.activeElement === document.body")
        assert client.progress(live_dataset.name).answered_by_me == before  # what was typed answered nothing
        page.keyboard.press("Enter")
        page.get_by_role("status").filter(has_text=f"{guess} received for {sample}").wait_for()
        assert client.progress(live_dataset.name).answered_by_me == before + 1


def test_a_task_chosen_from_the_queue_is_answered_and_a_skipped_one_taken_after_all(
    live_stack: Any,
    live_dataset: Any,
    browser: Any,  # noqa: F811
    artefacts: Path,  # noqa: F811
) -> None:
    page = open_page(browser)
    log_in_by_form(page, live_stack, live_stack.users["annotator"], live_dataset.name)
    ready(page)
    page.get_by_role("radio", name="Queue").click()
    rows = page.locator('[class*="st-key-queued_"]')
    rows.last.wait_for()
    # One row by its name from here on: when the list is drawn again, another may be the last.
    chosen = rows.last.locator(".ll-name").inner_text()
    page.screenshot(path=artefacts / "page-queue.png")
    rows.filter(has_text=chosen).get_by_role("button", name="Take").click()
    page.locator(".ll-sample figcaption").filter(has_text=chosen).wait_for()
    assert ready(page) == chosen
    page.keyboard.press("s")
    page.get_by_role("status").filter(has_text=f"{chosen} skipped").wait_for()
    page.get_by_role("radio", name="Queue").click()
    page.get_by_role("radio", name="Skipped by you").click()
    skipped = rows.filter(has_text=chosen)
    skipped.get_by_text("You said: Cannot tell").wait_for()
    page.screenshot(path=artefacts / "page-queue-skipped.png")
    skipped.get_by_role("button", name="Take").click()
    page.locator(".ll-sample figcaption").filter(has_text=chosen).wait_for()
    answer_by_key(page)
    with LearnloopClient.login(live_stack.url, *live_stack.users["annotator"]) as client:
        assert chosen not in [item["sample_id"] for item in client.tasks(live_dataset.name, state="skipped")]
