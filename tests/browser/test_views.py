"""Every view of the page, light and dark, wide and on a tablet, in both languages; and what it remembers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_page import ENGLISH, artefacts, browser, log_in_by_form, open_page, pytestmark, ready, settled  # noqa: F401

from annotation_app.texts import catalogue
from learnloop.client import LearnloopClient

# Each view, and what is on it once it is drawn.
VIEWS = {
    "annotate": ".ll-progress",
    "queue": '[class*="st-key-queued_"]',
    "review": ".ll-opinion",
    "progress": ".ll-table",
    "projects": ".ll-classes",
}
GUIDE = """# Digits

A **7** may have a bar.

<img src=x onerror="window.attacked = 1"><script>window.attacked = 1</script>

[inside](javascript:window.attacked=1) ![outside](http://127.0.0.1:9/outside.png)
"""


@pytest.fixture
def guide(live_stack: Any, live_dataset: Any) -> str:
    styles = {name: {"color": "#aa3377"} for name in live_dataset.classes[:3]}
    with LearnloopClient.login(live_stack.url, *live_stack.users["scientist"]) as scientist:
        scientist.write_guide(live_dataset.name, instructions=GUIDE, classes=styles)
    return GUIDE


@pytest.fixture(scope="module")
def disagreement(live_stack: Any, birds: str) -> str:
    """A dataset with a sample that waits for a reviewer: two people differ about it."""
    for who, label in (("annotator", "common tern"), ("admin", "arctic gull")):
        with LearnloopClient.login(live_stack.url, *live_stack.users[who]) as client:
            for _ in range(4):
                client.submit(client.claim(birds).id, label, comment=f"{who} looked twice")
    with LearnloopClient.login(live_stack.url, *live_stack.users["admin"]) as reviewer:
        assert reviewer.reviews(birds)
    return birds


def choose(page: Any, dataset: str) -> None:
    """By the field on top."""
    field = page.locator(".st-key-dataset input")
    field.fill(dataset)
    page.get_by_role("option", name=dataset, exact=True).click()
    settled(page)


@pytest.mark.parametrize(
    ("language", "scheme", "width"),
    [("en", "light", 1280), ("en", "dark", 820), ("zh_CN", "light", 820), ("zh_CN", "dark", 1280)],
)
def test_every_view_is_there(
    live_stack: Any,
    live_dataset: Any,
    guide: str,
    disagreement: str,
    browser: Any,  # noqa: F811
    artefacts: Path,  # noqa: F811
    language: str,
    scheme: str,
    width: int,
) -> None:
    said = catalogue(language).gettext
    page = open_page(browser, width, scheme, language.replace("_", "-"))
    page.goto(f"{live_stack.url}/annotate/?dataset={live_dataset.name}")
    page.get_by_label(said("login.user")).wait_for()
    page.screenshot(path=artefacts / f"login-{language}-{scheme}-{width}.png")
    log_in_by_form(page, live_stack, live_stack.users["admin"], live_dataset.name, said)
    for view, shown in VIEWS.items():
        page.get_by_role("radio", name=said(f"view.{view}"), exact=True).click()
        if view in ("review", "progress"):
            choose(page, disagreement if view == "review" else live_dataset.name)
        page.locator(shown).first.wait_for()
        page.locator('[data-testid="stSkeleton"]').first.wait_for(state="detached")
        settled(page)
        if view == "progress":
            page.locator('[data-testid="stVegaLiteChart"] canvas, [data-testid="stVegaLiteChart"] svg').first.wait_for()
        page.screenshot(path=artefacts / f"{view}-{language}-{scheme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{view} is too wide"
        assert page.evaluate("[...document.images].every(image => image.alt)"), f"{view} has a picture without words"
        assert page.locator('[data-testid="stException"]').count() == 0
    assert page.evaluate("document.documentElement.lang") == language.replace("_", "-")


def test_instructions_stand_beside_the_task_and_nothing_in_them_runs(
    live_stack: Any,
    live_dataset: Any,
    guide: str,
    browser: Any,  # noqa: F811
) -> None:
    page = open_page(browser)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    log_in_by_form(page, live_stack, live_stack.users["annotator"], live_dataset.name)
    ready(page)
    instructions = page.locator(".st-key-instructions")
    instructions.get_by_role("heading", name="Digits").wait_for()
    assert instructions.locator("strong").inner_text() == "7"
    assert "<script>" in instructions.inner_text()  # shown as it was written
    assert instructions.locator("img, script").count() == 0
    assert not [
        link for link in instructions.locator("a").all() if (link.get_attribute("href") or "").startswith("java")
    ]
    for link in instructions.get_by_text("inside").all():
        link.click()
    assert page.evaluate("window.attacked") is None
    assert not [url for url in asked if "127.0.0.1:9/" in url]


def test_the_chosen_language_is_remembered_and_errors_are_said_in_it(
    live_stack: Any,
    live_dataset: Any,
    browser: Any,  # noqa: F811
) -> None:
    page = open_page(browser)
    page.goto(f"{live_stack.url}/annotate/?dataset={live_dataset.name}")
    page.get_by_role("radio", name="中文").click()
    page.get_by_role("heading", name="登录后开始标注").wait_for()
    page.reload()
    page.get_by_role("heading", name="登录后开始标注").wait_for()
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    said = catalogue("zh_CN").gettext
    name, password = live_stack.users["annotator"]
    log_in_by_form(page, live_stack, (name, "guess"), live_dataset.name, said)
    page.get_by_text("用户名或密码不正确。").wait_for()
    log_in_by_form(page, live_stack, (name, password), live_dataset.name, said)
    sample = ready(page)
    page.keyboard.press("4")
    page.get_by_role("status").filter(has_text=f"已收到：{sample} 标为 4").wait_for()
    settled(page)
    page.get_by_role("radio", name="English").click()
    page.get_by_role("status").filter(has_text=f"4 received for {sample}").wait_for()


def test_two_clicks_on_save_are_one_save(live_stack: Any, live_dataset: Any, browser: Any) -> None:  # noqa: F811
    said = ENGLISH
    page = open_page(browser)
    log_in_by_form(page, live_stack, live_stack.users["scientist"], live_dataset.name)
    page.get_by_role("radio", name=said("view.projects"), exact=True).click()
    page.get_by_text(said("guide.edit"), exact=True).click()
    for words in ("Look twice.", "Look three times.", "Look again.", "Ask.", "Ask again."):
        page.get_by_label(said("guide.heading"), exact=True).fill(words)
        page.get_by_role("button", name=said("guide.save"), exact=True).dblclick()
        page.locator(".st-key-guide_shown").get_by_text(words, exact=True).wait_for()
        settled(page)
        assert page.get_by_role("button", name=said("guide.save_over")).count() == 0
