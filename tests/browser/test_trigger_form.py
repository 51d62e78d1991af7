"""Airflow's trigger form of our DAGs in a real browser: only what is needed is asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_page import CHROMIUM, artefacts, browser, open_page  # noqa: F401 - fixtures

from learnloop.client import LearnloopClient

pytestmark = [
    pytest.mark.browser,
    pytest.mark.live,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found; Debian: apt-get install chromium"),
]

NEEDED = {
    "workspace_training": {"dataset": "no-such"},
    "dataset_merge": {"dataset": "no-such", "version": "no-such_v1.0"},
    "base_model_training": {"path": "/nowhere"},
    "score_incoming_data": {"dataset": "no-such"},
    "incremental_training": {"dataset": "no-such"},
    "structure_optimization": {"dataset": "no-such"},
    "pipeline_incremental_training": {
        "dataset_version": "no-such_v1.0",
        "base_pipeline": "no-such",
        "annotations_path": "/nowhere",
    },
}


@pytest.fixture
def airflow_page(live_stack, browser) -> Any:  # noqa: F811
    """A page on which the scientist is logged in to Airflow."""
    page = open_page(browser)
    name, password = live_stack.users["scientist"]
    page.goto(f"{live_stack.url}/auth/login/")
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", password)
    page.click("input[type=submit], button[type=submit]")
    page.wait_for_url(lambda url: "/auth/login" not in url)
    return page


@pytest.mark.parametrize("dag", NEEDED)
def test_with_only_what_is_needed_filled_in_a_run_starts(live_stack, airflow_page, artefacts: Path, dag: str) -> None:  # noqa: F811
    page = airflow_page
    page.goto(f"{live_stack.url}/dags/{dag}")
    page.get_by_role("button", name=re.compile("Trigger")).first.click()
    form = page.get_by_role("dialog")
    trigger = form.get_by_test_id("trigger-dag-submit")
    for field, value in NEEDED[dag].items():
        form.locator(f"input[name=element_{field}]").fill(value)
    page.keyboard.press("Tab")  # the form looks at a field when it is left
    page.screenshot(path=artefacts / f"trigger-{dag}.png")
    with page.expect_response(lambda answer: answer.url.endswith(f"/dags/{dag}/dagRuns")) as started:
        trigger.click()
    assert started.value.ok, started.value.text()
    run = started.value.json()
    assert run["conf"].items() >= NEEDED[dag].items()
    with LearnloopClient.login(live_stack.url, *live_stack.users["scientist"]) as scientist:
        token = scientist.token
    shown = httpx.get(
        f"{live_stack.url}/api/v2/dags/{dag}/dagRuns/{run['dag_run_id']}", headers={"Authorization": f"Bearer {token}"}
    )
    assert shown.status_code == 200
