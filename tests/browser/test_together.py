"""Two people at once on one dataset, and the API server killed while an answer is on its way: no task twice, none lost."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
from test_page import artefacts, browser, log_in_by_form, open_page, pytestmark, ready  # noqa: F401

from learnloop.client import LearnloopClient

EACH = 4


def test_two_people_at_once_never_see_the_same_task(live_stack: Any, live_dataset: Any, browser: Any) -> None:  # noqa: F811
    people = ("annotator", "admin")
    pages, seen = {}, {name: [] for name in people}
    for name in people:
        pages[name] = open_page(browser)
        log_in_by_form(pages[name], live_stack, live_stack.users[name], live_dataset.name)
    clients = {name: LearnloopClient.login(live_stack.url, *live_stack.users[name]) for name in people}
    before = {name: client.progress(live_dataset.name).answered_by_me for name, client in clients.items()}
    for page in pages.values():
        ready(page)
    for _ in range(EACH):
        for name, page in pages.items():  # both press before either looks what came of it
            seen[name].append(ready(page))
            page.keyboard.press("5")
        for name, page in pages.items():
            page.get_by_role("status").filter(has_text=f"5 received for {seen[name][-1]}").wait_for()
    in_hand = [ready(page) for page in pages.values()]
    every = [*seen["annotator"], *seen["admin"], *in_hand]
    assert len(set(every)) == len(every)
    for name, client in clients.items():
        assert client.progress(live_dataset.name).answered_by_me == before[name] + EACH
        client.close()


def test_an_api_server_killed_in_mid_submit_loses_no_answer_and_counts_it_once(
    live_stack: Any,
    live_dataset: Any,
    browser: Any,  # noqa: F811
    artefacts: Path,  # noqa: F811
) -> None:
    user = live_stack.users["annotator"]
    page = open_page(browser)
    log_in_by_form(page, live_stack, user, live_dataset.name)
    sample = ready(page)
    page.locator(".ll-progress").wait_for()
    with LearnloopClient.login(live_stack.url, *user) as client:
        before = client.progress(live_dataset.name).answered_by_me
        task = client.claim(live_dataset.name)
        assert task is not None
        assert task.sample_id == sample
        server = api_server(live_stack)
        os.kill(server, signal.SIGSTOP)  # it takes the answer's connection, and answers nothing
        try:
            page.keyboard.press("6")
            page.get_by_role("status").filter(has_text=f"Sending: 6 for {sample}").wait_for()
            page.screenshot(path=artefacts / "killed-1-sending.png")
        finally:
            os.kill(server, signal.SIGKILL)
        page.get_by_text(f"Not sent yet: 6 for {sample}").wait_for()
        page.get_by_text("The page sends it again by itself.").wait_for()
        page.screenshot(path=artefacts / "killed-2-kept.png")
        wait_for_another(live_stack, server)
        page.get_by_role("status").filter(has_text=f"6 received for {sample}").wait_for(timeout=60_000)
        page.get_by_text("Not sent yet").wait_for(state="detached")
        page.screenshot(path=artefacts / "killed-3-received.png")
        assert client.progress(live_dataset.name).answered_by_me == before + 1
        assert ready(page) != sample


def api_server(stack: Any) -> int:
    return int(json.loads((stack.home / "status.json").read_text())["components"]["api-server"]["pid"])


def wait_for_another(stack: Any, killed: int) -> None:
    """Until the supervisor has started the API server anew, and it answers."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if api_server(stack) != killed and answers(stack.url):
            return
        time.sleep(0.2)
    raise AssertionError("the API server did not come back")


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v2/version", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
