"""The whole of docker-compose.yaml, run natively (`compose_native`), and a round of the loop through its nginx."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from compose_native import Native
from namespaces import USER
from test_production_pieces import NEEDS
from waits import eventually

from learnloop.client import LearnloopClient
from learnloop.stack.demo import digits
from learnloop.stack.demo.airflow import AirflowClient
from learnloop.stack.demo.annotators import ScriptedAnnotator

pytestmark = [*NEEDS, pytest.mark.timeout(1800), pytest.mark.long]

PEOPLE = {"sam": "scientist", "eve": "engineer", "ann": "annotator", "bo": "annotator"}
BUDGET = 20
PAUSE = 0.3
"""Between two requests of each who asks all along, seconds: fewer than nginx lets one address send."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Native]:
    made = Native(tmp_path_factory.mktemp("stack"), ["replica"])
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(made.certificate))  # all clients here trust this and nothing else
        try:
            made.start()
            print("\nhealthy after", {name: round(seconds) for name, seconds in made.seconds.items()})
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module")
def people(stack: Native) -> dict[str, LearnloopClient]:
    asked = json.dumps([{"name": name, "role": role} for name, role in PEOPLE.items()])
    made = stack.containers["airflow-api-1"].run(["python", "-m", "learnloop_airflow.roles"], asked)
    assert made.returncode == 0, made.stderr
    words = json.loads(made.stdout.strip().splitlines()[-1])
    return {name: LearnloopClient.login(stack.url, name, words[name]) for name in PEOPLE}


@pytest.fixture(scope="module")
def airflow(stack: Native, people: dict[str, LearnloopClient]) -> AirflowClient:
    return AirflowClient(stack.url, people["sam"].token or "")


@pytest.fixture(scope="module")
def trained(stack: Native, people: dict[str, LearnloopClient], airflow: AirflowClient) -> digits.Digits:
    """A round of the loop: base model, scoring, answers, incremental training."""
    began = time.monotonic()
    data = digits.write(stack.volumes["data"] / "digits", "digits", BUDGET)
    for path in [stack.volumes["data"], *stack.volumes["data"].rglob("*")]:
        os.chown(path, USER, USER)
    for dag in ("base_model_training", "score_incoming_data", "incremental_training"):
        airflow.wait_for_dag(dag)
    airflow.run("base_model_training", {"path": "/data/digits/dataset", "message": "from the test"})
    airflow.run("score_incoming_data", {"dataset": "digits", "path": "/data/digits/pool", "batch": "pool"})
    annotators = [
        ScriptedAnnotator(people[name], data.truth, digits.CLASSES, 0.0, seed=seed)
        for seed, name in enumerate(("ann", "bo"))
    ]
    while sum(person.work("digits") for person in annotators) > 0:
        pass
    eventually(lambda: people["sam"].progress("digits").round is not None)
    airflow.wait("incremental_training", "round-digits-1", seconds=600)
    print(f"a round took {time.monotonic() - began:.0f} s")
    return data


def ask(stack: Native, data: digits.Digits, token: str | None) -> httpx.Response:
    pixels = data.pixels[data.test[0]].ravel().tolist()
    body = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 64], "data": pixels}]}
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.post(f"{stack.url}/v2/models/digits:realtime/infer", json=body, headers=headers, timeout=60)


@contextmanager
def asked_all_along(request: Callable[[], httpx.Response]) -> Iterator[list[str]]:
    """``request`` again and again in four threads; the list has what was not answered with 200, after all have ended.

    An answer that breaks off, since its server died in the middle of it, no proxy can mend: the caller asks again, as our
    own client does. There is at most one in each thread for each of two servers that are killed.
    """
    wrong: list[str] = []
    done = threading.Event()
    answered = broken_off = 0

    def go_on() -> None:
        nonlocal answered, broken_off
        while not done.wait(PAUSE):
            try:
                answer = request()
                answered += 1
                if answer.status_code != 200:
                    wrong.append(f"{answer.status_code} {answer.text[:200]}")
            except httpx.RemoteProtocolError:
                broken_off += 1
            except httpx.HTTPError as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=go_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        done.set()
        for thread in threads:
            thread.join()
        print(f"{answered} requests, {broken_off} answers that broke off, {len(wrong)} not answered well")
    assert answered > 20
    assert broken_off <= 2 * len(threads)


def killed_and_back(stack: Native, name: str) -> None:
    """SIGKILL, a while without it, and back until it is healthy: what an engine's restart policy does."""
    stack.containers[name].kill()
    time.sleep(3)  # for the requests that others must take
    stack.containers[name].start(stack.switchboard)
    eventually(lambda: stack.healthy(name), seconds=180)


def test_a_round_of_the_loop_through_nginx(
    stack: Native, trained: digits.Digits, people: dict[str, LearnloopClient]
) -> None:
    answer = ask(stack, trained, people["ann"].token)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model_version"] == "2"  # the round's; the base model was 1


def test_models_are_asked_with_a_token_only(stack: Native, trained: digits.Digits) -> None:
    assert ask(stack, trained, None).status_code == 401
    assert ask(stack, trained, "made-up").status_code == 401


def test_what_is_pushed_is_in_s3_and_what_was_written_on_the_replica(
    stack: Native, trained: digits.Digits, people: dict[str, LearnloopClient]
) -> None:
    people["eve"].push()
    listed = stack.containers["airflow-worker"].run(
        ["python", "-c", "import boto3; print(boto3.client('s3').list_objects_v2(Bucket='learnloop')['KeyCount'])"]
    )
    assert int(listed.stdout) > 100, listed.stderr
    word = (stack.folder / "compose" / "secrets" / "password-learnloop").read_text()
    count = "select count(*) from confirmed_annotations"
    command = ["env", f"PGPASSWORD={word}", "psql", "-XAt", "-h", "postgres-replica", "-U", "learnloop", "-c", count]
    eventually(lambda: int(stack.containers["postgres"].run(command).stdout) >= BUDGET)


def test_no_request_fails_when_an_api_server_is_killed(stack: Native, people: dict[str, LearnloopClient]) -> None:
    headers = {"Authorization": f"Bearer {people['sam'].token}"}
    with (
        httpx.Client(base_url=stack.url, headers=headers, timeout=60) as client,
        asked_all_along(lambda: client.get("/learnloop/api/v1/datasets")) as wrong,
    ):
        for name in ("airflow-api-1", "airflow-api-2"):
            killed_and_back(stack, name)
    assert wrong == []


def test_no_prediction_fails_when_a_model_server_is_killed(
    stack: Native, trained: digits.Digits, people: dict[str, LearnloopClient]
) -> None:
    with asked_all_along(lambda: ask(stack, trained, people["ann"].token)) as wrong:
        for name in ("model-server-1", "model-server-2"):
            killed_and_back(stack, name)
    assert wrong == []


def test_a_run_ends_well_when_a_scheduler_is_killed(
    stack: Native, trained: digits.Digits, airflow: AirflowClient
) -> None:
    run = airflow.trigger("score_incoming_data", {"dataset": "digits", "batch": "pool"})
    eventually(lambda: airflow.tasks("score_incoming_data", run, "success") != [], seconds=120)
    stack.containers["airflow-scheduler-1"].kill()
    airflow.wait("score_incoming_data", run, seconds=400)


def test_no_secret_is_in_a_log_or_in_an_environment(stack: Native, trained: digits.Digits) -> None:
    secrets = [path.read_text().strip() for path in (stack.folder / "compose" / "secrets").glob("password-*")]
    secrets += [(stack.folder / "compose" / "secrets" / name).read_text() for name in ("jwt_secret", "fernet_key")]
    logs = [container.log for container in stack.containers.values()]
    for log in [*logs, *stack.volumes["airflow-logs"].rglob("*.log")]:
        text = log.read_text(errors="replace")
        assert not [place for place, secret in enumerate(secrets) if secret in text], log
    for container in stack.containers.values():
        assert not any(secret in str(container.environment) + str(container.command) for secret in secrets)


def test_it_all_stops_when_it_is_asked_to(stack: Native) -> None:
    for name in ("airflow-worker", "airflow-api-1", "model-server-1", "nginx", "airflow-triggerer"):
        began = time.monotonic()
        stack.containers[name].stop(seconds=60)
        assert time.monotonic() - began < 55, f"{name} had to be killed:\n{stack.tail(name)}"
