"""A version that errs after it was put there is taken back by itself, and no request fails; canaries; the budget."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from serving_support import last_rollbacks, wait_until

from learnloop.database import Decision, Deployment, session
from learnloop.errors import LearnloopError, NotFound, Unavailable
from learnloop.models.deployment import set_canary, wait_until_served
from learnloop.serving.client import ModelClient
from learnloop.training.models import load


@pytest.fixture
def served(database_url):
    return lambda deployed: wait_until_served(partial(session, database_url), *deployed, timeout=15)


class Erring:
    """Version 2, which passes its smoke test and errs at ten rows and more, as a model may at odd input."""

    def __init__(self, model):
        self.model = model
        self.classes, self.input_size = model.classes, model.input_size

    def predict_proba(self, features):
        if len(features) >= 10:
            raise FloatingPointError("it has not seen this before")
        return self.model.predict_proba(features)


def load_erring(folder):
    model = load(folder)
    return Erring(model) if folder.name == "2" else model


def test_a_version_that_errs_is_taken_back_and_no_request_fails(
    serve, deploy_digits, served, database_url, db, rows, expected
):
    server = serve(load_erring, probation=60)
    served(deploy_digits(1))
    stop, failures, answers = threading.Event(), [], []

    def client():
        with ModelClient(server.url) as model_client:
            while not stop.is_set():
                try:
                    answers.append(model_client.infer("digits", rows))
                except LearnloopError as error:
                    failures.append(error)

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client) for _ in range(4)]
        deployed = deploy_digits(2)
        wait_until(lambda: _row(db).model_version == 1 and _row(db).generation == 3)
        wait_until(lambda: ("digits", 2) not in server.models.versions)
        stop.set()
        [done.result() for done in clients]
    assert failures == []
    assert deployed[1] == 2
    assert {answer.model_version for answer in answers} == {1}
    for answer in answers:
        np.testing.assert_allclose(answer.probabilities, expected[1], atol=1e-6)
    decision = db.query(Decision).one()
    assert (decision.kind, decision.owner) == ("rollback", "service:learnloop")
    assert "current: from 2" in decision.reason
    assert "FloatingPointError: it has not seen this before" in decision.reason
    (told,) = last_rollbacks(db)
    assert told == ({"dataset": "digits"}, pytest.approx(decision.created_at.timestamp()))
    served(deploy_digits(2))  # whoever asks for it anew gets it


def test_what_neither_version_can_answer_is_not_counted_against_the_new_one(serve, deploy_digits, served, db, rows):
    def both_err(folder):
        return Erring(load(folder))

    server = serve(both_err, probation=60)
    served(deploy_digits(1))
    served(deploy_digits(2))
    with ModelClient(server.url) as client:
        for _ in range(5):
            with pytest.raises(Unavailable, match="version 2 raised FloatingPointError"):
                client.infer("digits", rows)
        assert client.infer("digits", rows[:2]).model_version == 2
    assert server.models.versions["digits", 2].faults == 0
    assert _row(db).model_version == 2


def test_after_the_probation_the_version_before_is_gone_and_errors_are_told(serve, deploy_digits, served, rows):
    server = serve(load_erring, probation=0.2)
    served(deploy_digits(1))
    served(deploy_digits(2))
    wait_until(lambda: ("digits", 1) not in server.models.versions)
    with ModelClient(server.url) as client, pytest.raises(Unavailable, match="it has not seen this before"):
        client.infer("digits", rows)


def test_a_canary_answers_its_share_and_is_ended_when_it_errs(
    serve, deploy_digits, served, database_url, db, rows, expected
):
    server = serve(load_erring)
    served(deploy_digits(1))
    with session(database_url) as opened:
        row = set_canary(opened, model_name="digits", alias="current", version=2, percent=50, owner="ann")
    served((row.id, row.generation))
    with ModelClient(server.url) as client:
        answers = [client.infer("digits", rows[:1]) for _ in range(60)]
        assert {answer.model_version for answer in answers} == {1, 2}
        for answer in answers:
            np.testing.assert_allclose(answer.probabilities, expected[answer.model_version][:1], atol=1e-6)
        (tag,) = client.models()
        assert (tag["version"], tag["canary"], tag["canary_share"]) == (1, 2, 0.5)
        wait_until(lambda: client.infer("digits", rows).model_version == 1 and _row(db).canary_version is None)
        wait_until(lambda: ("digits", 2) not in server.models.versions)
    assert "canary of current: from 2" in db.query(Decision).one().reason
    assert (_row(db).model_version, _row(db).canary_percent) == (1, 0)


def test_a_canary_that_does_not_load_changes_nothing(serve, deploy_digits, served, database_url, db, rows):
    server = serve()
    served(deploy_digits(1))
    with session(database_url) as opened:
        row = set_canary(opened, model_name="digits", alias="current", version=8, percent=50, owner="ann")
    with ModelClient(server.url) as client:
        wait_until(lambda: server.reconciler.failure_of(("digits", 8)) is not None)
        assert {client.infer("digits", rows).model_version for _ in range(30)} == {1}
    assert row.id == _row(db).id


def test_models_share_a_budget_and_an_alias_brings_its_own_back(serve, deploy_digits, served, registry, rows, expected):
    size = sum(path.stat().st_size for path in (registry / "digits" / "1").iterdir())
    server = serve(memory_bytes=int(1.5 * size))
    served(deploy_digits(1, "base"))
    served(deploy_digits(2, "realtime"))
    assert list(server.models.versions) == [("digits", 2)]
    with ModelClient(server.url) as client:
        assert client.ready()
        assert [(one["name"], one["loaded"]) for one in client.models()] == [
            ("digits:base", False),
            ("digits:realtime", True),
        ]
        client.wait_ready("digits:base", timeout=0)
        for _ in range(3):
            for alias, version in (("base", 1), ("realtime", 2)):
                answer = client.infer(f"digits:{alias}", rows)
                np.testing.assert_allclose(answer.probabilities, expected[version], atol=1e-6)
    assert server.models.evictions >= 6


def test_many_requests_for_what_is_not_in_memory_load_it_once(serve, deploy_digits, served, rows):
    loads = []

    def counted(folder):
        loads.append(folder.name)
        return load(folder)

    server = serve(counted, keep_alive=0.3)
    served(deploy_digits(1))
    wait_until(lambda: server.models.versions == {})
    with ModelClient(server.url) as client, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: client.infer("digits", rows).model_version, range(8)))
    assert found == [1] * 8
    assert loads == ["1", "1"]


def test_what_left_memory_and_does_not_load_any_more_is_told_and_the_server_stays_up(
    serve, deploy_digits, served, rows, monkeypatch
):
    gone = threading.Event()

    def until_gone(folder):
        if gone.is_set() and folder.name == "1":
            raise NotFound(f"there is no model at {folder}")
        return load(folder)

    server = serve(until_gone, keep_alive=0.3)
    served(deploy_digits(1))
    wait_until(lambda: server.models.versions == {})
    gone.set()
    with ModelClient(server.url) as client:
        with pytest.raises(Unavailable, match="not in memory, and cannot be loaded now: there is no model"):
            client.infer("digits", rows)
        served(deploy_digits(2))
        assert client.infer("digits", rows).model_version == 2


def _row(db) -> Deployment:
    db.rollback()
    return db.query(Deployment).populate_existing().one()
