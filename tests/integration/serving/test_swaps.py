"""What a swap promises: no failed request, no mixed answer, no broken model, all replicas."""

from __future__ import annotations

import re
import threading
from datetime import datetime, timedelta
from functools import partial

import numpy as np
import pytest
from serving_support import BROKEN_FILE, BROKEN_WEIGHTS, wait_until

from learnloop.database import Deployment, DeploymentStatus, ServerReplica, session
from learnloop.errors import Conflict, LearnloopError, NotFound, Unavailable
from learnloop.models.deployment import lease_model, release_model, rollback, wait_until_served
from learnloop.serving import failures
from learnloop.serving.client import ModelClient
from learnloop.training.models import load


@pytest.fixture
def served(database_url):
    """Waits until a deployment's generation is served."""
    return lambda deployed: wait_until_served(partial(session, database_url), *deployed, timeout=15)


def test_twenty_swaps_under_load_fail_no_request_and_mix_no_answer(serve, deploy_digits, served, rows, expected):
    served_first = deploy_digits(1)
    server = serve()
    served(served_first)
    stop, failures, answers = threading.Event(), [], []

    def client() -> None:
        with ModelClient(server.url) as model_client:
            while not stop.is_set():
                try:
                    answers.append(model_client.infer("digits", rows))
                except LearnloopError as error:
                    failures.append(error)

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for swap in range(20):
        served(deploy_digits(2 - swap % 2))
    stop.set()
    for thread in threads:
        thread.join()

    assert failures == []
    assert {answer.model_version for answer in answers} == {1, 2}
    for answer in answers:
        np.testing.assert_allclose(answer.probabilities, expected[answer.model_version], atol=1e-6)
        assert answer.labels == [str(digit) for digit in answer.probabilities.argmax(axis=1)]
    assert server.metrics.swaps == 21
    wait_until(lambda: len(server.models.versions) == 1)  # the old one is drained and unloaded


@pytest.mark.parametrize("broken", [BROKEN_FILE, BROKEN_WEIGHTS])
def test_a_broken_model_never_takes_the_alias(serve, deploy_digits, served, database_url, db, rows, broken):
    server = serve()
    served(deploy_digits(1))
    with ModelClient(server.url) as client:
        with pytest.raises(Conflict, match=f"version {broken} was not deployed .version 1 goes on .*(smoke|damaged)"):
            served(deploy_digits(broken))
        assert client.infer("digits", rows).model_version == 1
    row = db.query(Deployment).one()
    assert (row.model_version, row.previous_version, row.generation) == (1, None, 3)
    served((row.id, 3))
    served(deploy_digits(2))  # and the way is free for the next one


def test_a_first_deployment_that_fails_is_taken_away(serve, deploy_digits, served, db, rows):
    server = serve()
    with pytest.raises(Conflict, match="nothing was served before"):
        served(deploy_digits(BROKEN_FILE))
    assert db.query(Deployment).all() == []
    with ModelClient(server.url) as client, pytest.raises(NotFound, match="served are: none"):
        client.infer("digits", rows)


def test_a_server_that_starts_with_a_broken_deployment_is_ready_and_serves_the_others(serve, deploy_digits, rows):
    deploy_digits(BROKEN_FILE, "realtime")
    deploy_digits(2, "current")
    server = serve()
    with ModelClient(server.url) as client:
        assert [model["name"] for model in client.models()] == ["digits:current"]


def test_two_replicas_both_reconcile_and_sign_off(serve, deploy_digits, served, database_url, db, rows):
    servers = [serve(), serve()]
    served(deploy_digits(1))
    served(deploy_digits(2))
    for server in servers:
        with ModelClient(server.url) as client:
            assert client.infer("digits:current", rows).model_version == 2
    assert {status.replica for status in db.query(DeploymentStatus)} == {server.replica for server in servers}
    servers[0].stop()
    wait_until(lambda: _replicas(database_url) == [servers[1].replica])
    served(deploy_digits(1))


def test_a_replica_that_reports_nothing_is_waited_for(serve, deploy_digits, database_url, db):
    serve()
    db.add(ServerReplica(name="stuck", url="http://127.0.0.1:1"))
    db.commit()
    with pytest.raises(Unavailable, match="not ready: stuck"):
        wait_until_served(partial(session, database_url), *deploy_digits(1), timeout=0.5)


def test_a_slow_load_stops_neither_answers_nor_heartbeats(serve, deploy_digits, served, db, rows):
    may_load = threading.Event()

    def slowly(folder):
        if folder.name == "2":
            assert may_load.wait(timeout=30)
        return load(folder)

    server = serve(slowly)
    served(deploy_digits(1))
    deployed = deploy_digits(2)
    try:
        wait_until(lambda: _status(db).generation == 2)
        first = _seen_at(db)
        wait_until(lambda: _seen_at(db) > first)
        assert (_status(db).state, _status(db).served_version) == ("loading", 1)
        with ModelClient(server.url) as client:
            assert client.infer("digits", rows).model_version == 1
    finally:
        may_load.set()
    served(deployed)


def test_a_failed_load_is_tried_again(serve, deploy_digits, db, monkeypatch):
    monkeypatch.setattr(failures, "RETRY_SECONDS", 0.1)
    tries = []

    def at_the_third_try(folder):
        tries.append(folder)
        if len(tries) < 3:
            raise ConnectionError("the registry is away")
        return load(folder)

    serve(at_the_third_try)
    deploy_digits(1)
    wait_until(lambda: db.query(DeploymentStatus).count() == 1)
    wait_until(lambda: _status(db).state == "failed")
    assert _status(db).message == "ConnectionError: the registry is away"
    wait_until(lambda: _status(db).state == "ready")


def test_a_leased_version_stays_loaded_until_it_is_released(serve, deploy_digits, served, database_url, rows, expected):
    server = serve()
    lease = {"model_name": "digits", "version": 1, "holder": "run-1"}
    with ModelClient(server.url) as client:
        with session(database_url) as opened:
            lease_model(opened, **lease, duration=timedelta(minutes=5), owner="ann")
        client.wait_ready("digits", 1)  # loaded for the lease alone
        served(deploy_digits(1))
        served(deploy_digits(2))
        answer = client.infer("digits", rows, version=1)
        np.testing.assert_allclose(answer.probabilities, expected[1], atol=1e-6)
        assert answer.model_version == 1
        with session(database_url) as opened:
            release_model(opened, **lease)
        wait_until(lambda: ("digits", 1) not in server.models.versions)
        with pytest.raises(NotFound, match=re.escape("loaded versions: 2")):
            client.infer("digits", rows, version=1)


def test_rollback_is_one_call(serve, deploy_digits, served, database_url, rows):
    server = serve()
    served(deploy_digits(1))
    served(deploy_digits(2))
    with session(database_url) as opened:
        row = rollback(opened, "digits", "current", "ann")
    served((row.id, row.generation))
    with ModelClient(server.url) as client:
        assert client.infer("digits", rows).model_version == 1


def _status(db) -> DeploymentStatus:
    db.rollback()
    return db.query(DeploymentStatus).populate_existing().one()


def _seen_at(db) -> datetime:
    db.rollback()
    return db.query(ServerReplica).populate_existing().one().seen_at


def _replicas(database_url: str) -> list[str]:
    with session(database_url) as opened:
        return [replica.name for replica in opened.query(ServerReplica)]
