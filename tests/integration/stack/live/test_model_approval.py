"""A person decides about a model in the running Airflow: the form, who may answer, and what comes of the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from dataset_folders import write_dataset
from test_live import wait_for

from learnloop.client import LearnloopClient
from learnloop.errors import NotFound
from learnloop.serving.client import ModelClient
from learnloop.stack.demo.airflow import AirflowClient

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

DAG = "/dags/base_model_training"


@pytest.fixture
def people(live_stack) -> dict[str, httpx.Client]:
    """Airflow's API as each role, with the DAG there and not paused."""
    found = {}
    for role in ("admin", "scientist", "annotator"):
        with LearnloopClient.login(live_stack.url, *live_stack.users[role]) as person:
            token = person.token or ""
        found[role] = httpx.Client(
            base_url=f"{live_stack.url}/api/v2", headers={"Authorization": f"Bearer {token}"}, timeout=60
        )
    AirflowClient(live_stack.url, found["scientist"].headers["Authorization"].split()[1]).wait_for_dag(DAG[6:])
    return found


@pytest.fixture
def asked(people, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], tuple[str, str]]:
    """Trains a model of a dataset whose gate asks a person; returns the dataset and the run, once it asks."""

    def train() -> tuple[str, str]:
        name = request.node.name.replace("_", "-")[:60]
        gate = {"min_gain": 0.0, "approval": "person"}
        folder = write_dataset(tmp_path / "lamps", samples=40, name=name, loop={"gate": gate})
        sue = people["scientist"]
        started = sue.post(f"{DAG}/dagRuns", json={"logical_date": None, "conf": {"path": str(folder)}})
        assert started.status_code == 200, started.text
        run = f"{DAG}/dagRuns/{started.json()['dag_run_id']}"
        wait_for(lambda: sue.get(f"{run}/taskInstances/approve").json()["state"] in ("awaiting_input", "failed"), 400)
        return name, run

    return train


def answer(person: httpx.Client, run: str, option: str, reason: str) -> httpx.Response:
    return person.patch(
        f"{run}/taskInstances/approve/-1/hitlDetails",
        json={"chosen_options": [option], "params_input": {"reason": reason}},
    )


def ended(person: httpx.Client, run: str) -> dict[str, str]:
    """The states of a run's tasks, once it has ended."""
    wait_for(lambda: person.get(run).json()["state"] in ("success", "failed"), 300)
    return {task["task_id"]: task["state"] for task in person.get(f"{run}/taskInstances").json()["task_instances"]}


def test_a_person_accepts_and_it_serves(live_stack, people, asked) -> None:
    name, run = asked()
    sue = people["scientist"]
    form = sue.get(f"{run}/taskInstances/approve/-1/hitlDetails").json()
    assert form["subject"] == f"May {name} version 1 serve?"
    assert form["options"] == ["accept", "reject"]
    assert "There is no current model to compare with." in form["body"]
    assert "| accuracy |" in form["body"]
    with ModelClient(live_stack.serving_url) as server, pytest.raises(NotFound):
        server.metadata(name)  # nothing before the answer

    for role in ("annotator", "scientist"):  # nor may who trained it
        refused = answer(people[role], run, "accept", "I like it")
        assert refused.status_code == 403
        assert f"{role} may not model:deploy" in refused.json()["detail"]
    assert sue.get(f"{run}/taskInstances/approve").json()["state"] == "awaiting_input"
    accepted = answer(people["admin"], run, "accept", "good enough to begin with")
    assert accepted.status_code == 200, accepted.text

    assert set(ended(sue, run).values()) == {"success"}
    with ModelClient(live_stack.serving_url) as server:
        assert server.metadata(f"{name}:base")["versions"] == ["1"]
    with LearnloopClient.login(live_stack.url, *live_stack.users["scientist"]) as client:
        (decision,) = client.decisions(name)
        assert decision["accepted"] is True
        assert decision["reason"].startswith("accepted by admin: good enough to begin with (the thresholds would say:")
        (version,) = client.model_versions(name)
        assert (version["aliases"], version["tags"]["gate"]) == (["base", "current"], "accepted")


def test_a_person_rejects_and_nothing_serves(live_stack, people, asked) -> None:
    name, run = asked()
    sue = people["scientist"]
    assert answer(people["admin"], run, "reject", "too few samples").status_code == 200
    states = ended(sue, run)
    assert (states["approve"], states["deploy"]) == ("success", "skipped")
    with ModelClient(live_stack.serving_url) as server, pytest.raises(NotFound):
        server.metadata(f"{name}:base")
    with LearnloopClient.login(live_stack.url, *live_stack.users["scientist"]) as client:
        assert client.decisions(name)[0]["accepted"] is False
        (version,) = client.model_versions(name)
        assert (version["aliases"], version["tags"]["gate"]) == ([], "rejected")
