"""The annotation page in a real browser, against the whole running stack."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from annotation_app.texts import catalogue
from learnloop.client import LearnloopClient

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.live,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found; Debian: apt-get install chromium"),
]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000  # a busy machine is no fault of the page's
ENGLISH = catalogue("en").gettext


@pytest.fixture
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def artefacts() -> Path:
    """Where screenshots are kept: LEARNLOOP_TEST_ARTEFACTS, or tests/output. Those in Chinese need a font that has it
    (Debian: fonts-wqy-zenhei).
    """
    folder = Path(os.environ.get("LEARNLOOP_TEST_ARTEFACTS") or ROOT / "tests" / "output")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def open_page(browser: Any, width: int = 1280, scheme: str = "light", locale: str = "en-US") -> Any:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, locale=locale)
    context.set_default_timeout(PATIENCE_MS)
    return context.new_page()


def settled(page: Any) -> None:
    """Wait until the script is done and nothing is left of what it drew before: until then, a control may be there twice."""
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()
    page.locator('[data-stale="true"]').first.wait_for(state="detached")


def ready(page: Any) -> str:
    """Wait for a task that can be answered; returns its sample. A key pressed before its buttons are there is nobody's."""
    page.locator(".st-key-skips button").last.wait_for()
    settled(page)
    return str(page.locator(".ll-sample figcaption").inner_text()).split(" · ")[0]


def log_in_by_form(
    page: Any,
    stack: Any,
    user: tuple[str, str],
    dataset: str,
    said: Callable[[str], str] = ENGLISH,
) -> None:
    """``said``: the messages of the page's language."""
    page.goto(f"{stack.url}/annotate/?dataset={dataset}")  # other tests leave datasets too
    page.get_by_label(said("login.user")).fill(user[0])
    page.get_by_label(said("login.password"), exact=True).fill(user[1])
    page.get_by_role("button", name=said("login.submit"), exact=True).click()


def answer_by_key(page: Any) -> None:
    """Press the key of the model's own guess and wait until the page says that it was received."""
    sample = ready(page)
    page.keyboard.press(page.locator(".ll-guess .ll-label").first.inner_text())
    page.get_by_role("status").filter(has_text=sample).wait_for()


def test_three_answers_by_key(live_stack: Any, live_dataset: Any, browser: Any, artefacts: Path) -> None:
    user = live_stack.users["annotator"]
    with LearnloopClient.login(live_stack.url, *user) as client:
        before = client.progress(live_dataset.name).answered_by_me
        page = open_page(browser)
        log_in_by_form(page, live_stack, user, live_dataset.name)
        sample = ready(page)
        image = page.get_by_role("img", name=f"Sample {sample}")
        assert image.evaluate("image => image.complete && image.naturalWidth > 0")
        assert page.locator(".ll-guess").count() == 3
        assert page.get_by_text("%").count() >= 3
        page.screenshot(path=artefacts / "page-task.png")
        for _ in range(3):
            answer_by_key(page)
        assert client.progress(live_dataset.name).answered_by_me == before + 3
    assert "token" not in page.url
    page.screenshot(path=artefacts / "page-after-three.png")


def test_login_of_airflow_survives_a_reload(live_stack: Any, live_dataset: Any, browser: Any, artefacts: Path) -> None:
    name, password = live_stack.users["annotator"]
    page = open_page(browser, width=820, scheme="dark")
    page.goto(f"{live_stack.url}/annotate/")
    page.get_by_role("link", name="Log in through Airflow instead").click()
    page.locator("input#username").fill(name)
    page.locator("input#password").fill(password)
    page.locator("input[type=submit]").click()
    page.wait_for_url("**/annotate/**")
    page.goto(f"{live_stack.url}/annotate/?dataset={live_dataset.name}")
    sample = ready(page)
    page.reload()
    assert ready(page) == sample  # the task in hand is still in hand
    answer_by_key(page)
    page.screenshot(path=artefacts / "page-dark-820.png")


def test_log_out_leads_back_to_the_form(live_stack: Any, live_dataset: Any, browser: Any) -> None:
    page = open_page(browser)
    log_in_by_form(page, live_stack, live_stack.users["annotator"], live_dataset.name)
    ready(page)
    page.get_by_role("button", name="Log out").click()
    page.get_by_text("You are logged out.").wait_for()
    assert page.get_by_label("User name").is_visible()


def test_a_role_that_may_not_annotate_is_told_so(live_stack: Any, live_dataset: Any, browser: Any) -> None:
    page = open_page(browser)
    log_in_by_form(page, live_stack, live_stack.users["scientist"], live_dataset.name)
    page.get_by_text("Annotating is not part of your role").wait_for()
    assert page.locator(".st-key-skips").count() == 0
