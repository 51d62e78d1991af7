"""A conflict of a merge, decided by a person in the running Airflow: form, guard, resumption, merged version."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest
from dataset_folders import write_dataset
from merges import changed, labels_of
from test_live import wait_for

from learnloop.database.engine import engine, session
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.datasets.versions import get_version, head_of
from learnloop.settings import load
from learnloop.stack.places import Places, read_json

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

DAG = "/dags/dataset_merge"


@pytest.fixture
def conflict(live_stack, tmp_path, request) -> Iterator[tuple[str, str, Store]]:
    """Database URL, the name of a version that cannot be merged without asking, and the store."""
    settings = load({"LEARNLOOP_HOME": str(live_stack.home)})
    store = Store(settings.store)
    dataset = request.node.name.replace("_", "-")[:60]
    folder = write_dataset(tmp_path / "lamps", samples=4, name=dataset)
    made = {"annotator": "scientist", "annotated_at": datetime(2026, 5, 1, tzinfo=UTC)}
    with session(settings.database_url) as db:
        snapshot(db, store, folder, owner="scientist")
    with session(settings.database_url) as db:
        base = get_version(db, f"{dataset}_v1.0")
        theirs = changed(
            db, store, base, user="scientist", records={"s000": {"label": "bright", **made}, "s001": {"label": "dark"}}
        )
        name = theirs.name
    with session(settings.database_url) as db:
        changed(db, store, get_version(db, f"{dataset}_v1.0"), records={"s000": {"label": None}})
    yield settings.database_url, name, store
    engine(settings.database_url).dispose()


def token(stack, role: str) -> str:
    """With more patience than a person: the first one is slow on a busy machine."""
    name, password = stack.users[role]
    asked = httpx.post(f"{stack.url}/auth/token", json={"username": name, "password": password}, timeout=120)
    assert asked.status_code == 201, asked.text
    return asked.json()["access_token"]


@pytest.fixture
def people(live_stack) -> dict[str, httpx.Client]:
    """Airflow's API as each role, with the DAG there and not paused."""
    clients = {
        role: httpx.Client(
            base_url=f"{live_stack.url}/api/v2",
            headers={"Authorization": f"Bearer {token(live_stack, role)}"},
            timeout=60,
        )
        for role in ("admin", "scientist", "annotator")
    }
    wait_for(lambda: clients["scientist"].get(DAG).status_code == 200, 120)
    clients["admin"].patch(DAG, json={"is_paused": False})
    return clients


def asking(theirs: str) -> dict[str, str]:
    """The form of a run that merges ``theirs`` and lets a person decide."""
    return {"dataset": theirs.split("_")[0], "version": theirs, "strategy": "ask", "message": "decided in Airflow"}


def ended(person: httpx.Client, run: str) -> dict[str, str]:
    """The states of a run's tasks, once it has ended."""
    wait_for(lambda: person.get(run).json()["state"] in ("success", "failed"), 240)
    return {task["task_id"]: task["state"] for task in person.get(f"{run}/taskInstances").json()["task_instances"]}


ALL_WELL = {"open_merge": "success", "decide": "success", "merge": "success"}
ANSWER = {"chosen_options": ["theirs"], "params_input": {}}


def test_a_person_decides_in_airflow(live_stack, people, conflict) -> None:
    url, theirs, store = conflict
    sue = people["scientist"]
    conf = asking(theirs)
    wrong = sue.post(f"{DAG}/dagRuns", json={"logical_date": None, "conf": {**conf, "strategy": "toss a coin"}})
    assert wrong.status_code == 400, wrong.text
    # Who has no right to merge starts nothing, whatever Airflow would say.
    refused = people["annotator"].post(f"{DAG}/dagRuns", json={"logical_date": None, "conf": conf})
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:learnloop:problem:permission-denied")
    started = sue.post(f"{DAG}/dagRuns", json={"logical_date": None, "conf": conf})
    assert started.status_code == 200, started.text
    run = f"{DAG}/dagRuns/{started.json()['dag_run_id']}"

    wait_for(lambda: sue.get(f"{run}/taskInstances/decide").json()["state"] == "awaiting_input", 240)
    form = f"{run}/taskInstances/decide/-1/hitlDetails"
    asked = sue.get(form).json()
    assert asked["subject"] == f"1 conflicts: merge of {theirs}"
    assert "/learnloop/api/v1/merges/" in asked["body"]
    loop = sue.get(f"{live_stack.url}/learnloop/views/loop", params={"dataset": conf["dataset"]})
    assert f"{asked['subject']} <a href=" in loop.text  # the view says that a person is waited for
    assert quote(started.json()["dag_run_id"], safe="") in loop.text
    refused = people["annotator"].patch(form, json=ANSWER)
    assert refused.status_code == 403
    assert "annotator may not dataset:merge" in refused.json()["detail"]
    assert sue.get(f"{run}/taskInstances/decide").json()["state"] == "awaiting_input"
    answered = sue.patch(form, json=ANSWER)
    assert answered.status_code == 200, answered.text

    assert ended(sue, run) == ALL_WELL
    with session(url) as db:
        version = head_of(db, get_version(db, theirs).dataset)
        assert (version.parents[1].name, version.message) == (theirs, "decided in Airflow")
        labels = labels_of(store, version)
        assert (labels["s000"], labels["s001"]) == ("bright", "dark")


def test_an_answer_before_the_scheduler_knows_of_the_wait(live_stack, people, conflict) -> None:
    """It is busy or restarted between the question and the answer: the answer counts, and nobody is asked again."""
    _, theirs, _ = conflict
    sue = people["scientist"]
    scheduler = read_json(Places(live_stack.home).status_file)["components"]["scheduler"]["pid"]
    started = sue.post(f"{DAG}/dagRuns", json={"logical_date": None, "conf": asking(theirs)})
    assert started.status_code == 200, started.text
    run = f"{DAG}/dagRuns/{started.json()['dag_run_id']}"
    decide = f"{run}/taskInstances/decide"

    wait_for(lambda: sue.get(decide).json()["state"] in ("running", "awaiting_input"), 240)
    os.kill(scheduler, signal.SIGSTOP)
    try:
        wait_for(lambda: sue.get(decide).json()["state"] == "awaiting_input", 120)
        answered = sue.patch(f"{decide}/-1/hitlDetails", json=ANSWER)
        assert answered.status_code == 200, answered.text
    finally:
        os.kill(scheduler, signal.SIGCONT)
    assert ended(sue, run) == ALL_WELL
