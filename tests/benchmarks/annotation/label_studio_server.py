"""Label Studio on PostgreSQL, from an environment of its own, for a benchmark: served by gunicorn, nothing sent anywhere.

Needs an interpreter with ``label-studio`` and ``gunicorn`` from PyPI.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import create_engine, make_url, text

# The people, the tokens (legacy ones: a plain look-up, the cheapest way in that Label Studio has) and nothing else.
SETUP = """
import json, sys
from organizations.models import Organization
from rest_framework.authtoken.models import Token
from users.models import User
people = [User.objects.create_user(email=f"{name}@example.org", password=None) for name in %r]
organization = Organization.create_organization(created_by=people[0], title="bench")
for person in people:
    organization.add_user(person)
    person.active_organization = organization
    person.save()
organization.jwt.legacy_api_tokens_enabled = True
organization.jwt.save()
print(json.dumps([Token.objects.get_or_create(user=person)[0].key for person in people]))
"""


@dataclass(frozen=True)
class LabelStudio:
    """``tokens``: one a person; ``database``: its name."""

    url: str
    version: str
    tokens: list[str]
    database: str

    def make_project(self, config: str, tasks: Sequence[dict[str, Any]]) -> int:
        """A project with ``tasks``, handed out in order, one annotation each."""
        headers = {"Authorization": f"Token {self.tokens[0]}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=300) as http:
            wanted = {"title": "bench", "label_config": config, "maximum_annotations": 1}
            project = _checked(http.post("/api/projects/", json=wanted))["id"]
            for start in range(0, len(tasks), 1000):
                _checked(http.post(f"/api/projects/{project}/import", json=tasks[start : start + 1000]))
            return int(project)


@contextmanager
def label_studio_server(
    python: Path, postgres: str, names: Sequence[str], *, workers: int = 1
) -> Iterator[LabelStudio]:
    """Start it on a new database of the PostgreSQL server at ``postgres`` (a SQLAlchemy URL over a unix socket)."""
    place = make_url(postgres)
    database = f"label_studio_{secrets.token_hex(4)}"
    maintenance = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {database}"))
    home = Path(tempfile.mkdtemp(prefix="label-studio-", dir="/tmp"))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DJANGO", "AIRFLOW"))},
        "DJANGO_DB": "default",
        "DJANGO_SETTINGS_MODULE": "label_studio.core.settings.label_studio",
        "POSTGRE_NAME": database,
        "POSTGRE_USER": place.username or "postgres",
        "POSTGRE_PASSWORD": place.password or "",
        "POSTGRE_HOST": str(place.query.get("host") or place.host),
        "POSTGRE_PORT": str(place.port or 5432),
        "LABEL_STUDIO_BASE_DATA_DIR": str(home),
        "SECRET_KEY": secrets.token_hex(16),
        "LOG_LEVEL": "ERROR",
        # Our PostgreSQL has neither extension. Label Studio goes without three indexes then, which makes its writes faster.
        "SKIP_TRIGRAM_EXTENSION": "full",
        "SKIP_BTREE_GIN_EXTENSION": "full",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "COLLECT_ANALYTICS": "False",
        "LATEST_VERSION_CHECK": "False",
    }
    process = None
    try:
        found = _run(python, home, environment, "-c", "import label_studio; print(label_studio.__path__[0])")
        folder = Path(found.splitlines()[-1])
        _run(python, folder, environment, "manage.py", "migrate", "--no-input")
        tokens = _run(python, folder, environment, "manage.py", "shell", "-c", SETUP % list(names)).splitlines()[-1]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        serve = ["-m", "gunicorn", "label_studio.core.wsgi:application", "--bind", address, "--workers", str(workers)]
        # A thread a person, and connections that are kept, as our server keeps them.
        serve += ["--worker-class", "gthread", "--threads", str(len(names)), "--keep-alive", "60", "--timeout", "300"]
        log = home / "server.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [python, *serve], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"http://{address}/health", timeout=60).status_code == 200:
                    break
            except httpx.HTTPError:
                pass  # not up yet
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Label Studio did not start:\n{log.read_text()[-4000:]}")
            time.sleep(0.2)
        version = _run(python, home, environment, "-m", "pip", "show", "label-studio").splitlines()[1].split()[1]
        yield LabelStudio(f"http://{address}", version, json.loads(tokens), database)
    finally:
        if process is not None:
            process.terminate()
            process.wait(60)
        with maintenance.connect() as connection:
            connection.execute(text(f"DROP DATABASE {database} WITH (FORCE)"))
        maintenance.dispose()
        shutil.rmtree(home, ignore_errors=True)


def _run(python: Path, folder: Path, environment: dict[str, str], *words: str) -> str:
    done = subprocess.run([python, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)[:80]}: {done.stderr[-4000:]}")
    return done.stdout


def _checked(answer: httpx.Response) -> Any:
    if answer.status_code >= 300:
        raise RuntimeError(f"{answer.request.url}: {answer.status_code} {answer.text[:2000]}")
    return answer.json()
