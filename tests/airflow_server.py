"""Airflow's real API server with our plugin in it, under an auth manager of choice; nothing else of the stack runs."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy import create_engine, make_url, text

LONGEST = 600
"""Seconds for each step of a start, on a busy machine: what hangs ends, and what is merely slow does not fail."""
ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
MANAGERS = {
    "fab": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    "simple": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
}
# user: their role under FAB, and under SimpleAuthManager, which knows only Airflow's four
USERS = {
    "ada": ("admin", "admin"),
    "eng": ("engineer", "op"),
    "sue": ("scientist", "user"),
    "vic": ("viewer", "viewer"),
    "lea": ("scientist", "user"),
}


@dataclass(frozen=True)
class AirflowServer:
    """``url`` is Airflow's; ``database_url`` is Learnloop's database. ``manager``: ``fab`` or ``simple``."""

    manager: str
    url: str
    database_url: str
    airflow_url: str
    home: Path
    environment: dict[str, str] = field(repr=False)
    passwords: dict[str, str] = field(repr=False)
    process: ApiProcess = field(repr=False)

    def token(self, user: str) -> str:
        credentials = {"username": user, "password": self.passwords[user]}
        answer = httpx.post(f"{self.url}/auth/token", json=credentials, timeout=30)
        assert answer.status_code == 201, answer.text
        return answer.json()["access_token"]

    def as_user(self, user: str) -> httpx.Client:
        """A client of our API that bears a new token of ``user``."""
        return self.bearing(self.token(user))

    def bearing(self, token: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=f"{self.url}/learnloop/api/v1", headers=headers, timeout=30)


class ApiProcess:
    """The server's process: may be killed, and started again on the same port."""

    def __init__(self, url: str, command: Sequence[str | Path], environment: dict[str, str], log: Path) -> None:
        self._url, self._command, self._environment, self._log = url, command, environment, log
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("a") as output:
            self._running = subprocess.Popen(
                self._command, env=self._environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        _wait(self._url, self._running, self._log)

    def kill(self) -> None:
        """SIGKILL to it and its workers, all at once."""
        assert self._running is not None
        os.killpg(self._running.pid, signal.SIGKILL)
        self._running.wait(30)
        self._running = None

    def stop(self) -> None:
        if self._running is not None:
            self._running.terminate()
            self._running.wait(30)


@contextmanager
def airflow_server(
    manager: str,
    postgres: str,
    *,
    workers: int = 1,
    apps: str = "core",
    users: Mapping[str, tuple[str, str]] = USERS,
    **settings: str,
) -> Iterator[AirflowServer]:
    """Start it on new databases of the PostgreSQL server at ``postgres``; ``settings`` are our LEARNLOOP_*.

    With ``apps="all"`` tasks can run against it, too, once somebody starts what schedules them, with its ``environment``.
    """
    home = Path(tempfile.mkdtemp(prefix="learnloop-airflow-", dir="/tmp"))
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    names = {name: f"{name}_{secrets.token_hex(4)}" for name in ("airflow", "learnloop")}
    maintenance = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {names['airflow']}"))
        connection.execute(text(f"CREATE DATABASE {names['learnloop']} TEMPLATE learnloop_template"))
    ours = _database(postgres, names["learnloop"])
    airflow = _database(postgres, names["airflow"], "postgresql+psycopg2")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "LEARNLOOP_"))},
        "PYTHONPATH": f"{ROOT / 'include'}:{ROOT / 'plugins'}",
        "OMP_NUM_THREADS": "1",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(ROOT / "airflow.cfg"),
        "AIRFLOW__CORE__AUTH_MANAGER": MANAGERS[manager],
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{roles[1]}" for name, roles in users.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(16),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": airflow,
        "AIRFLOW__FAB__CONFIG_FILE": str(ROOT / "deploy" / "airflow" / "webserver_config.py"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "LEARNLOOP_HOME": str(home / "learnloop"),
        "LEARNLOOP_DATABASE_URL": ours,
        **{f"LEARNLOOP_{name.upper()}": value for name, value in settings.items()},
    }
    command = [BIN / "airflow", "api-server", "--apps", apps, "--host", "127.0.0.1", "--port", str(port)]
    process = ApiProcess(
        url, [*command, "--workers", str(workers), "--proxy-headers"], environment, home / "api-server.log"
    )
    try:
        subprocess.run(
            [BIN / "airflow", "db", "migrate"], env=environment, check=True, capture_output=True, timeout=LONGEST
        )
        passwords = _make_users(manager, home, environment, users)
        process.start()
        yield AirflowServer(manager, url, ours, airflow, home, environment, passwords, process)
    finally:
        process.stop()
        with maintenance.connect() as connection:
            for name in names.values():
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        maintenance.dispose()
        shutil.rmtree(home, ignore_errors=True)


def _make_users(
    manager: str, home: Path, environment: dict[str, str], users: Mapping[str, tuple[str, str]]
) -> dict[str, str]:
    if manager == "simple":
        passwords = {name: secrets.token_urlsafe(9) for name in users}
        (home / "passwords.json").write_text(json.dumps(passwords))
        return passwords
    made = subprocess.run(
        [sys.executable, "-m", "learnloop_airflow.roles"],
        input=json.dumps([{"name": name, "role": roles[0]} for name, roles in users.items()]),
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    assert made.returncode == 0, made.stderr[-4000:]
    return json.loads(made.stdout.strip().splitlines()[-1])


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + LONGEST
    while True:
        try:
            if httpx.get(f"{url}/api/v2/version", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass  # not up yet
        assert process.poll() is None, log.read_text()[-4000:]
        assert time.monotonic() < deadline, log.read_text()[-4000:]
        time.sleep(0.2)


def _database(url: str, name: str, driver: str = "postgresql+psycopg") -> str:
    return make_url(url).set(drivername=driver, database=name).render_as_string(hide_password=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
