"""Undo by key and the review view in a real browser, against the whole running stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from test_page import PATIENCE_MS, artefacts, browser, log_in_by_form, open_page, pytestmark, ready, settled  # noqa: F401

from learnloop.client import LearnloopClient

DATASET = "digits-reviewed"


@pytest.fixture(scope="module")
def disagreements(live_stack: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A dataset whose samples two people answer; they differ on four. The samples' true labels."""
    from learnloop.stack.demo import digits
    from learnloop.stack.demo.airflow import AirflowClient

    data = digits.write(tmp_path_factory.mktemp("reviewed") / "digits", DATASET, budget=8)
    path = data.dataset / "dataset.yaml"
    config = yaml.safe_load(path.read_text())
    config["loop"]["quality"] = {"overlap": 2, "most_opinions": 2, "gold_every": 1000}
    path.write_text(yaml.safe_dump(config))
    with LearnloopClient.login(live_stack.url, *live_stack.users["scientist"]) as scientist:
        airflow = AirflowClient(live_stack.url, scientist.token or "")
        for dag in ("base_model_training", "score_incoming_data"):
            airflow.wait_for_dag(dag)
        airflow.run("base_model_training", {"path": str(data.dataset), "message": "for tests"})
        airflow.run("score_incoming_data", {"dataset": DATASET, "path": str(data.pool), "batch": "pool"})
    for who, add in (("annotator", 0), ("admin", 1)):
        with LearnloopClient.login(live_stack.url, *live_stack.users[who]) as client:
            for _ in range(4):
                task = client.claim(DATASET)
                label = str((int(data.truth[task.sample_id]) + add) % 10)
                client.submit(task.id, label, seconds=2.0, comment=f"{who} looked twice")
    return data.truth


def test_backspace_takes_the_last_answer_back(live_stack: Any, disagreements: Any, browser: Any) -> None:  # noqa: F811
    page = open_page(browser)
    log_in_by_form(page, live_stack, live_stack.users["annotator"], DATASET)
    sample = ready(page)
    page.keyboard.press("3")
    page.get_by_role("status").filter(has_text=f"3 received for {sample}").wait_for()
    settled(page)
    page.keyboard.press("Backspace")
    page.locator(".ll-sample figcaption").filter(has_text=sample).wait_for()
    assert ready(page) == sample
    with LearnloopClient.login(live_stack.url, *live_stack.users["annotator"]) as client:
        mine = client.my_quality(DATASET)
    assert (mine["answers"], mine["withdrawn"]) == (4, 1)


def test_a_reviewer_decides_by_keyboard(
    live_stack: Any,
    disagreements: dict[str, str],
    browser: Any,  # noqa: F811
    artefacts: Path,  # noqa: F811
) -> None:
    page = open_page(browser)
    log_in_by_form(page, live_stack, live_stack.users["admin"], DATASET)
    page.get_by_role("radio", name="Review").click()
    page.get_by_role("heading", name="People differ").wait_for()
    page.locator(".st-key-skips").wait_for(state="detached")  # what the other view showed is gone
    sample = str(page.locator(".ll-sample figcaption").inner_text()).split(" · ")[0]
    assert page.locator(".ll-opinion").count() == 2
    assert page.get_by_text("annotator looked twice").count() == 1
    page.screenshot(path=artefacts / "page-review.png")
    page.evaluate("document.activeElement.blur()")
    settled(page)
    page.keyboard.press(disagreements[sample])
    page.get_by_role("status").filter(has_text=f"{sample} is confirmed as {disagreements[sample]}").wait_for()
    with LearnloopClient.login(live_stack.url, *live_stack.users["admin"]) as client:
        (decided,) = client.reviews(DATASET, state="decided")
        assert (decided["sample_id"], decided["label"]) == (sample, disagreements[sample])
        assert client.progress(DATASET).confirmed == 1
