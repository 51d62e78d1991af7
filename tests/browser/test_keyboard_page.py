"""The whole flow with the keyboard alone: no click, no field filled from outside, no focus set by a script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from test_page import artefacts, browser, open_page, pytestmark, ready, settled  # noqa: F401

from learnloop.client import LearnloopClient

MOST_STEPS = 120


def tab_to(page: Any, selector: str) -> None:
    """Press Tab until what has the focus matches, as a person would."""
    for _ in range(MOST_STEPS):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {selector}")


def go_to(page: Any, view: str) -> None:
    """By the control on top: Tab leads to it, arrows to the view."""
    tab_to(page, ".st-key-view [role=radio]")
    for _ in range(8):
        if page.evaluate("name => document.activeElement.innerText.trim() === name", view):
            break
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.locator(f'.st-key-view [role=radio][aria-checked="true"]:has-text("{view}")').wait_for()


def received(page: Any, words: str) -> None:
    page.get_by_role("status").filter(has_text=words).wait_for()
    settled(page)  # the next key is for what comes after it


def test_the_whole_flow_by_keyboard_only(
    live_stack: Any,
    live_dataset: Any,
    browser: Any,  # noqa: F811
    artefacts: Path,  # noqa: F811
) -> None:
    name, password = live_stack.users["annotator"]
    page = open_page(browser)
    page.goto(f"{live_stack.url}/annotate/?dataset={live_dataset.name}")
    page.get_by_label("User name").wait_for()
    tab_to(page, "input[autocomplete=username]")
    page.keyboard.type(name)
    tab_to(page, "input[autocomplete=current-password]")
    page.keyboard.type(password)
    page.keyboard.press("Enter")
    with LearnloopClient.login(live_stack.url, name, password) as client:
        # an answer by its key, and one by agreement
        before = client.progress(live_dataset.name).answered_by_me
        first = ready(page)
        page.keyboard.press("4")
        received(page, f"4 received for {first}")
        second = ready(page)
        guess = page.locator(".ll-guess .ll-label").first.inner_text()
        page.keyboard.press("Enter")
        received(page, f"{guess} received for {second}")
        assert client.progress(live_dataset.name).answered_by_me == before + 2
        # taken back, and said otherwise
        page.keyboard.press("Backspace")
        page.locator(".ll-sample figcaption").filter(has_text=second).wait_for()
        settled(page)
        page.keyboard.press("5")
        received(page, f"5 received for {second}")
        assert client.progress(live_dataset.name).answered_by_me == before + 2
        # skipped with a comment
        third = ready(page)
        page.keyboard.press("/")
        page.keyboard.type("two digits?")
        page.keyboard.press("Escape")
        page.wait_for_function("document.activeElement === document.body")
        page.keyboard.press("S")
        received(page, third)
        (skipped,) = client.tasks(live_dataset.name, state="skipped")
        assert (skipped["sample_id"], skipped["skip_reason"]) == (third, "Cannot tell: two digits?")
        # one chosen from the queue
        go_to(page, "Queue")
        page.locator('[class*="st-key-take_"] button').first.wait_for()
        settled(page)
        tab_to(page, '[class*="st-key-take_"] button')
        page.screenshot(path=artefacts / "keyboard-queue.png")
        wanted = page.evaluate(
            "document.activeElement.closest('[class*=st-key-queued_]').querySelector('.ll-name').innerText"
        )
        page.keyboard.press("Enter")
        page.locator(".ll-sample figcaption").filter(has_text=wanted).wait_for()
        settled(page)
        page.keyboard.press("6")
        received(page, f"6 received for {wanted}")
    # and out
    tab_to(page, ".st-key-logout button")
    page.keyboard.press("Enter")
    page.get_by_text("You are logged out.").wait_for()
