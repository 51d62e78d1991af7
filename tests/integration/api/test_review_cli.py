"""A reviewer at the command line, over the real API on a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from fastapi import FastAPI, Request
from sqlalchemy.orm import Session
from stored_sample import SAMPLE
from test_client import serving
from typer.testing import CliRunner, Result

from learnloop import settings
from learnloop.cli import app as cli
from learnloop.client import API, LearnloopClient
from learnloop.database import AnnotationTask, Batch, Dataset
from learnloop.errors import Conflict, NotAuthenticated
from learnloop.permissions import Principal
from learnloop_airflow.api import auth

ROLES = {"ann": "annotator", "bob": "annotator", "rita": "reviewer"}
PREDICTION = {"label": "cat", "confidence": 0.6, "uncertainty": 0.8, "model_version": 1}


@pytest.fixture
def url(app, db: Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    def who(request: Request) -> Principal:
        name = request.headers.get("authorization", "").removeprefix("Bearer ")
        if name not in ROLES:
            raise NotAuthenticated("Not authenticated")
        return Principal(name, frozenset({ROLES[name]}))

    app.dependency_overrides[auth.principal] = who
    loop = {"classes": ["cat", "dog"], "policy": {"labels": 10}, "quality": {"overlap": 2, "most_opinions": 2}}
    dataset = Dataset(name="pets", task_type="image_classification", loop=loop, owner="ada")
    db.add(dataset)
    db.flush()
    batch = Batch(dataset_id=dataset.id, name="b", tree="0" * 32 + ".dir", samples=3, owner="ada")
    db.add(batch)
    db.flush()
    for n in range(3):
        task = AnnotationTask(dataset_id=dataset.id, batch_id=batch.id, sample_id=f"s{n}", path="x.png", owner="ada")
        task.object, task.reason = SAMPLE, {"strategy": "random"}
        task.prediction = {**PREDICTION, "probabilities": {"cat": 0.6, "dog": 0.4}}
        db.add(task)
    db.commit()
    host = FastAPI()
    host.mount(API, app)
    with serving(host) as address:
        monkeypatch.setenv("LEARNLOOP_API_URL", address)
        settings.settings.cache_clear()
        yield address


@pytest.fixture
def run(url: str) -> Callable[..., Result]:
    def command(person: str, *words: str, code: int = 0) -> Result:
        done = CliRunner().invoke(cli, list(words), env={"LEARNLOOP_TOKEN": person, "COLUMNS": "200"})
        assert done.exit_code == code, (words, done.output, done.exception)
        return done

    return command


@pytest.fixture
def differing(url: str) -> None:
    for who, label in (("ann", "cat"), ("bob", "dog")):
        with LearnloopClient(url, who) as client:
            client.submit(client.claim("pets").id, label, seconds=2.0, comment=f"{who} looked")


def test_a_disagreement_is_decided(run, differing) -> None:
    assert "people differ" in " ".join(run("rita", "review", "list", "pets").output.split())
    (found,) = json.loads(run("rita", "review", "list", "pets", "--json").output)
    assert found["reason"] == "2 people differ: 1 × cat, 1 × dog"
    shown = run("rita", "review", "show", str(found["id"])).output
    for said in ("ann looked", "bob looked", "the model says cat (0.60)"):
        assert said in shown
    run("rita", "review", "confirm", str(found["id"]), "bird", code=1)
    assert "s0 was confirmed as dog by rita" in run("rita", "review", "confirm", str(found["id"]), "dog").output
    assert "confirm dog" in run("rita", "review", "list", "pets", "--state", "decided").output
    again = json.loads(run("rita", "review", "request", "pets", "s0", "-m", "hm", "--json").output)
    refused = run("rita", "review", "reject", str(again["id"]), "-m", "ugly", code=1)
    assert "s0 is in the confirmed pool as dog" in refused.output


def test_sent_back_and_rejected(run, differing, url) -> None:
    (found,) = json.loads(run("rita", "review", "list", "pets", "--json").output)
    assert "say why" in run("rita", "review", "send-back", str(found["id"]), code=1).output
    sent = run("rita", "review", "send-back", str(found["id"]), "-m", "ears").output
    assert "s0 was sent back by rita: ears" in sent
    with LearnloopClient(url, "rita") as rita:
        task = rita.claim("pets")
        assert (task.sample_id, task.chosen_by["sent_back"]) == ("s0", "rita: ears")
    told = run("ann", "task", "answers", "pets").output
    assert "rita: ears" in told
    assert "rejected" in told
    assert json.loads(run("ann", "task", "answers", "pets", "--outcome", "confirmed", "--json").output) == []
    refused = run("ann", "task", "answers", "pets", "--outcome", "lost", code=1).output
    assert "outcome: Input should be" in refused
    with LearnloopClient(url, "bob") as bob:
        (mine,) = bob.my_answers("pets", outcome="rejected", limit=1)
        assert (mine["label"], mine["comment"], mine["instead"]) == ("dog", "bob looked", None)


def test_quality_of_oneself_and_of_everybody(run, differing) -> None:
    mine = run("ann", "quality", "pets").output
    assert "ann" in mine
    assert "bob" not in mine
    (day,) = [line for line in mine.splitlines() if line.strip().startswith(datetime.now(UTC).date().isoformat())]
    assert day.split()[1:] == ["ann", "1", "0"]
    assert "it needs a role" in run("ann", "quality", "pets", "--all", code=1).output
    everybody = run("rita", "quality", "pets", "--all").output
    assert "bob" in everybody
    assert "Krippendorff's alpha" in everybody
    assert "2 answers, 0 confirmed labels: 0 new in review" in run("rita", "review", "check", "pets").output


def test_the_client_takes_an_answer_back(url) -> None:
    with LearnloopClient(url, "ann") as ann, LearnloopClient(url, "bob") as bob:
        task = ann.claim("pets")
        ann.submit(task.id, "cat")
        assert ann.undo("pets").id == task.id
        ann.submit(task.id, "dog")
        assert bob.claim("pets").id == task.id
        assert ann.undo("pets", key="once") is None  # bob is at it
        assert ann.undo("pets", key="once") is None
        bob.submit(task.id, "dog")
        with LearnloopClient(url, "rita") as rita:
            rita.submit(rita.claim("pets").id, "dog")
        with pytest.raises(Conflict, match="it was confirmed"):
            bob.undo("pets")
