"""The whole of docker-compose.yaml, run natively (`compose_native`), and a round of the loop through its nginx."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from compose_native import Native
from compose_watching import Told, prometheus_of, tell_by_webhook
from dashboards import DASHBOARDS, queries
from namespaces import USER, Container, possible
from native_programs import missing
from waits import eventually

from learnloop.client import LearnloopClient
from learnloop.stack.demo import digits
from learnloop.stack.demo.airflow import AirflowClient
from learnloop.stack.demo.annotators import ScriptedAnnotator

MISSING = missing(whole=True)
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=MISSING or "installed"),
    pytest.mark.skipif(bool(possible()), reason=possible() or "possible"),
    pytest.mark.timeout(1800),
    pytest.mark.long,
]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PEOPLE = {"sam": "scientist", "eve": "engineer", "ann": "annotator", "bo": "annotator"}
QUIET = {
    "loop": {"Age of the open round", "Drift", "Write locks held", "Merges and locks", "Oldest question by state"},
    "platform": {"Notifications unsent"},
    # Jobs are admitted at once, none has asked for mounts, and there is no GPU.
    "queue-and-cost": {
        "Queue by priority", "Longest wait by priority", "Cores", "Memory", "GPUs", "Estimated cost of mounts",
        "GPUs used of what was asked for", "GPU memory that jobs held",
    },
}  # fmt: skip
"""Panels that show nothing when all is well and nobody waits."""
BUDGET = 20
PAUSE = 0.3
"""Between two requests of each who asks all along, seconds: fewer than nginx lets one address send."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Native]:
    made = Native(tmp_path_factory.mktemp("stack"), ["replica"])
    tell_by_webhook(made)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(made.certificate))  # all clients here trust this and nothing else
        try:
            made.start()
            print("\nhealthy after", {name: round(seconds) for name, seconds in made.seconds.items()})
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module")
def passwords(stack: Native) -> dict[str, str]:
    asked = json.dumps([{"name": name, "role": role} for name, role in PEOPLE.items()])
    made = stack.containers["airflow-api-1"].run(["python", "-m", "learnloop_airflow.roles"], asked)
    assert made.returncode == 0, made.stderr
    words: dict[str, str] = json.loads(made.stdout.strip().splitlines()[-1])
    return words


@pytest.fixture(scope="module")
def people(stack: Native, passwords: dict[str, str]) -> dict[str, LearnloopClient]:
    return {name: LearnloopClient.login(stack.url, name, passwords[name]) for name in PEOPLE}


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


@pytest.mark.usefixtures("trained")
def test_a_backup_comes_back_in_an_empty_stack(stack: Native, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its secrets are other ones, but for the key of backups: what else it needs is in the backup."""
    airflow = ["airflow", "connections"]
    learnloop = ["python", "-m", "learnloop.cli"]
    worker = stack.containers["airflow-worker"]
    added = worker.run([*airflow, "add", "mail", "--conn-type", "smtp", "--conn-password", "hush-hush"])
    assert added.returncode == 0, added.stderr
    taken = worker.run([*learnloop, "backup"], seconds=600)
    assert taken.returncode == 0, taken.stdout + taken.stderr
    assert "without" not in taken.stdout  # no database and no secret is left out
    deep = worker.run([*learnloop, "backup", "verify", "--deep"], seconds=600)
    assert deep.returncode == 0, deep.stdout + deep.stderr

    other = Native(tmp_path_factory.mktemp("other"), only=["postgres", "s3", "airflow-init"])
    try:
        for name in ("postgres", "s3"):
            other.containers[name].start(other.switchboard)
        eventually(lambda: other.healthy("postgres") and other.healthy("s3"), seconds=120)
        kept = other.secrets["backup_key"]
        kept.write_text(stack.secrets["backup_key"].read_text())
        init = other.containers["airflow-init"]
        mounts = {**init.mounts, "/backups": (stack.volumes["backups"], True)}

        def run_to_its_end(command: list[str]) -> str:
            once = Container(**{**vars(init), "command": command, "mounts": mounts, "process": None})
            once.start(other.switchboard)
            assert once.process is not None
            code = once.process.wait(600)
            said = once.log.read_text(errors="replace")
            assert code == 0, said[-3000:]
            return said

        said = run_to_its_end(["bash", "/opt/learnloop/deploy/airflow/restore.sh"])
        assert "restored" in said
        back = other.volumes["learnloop-home"] / "secrets" / "fernet_key"
        assert back.read_text() == stack.secrets["fernet_key"].read_text() != other.secrets["fernet_key"].read_text()
        other.secrets["fernet_key"].write_text(back.read_text())
        run_to_its_end(list(init.command))
        assert "hush-hush" in run_to_its_end([*airflow, "get", "mail", "-o", "json"])
        word = (other.folder / "compose" / "secrets" / "password-learnloop").read_text()
        count = [
            "psql",
            "-XAt",
            "-h",
            "127.0.0.1",
            "-U",
            "learnloop",
            "-c",
            "select count(*) from confirmed_annotations",
        ]
        answer = other.containers["postgres"].run(["env", f"PGPASSWORD={word}", *count])
        assert int(answer.stdout) >= BUDGET, answer.stderr
    finally:
        other.close()


@pytest.mark.usefixtures("trained")
def test_prometheus_reaches_everybody_and_the_dashboards_show_a_round(stack: Native) -> None:
    with prometheus_of(stack) as prometheus:
        found = httpx.get(f"{prometheus.url}/api/v1/targets", timeout=10).json()["data"]["activeTargets"]
        assert len(found) == 7
        assert {one["scrapeUrl"]: one["lastError"] for one in found if one["health"] != "up"} == {}
        empty = {}
        for name, dashboard in DASHBOARDS.items():
            shown: dict[str, bool] = {}
            for title, query in queries(dashboard):
                shown[title] = shown.get(title, False) or bool(prometheus.query(query))
            empty[name] = {title for title, something in shown.items() if not something}
        print("panels that have nothing to show after a round:", empty)
        for name, titles in empty.items():
            assert titles <= QUIET.get(name, set()), name
        alerts = {one["metric"]["alertname"] for one in prometheus.query('ALERTS{alertstate="firing"}')}
        assert alerts <= {"DiskNearlyFull", "ApiSlow", "InferenceSlow"}  # what this machine has, and how busy it is


def test_an_alert_is_told_once_by_the_webhook(stack: Native) -> None:
    told = Told(stack)
    try:
        stack.containers["model-server-2"].kill()
        eventually(lambda: told.firing("ModelServerDown"), seconds=300)
        with prometheus_of(stack) as prometheus:
            looked = 'prometheus_rule_group_iterations_total{rule_group=~".*;models"}'
            began = float(prometheus.query(looked)[0]["value"][1])
            eventually(lambda: float(prometheus.query(looked)[0]["value"][1]) >= began + 3, seconds=120)
        (post,) = told.firing("ModelServerDown")
        assert [alert["labels"]["instance"] for alert in post["alerts"]] == ["model-server-2:8090"]
        assert post["alerts"][0]["annotations"]["runbook_url"] == "docs/runbooks.md#modelserverdown"
    finally:
        told.close()
        stack.containers["model-server-2"].start(stack.switchboard)
        eventually(lambda: stack.healthy("model-server-2"), seconds=180)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found; Debian: apt-get install chromium")
@pytest.mark.usefixtures("trained")
def test_somebody_answers_on_the_page_through_nginx(
    stack: Native, airflow: AirflowClient, people: dict[str, LearnloopClient], passwords: dict[str, str]
) -> None:
    from playwright.sync_api import sync_playwright

    airflow.run("score_incoming_data", {"dataset": "digits", "batch": "pool"})
    before = people["ann"].progress("digits").answered_by_me
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_context(ignore_https_errors=True, locale="en-US").new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{stack.url}/annotate/?dataset=digits")
        page.get_by_label("User name").fill("ann")
        page.get_by_label("Password", exact=True).fill(passwords["ann"])
        page.get_by_role("button", name="Log in", exact=True).click()
        page.locator(".st-key-skips button").last.wait_for()
        page.keyboard.press(page.locator(".ll-guess .ll-label").first.inner_text())
        eventually(lambda: people["ann"].progress("digits").answered_by_me > before, seconds=60)
        chromium.close()


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
