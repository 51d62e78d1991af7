"""Our views in Airflow's own frame, in a real browser, against the whole running stack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_page import artefacts, browser, open_page, pytestmark, ready  # noqa: F401

from learnloop.client import LearnloopClient

VIEWS = ("loop", "datasets", "models", "annotate")
SECOND_VERSION = """
import sys
from learnloop.models import registry
from learnloop.settings import load, settings
name = sys.argv[1]
registry.register(name, registry.source_of(name, 1), models_root=settings().models, tags={}, metrics={"accuracy": 0.9},
                  idempotency_key="second")
"""


def log_in(page: Any, stack: Any, user: str, path: str = "/") -> None:
    """By Airflow's form, to which ``path`` leads who is not logged in; ends at ``path``."""
    name, password = stack.users[user]
    page.goto(stack.url + path)
    page.locator("input#username").fill(name)
    page.locator("input#password").fill(password)
    page.locator("input[type=submit]").click()
    page.wait_for_url(stack.url + path)


def framed(page: Any, name: str) -> Any:
    return page.frame_locator(f'iframe[title="{name}"]')


def in_colours(page: Any, theme: str) -> None:
    """As Airflow's own menu does it."""
    page.evaluate("theme => localStorage.setItem('theme', theme)", theme)


def test_the_views_are_in_airflows_navigation(
    live_stack: Any,
    live_dataset: Any,
    browser: Any,  # noqa: F811
) -> None:
    page = open_page(browser)
    log_in(page, live_stack, "scientist")
    page.get_by_role("link", name="Loop", exact=True).click()
    loop = framed(page, "Loop")
    loop.get_by_role("link", name=live_dataset.name, exact=True).click()
    loop.get_by_role("heading", name="The seven steps").wait_for()
    assert live_dataset.name in page.url  # Airflow's address leads back to it
    loop.get_by_role("listitem").filter(has_text="Score new data").get_by_role("link", name="Its run").click()
    page.wait_for_url("**/dags/score_incoming_data/runs/**")  # out of the frame
    page.locator("a[href*='/runs/'][href*='/plugin/learnloop-']", has_text="Loop").click()  # not the navigation's
    run = framed(page, "Loop")
    run.get_by_role("heading", name="Score new data this run").wait_for()
    page.get_by_text("Plugins", exact=True).click()
    page.get_by_role("menuitem", name="Annotate").click()
    ready_for = framed(page, "Annotate").get_by_text("Annotating is not part of your role")
    ready_for.wait_for()


@pytest.mark.parametrize(("theme", "width"), [("dark", 1280), ("light", 820), ("light", 1280)])
def test_every_view_is_readable_in_airflows_colours(
    live_stack: Any,
    live_dataset: Any,
    browser: Any,  # noqa: F811
    artefacts: Path,  # noqa: F811
    theme: str,
    width: int,
) -> None:
    page = open_page(browser, width, "dark" if theme == "light" else "light")  # Airflow's choice, not the browser's
    complaints: list[str] = []
    page.on("console", lambda told: complaints.append(told.text) if "Content Security Policy" in told.text else None)
    log_in(page, live_stack, "admin")
    in_colours(page, theme)
    addresses = {
        "loop": ("Loop", "loop"),
        "dataset-loop": ("Loop", f"loop?dataset={live_dataset.name}"),
        "datasets": ("Datasets", f"datasets?dataset={live_dataset.name}"),
        "models": ("Models", f"models?model={live_dataset.name}"),
    }
    for view, (name, address) in addresses.items():
        page.goto(f"{live_stack.url}/plugin/learnloop-{name.lower()}/learnloop/views/{address}")
        shown = framed(page, name)
        shown.get_by_role("heading", level=1).wait_for()
        root = shown.locator("html")
        assert root.get_attribute("data-theme") == theme
        assert root.evaluate("page => page.scrollWidth <= page.clientWidth"), f"{view} is too wide"
        page.screenshot(path=artefacts / f"view-{view}-{theme}-{width}.png")
    page.goto(f"{live_stack.url}/plugin/learnloop-annotate")
    annotating = framed(page, "Annotate")
    annotating.locator(".st-key-skips button").last.wait_for()
    dark = annotating.locator(".stApp").evaluate("app => getComputedStyle(app).backgroundColor") == "rgb(20, 22, 29)"
    assert dark == (theme == "dark")
    page.screenshot(path=artefacts / f"view-annotate-{theme}-{width}.png")
    assert not complaints


def test_a_version_is_promoted_and_taken_back(
    live_stack: Any,
    live_dataset: Any,
    browser: Any,  # noqa: F811
    artefacts: Path,  # noqa: F811
) -> None:
    made = [sys.executable, "-c", SECOND_VERSION, live_dataset.name]
    subprocess.run(made, env={**os.environ, **live_stack.environment}, check=True)
    page = open_page(browser)
    log_in(page, live_stack, "admin")
    page.goto(f"{live_stack.url}/plugin/learnloop-models/learnloop/views/models?model={live_dataset.name}")
    shown = framed(page, "Models")

    def promote(version: int) -> None:
        shown.get_by_role("row").filter(has=shown.get_by_role("button", name="Promote")).filter(
            has=shown.locator(f'input[value="{version}"]')
        ).get_by_role("button", name="Promote").click()
        dialog = shown.get_by_role("dialog")
        dialog.get_by_role("heading", name=f"Promote version {version} of {live_dataset.name}").wait_for()
        dialog.get_by_label("Why").fill("it is tried")
        if version == 2:
            page.screenshot(path=artefacts / "view-promote.png")
        dialog.get_by_role("button", name="Promote").click()
        shown.get_by_text(f"{live_dataset.name}:realtime is version {version}").wait_for()

    promote(1)
    promote(2)
    shown.get_by_role("listitem").filter(has_text=":realtime").get_by_role("button", name="Roll back").click()
    dialog = shown.get_by_role("dialog")
    dialog.get_by_role("button", name="Cancel").click()
    shown.get_by_text(f"{live_dataset.name}:realtime is version 2").wait_for()
    shown.get_by_role("listitem").filter(has_text=":realtime").get_by_role("button", name="Roll back").click()
    dialog.get_by_role("button", name="Roll back").click()
    shown.get_by_text(f"{live_dataset.name}:realtime is version 1").wait_for()
    shown.get_by_text("rollback").first.wait_for()
    with LearnloopClient.login(live_stack.url, *live_stack.users["scientist"]) as client:
        served = {
            row["alias"]: row["model_version"] for row in client.deployments() if row["model_name"] == live_dataset.name
        }
    assert (served["realtime"], served["current"]) == (1, 1)


def test_who_is_not_logged_in_is_led_to_the_login_and_back(
    live_stack: Any,
    live_dataset: Any,
    browser: Any,  # noqa: F811
    artefacts: Path,  # noqa: F811
) -> None:
    page = open_page(browser)
    address = f"/learnloop/views/loop?dataset={live_dataset.name}"
    assert page.goto(live_stack.url + address).status == 401
    page.get_by_role("heading", name="Log in to see this").wait_for()
    page.screenshot(path=artefacts / "view-not-logged-in.png")
    page.get_by_role("link", name="Log in").click()
    name, password = live_stack.users["annotator"]
    page.locator("input#username").fill(name)
    page.locator("input#password").fill(password)
    page.locator("input[type=submit]").click()
    page.wait_for_url(live_stack.url + address)
    page.get_by_role("heading", name="The seven steps").wait_for()
