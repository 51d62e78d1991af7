"""docker-compose.yaml is sound, and the check that says so sees what would be wrong."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from learnloop.stack import compose_nginx
from learnloop.stack.compose_check import check
from learnloop.stack.compose_names import unknown
from learnloop.stack.places import ROOT

COMPOSE = "docker-compose.yaml"
FILES = (COMPOSE, *(f"deploy/nginx/{path.name}" for path in (ROOT / "deploy" / "nginx").glob("*.conf")))


def test_what_is_here_is_sound() -> None:
    assert check() == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", None),
        ("  read_only: true", "  read_only: [true]", "read_only"),
        ("restart: unless", "reboot: unless", "reboot"),
    ],
)
def test_it_keeps_to_composes_own_schema(tmp_path: Path, old: str, new: str, said: str | None) -> None:
    file = tmp_path / COMPOSE
    file.write_text((ROOT / COMPOSE).read_text().replace(old, new, 1))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (said is None), done.stdout
    assert (said or "ok") in done.stdout


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (COMPOSE, "  read_only: true", "  privileged: true\n  read_only: true", "privileged is not a key"),
        (COMPOSE, "    stop_grace_period: 10m", "    stop_grace_period: 10", "is 10; it must be a duration"),
        (COMPOSE, "  read_only: true", "  read_only: yes please", "read_only is 'yes please'; it must be true or false"),
        (COMPOSE, "memory: 8g", "memory: 8 gigabytes", "limits.memory is '8 gigabytes'; it must be a size"),
        (COMPOSE, "restart: unless-stopped", "restart: sometimes", "restart is 'sometimes'; it must be no, always"),
        (COMPOSE, "test: [CMD, curl, -fsS, \"http", "test: [curl, -fsS, \"http", "nginx: healthcheck.test is ['curl', "),
        (COMPOSE, "command: [airflow, dag-processor]", "command: airflow dag-processor", "it must be a list of texts"),
        (COMPOSE, "networks: [outside, back]", "networks: [inside, back]", "networks: inside is not declared"),
        (COMPOSE, "secrets: [redis_users.acl]", "secrets: [redis.acl]", "redis: secrets: redis.acl is not declared"),
        (COMPOSE, "secrets: [s3.json]", "secrets: [grafana_password]", "s3: reads /run/secrets/s3.json, and is not given"),
        (COMPOSE, "secrets: [smtp_password, alert_webhook]", "secrets: [alert_webhook]",
         "deploy/alertmanager/alertmanager.yml names /run/secrets/smtp_password, and the service is not given it"),
        (COMPOSE, "secrets: [metrics_token]", "secrets: [grafana_password]", "prometheus.yml names /run/secrets/metrics_to"),
        ("deploy/nginx/public.conf", "secrets/tls_key.pem", "secrets/tls.pem", "public.conf names /run/secrets/tls.pem"),
        (COMPOSE, "./deploy/loki/loki.yml:", "./deploy/loki/loki.yaml:", "loki.yaml does not exist"),
        (COMPOSE, "/etc/redis/redis.conf:ro", "/etc/redis/redis.conf", "mount it read-only"),
        (COMPOSE, "images/annotation/Dockerfile", "images/page/Dockerfile", "images/page/Dockerfile does not exist"),
        (COMPOSE, "redis: {condition: service_healthy}", "reddis: {condition: service_healthy}", "no service reddis"),
        (COMPOSE, "redis: {condition: service_healthy}", "redis: {condition: healthy}", "healthy is no condition"),
        (COMPOSE, "loki: {condition: service_started}", "loki: {condition: service_healthy}", "it never is healthy"),
        (COMPOSE, 'user: "${STACK_UID', 'user: "${ROOT_UID', "user: it must not run as root"),
        (COMPOSE, "cap_drop: [ALL]", "cap_drop: [NET_RAW]", "cap_drop: must be [ALL]"),
        (COMPOSE, "no-new-privileges:true", "no-new-privileges:false", "must have no-new-privileges"),
        (COMPOSE, "read_only: true", "read_only: false", "read_only: must be true"),
        (COMPOSE, "redis:7.2.10-bookworm", "redis:latest", "redis: image: redis:latest is not pinned"),
        (COMPOSE, "redis:7.2.10-bookworm", "redis", "redis: image: redis is not pinned"),
        (COMPOSE, "cpus: \"4\", memory: 8g, ", "memory: 8g, ", "airflow-worker: deploy.resources.limits: cpus is missing"),
        (COMPOSE, "LEARNLOOP_REMOTE:", "LEARNLOOP_REMOTES:", "LEARNLOOP_REMOTES is no setting of Learnloop's"),
        (COMPOSE, "AIRFLOW__CORE__PARALLELISM:", "AIRFLOW__CORE__PARALLEL:", "Airflow has no option parallel in [core]"),
        (COMPOSE, "PGDATA: /var", "REPLICATION_PASSWORD: /var", "REPLICATION_PASSWORD is a secret: give it by a file"),
        (COMPOSE, 'VISIBILITY_TIMEOUT: "604800"', "VISIBILITY_TIMEOUT: 604800", "is 604800; put it in quotes"),
        (COMPOSE, "${STACK_BIND:-127.0.0.1}:", "${STACK_BIND:-0.0.0.0}:", "must be bound to 127.0.0.1"),
        (COMPOSE, "    networks: [back]\n    healthcheck:\n      # The user",
         '    ports: ["127.0.0.1:6379:6379"]\n    networks: [back]\n    healthcheck:\n      # The user',
         "only nginx is reached"),
        (COMPOSE, "ipv4_address: 172.30.71.12", "ipv4_address: 172.30.71.11", "172.30.71.11 is given twice"),
        (COMPOSE, "airflow-api-2=172.30.71.12", "airflow-api-2=172.30.71.19", "airflow-api-2 is at 172.30.71.12"),
        (COMPOSE, "${STACK_HOST:?run make compose-secrets}", "${STACK_NAME}", "${STACK_NAME} is set by nobody"),
        (COMPOSE, "      - ./deploy/nginx/proxy.conf:/etc/nginx/proxy.conf:ro\n", "", "nginx: proxy.conf is not mounted"),
        ("deploy/nginx/upstreams.conf", "airflow-api-2:8080", "airflow-api-3:8080", "there is no service airflow-api-3"),
        ("deploy/nginx/upstreams.conf", "airflow-api-2:8080", "airflow-api-2:8081", "airflow-api-2 does not listen on 8081"),
        ("deploy/nginx/nginx.conf", "client_max_body_size 16m", "client_max_body_size 8m", "LEARNLOOP_SERVING_BODY_BYTES"),
        ("deploy/nginx/public.conf", "listen 8443", "listen 9443", "leads to what is no public listener"),
    ],
)  # fmt: skip
def test_what_would_be_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, said: str
) -> None:
    monkeypatch.setattr(compose_nginx, "program", lambda: None)  # a tenth of a second each; asked below
    root = _copy(tmp_path)
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new))
    problems = check(root)
    assert any(said in problem for problem in problems), problems


@pytest.mark.skipif(compose_nginx.program() is None, reason="there is no nginx: apt-get install nginx")
def test_nginx_is_asked(tmp_path: Path) -> None:
    root = _copy(tmp_path)
    path = root / "deploy" / "nginx" / "public.conf"
    path.write_text(path.read_text().replace("ssl_session_tickets", "ssl_session_ticket"))
    (problem,) = (problem for problem in check(root) if problem.startswith("nginx does not take"))
    assert 'unknown directive "ssl_session_ticket" in public.conf:' in problem


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("LEARNLOOP_DATABASE_URL_FILE", None),
        ("LEARNLOOP_HOME_FILE", "no setting"),
        ("LEARNLOOP_DATABASE_URL_FILES", "no setting"),
        ("AIRFLOW__CELERY__BROKER_URL_CMD", None),
        ("AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT", None),
        ("AIRFLOW__CORE__PARALLELISM_CMD", "it is not sensitive"),
        ("AIRFLOW__FAB__CONFIG_FILE", None),
        ("AIRFLOW__CORE", "not of the form"),
        ("AWS_SECRET_ACCESS_KEY", "not among"),
        ("HOME", None),
    ],
)
def test_names_of_the_environment(name: str, wrong: str | None) -> None:
    found = unknown(name)
    assert found is None if wrong is None else wrong in (found or "")


def _copy(folder: Path) -> Path:
    """The checkout as links, but for the files that a test changes."""
    for path in ROOT.iterdir():
        if path.name not in (COMPOSE, "deploy"):
            (folder / path.name).symlink_to(path)
    (folder / "deploy").mkdir()
    for path in (ROOT / "deploy").iterdir():
        if path.name != "nginx":
            (folder / "deploy" / path.name).symlink_to(path)
    (folder / "deploy" / "nginx").mkdir()
    for file in FILES:
        shutil.copy(ROOT / file, folder / file)
    return folder
