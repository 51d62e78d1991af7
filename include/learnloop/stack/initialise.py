"""What a stack needs once before it starts, and again after an upgrade: schemas, roles, the first users."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from learnloop.backup.mark import unfinished
from learnloop.database.migrate import MIGRATIONS, upgrade
from learnloop.errors import LearnloopError
from learnloop.settings import Settings
from learnloop.stack.components import BIN
from learnloop.stack.places import ROOT, Places, write_private

FIRST_USERS: list[dict[str, object]] = [
    {"name": "admin", "role": "admin"},
    {"name": "scientist", "role": "scientist"},
    {"name": "annotator", "role": "annotator"},
]


class InitialisationFailed(LearnloopError):
    type = "initialisation-failed"


def initialise(settings: Settings, places: Places, environment: dict[str, str]) -> None:
    """Migrate the three databases and create roles and users, unless nothing has changed since the last time."""
    if name := unfinished(places.home):
        raise InitialisationFailed(
            f"restoring the backup {name} has not ended: run `learnloop restore {name}` again, which ends it"
        )
    stamp = places.home / "initialised"
    wanted = _fingerprint()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    with ThreadPoolExecutor() as pool:
        airflow = pool.submit(
            _command, [str(BIN / "airflow"), "db", "migrate"], environment, places.logs / "airflow-migrate.log"
        )
        mlflow = pool.submit(
            _command,
            [sys.executable, "-m", "learnloop.models.registry", "prepare"],
            environment,
            places.logs / "mlflow-migrate.log",
        )
        upgrade(settings.database_url)
        airflow.result()
        mlflow.result()
    passwords = set_users(FIRST_USERS, environment, places.logs / "roles.log")
    if passwords:
        write_private(places.secrets / "first_passwords.json", json.dumps(passwords))
    stamp.write_text(wanted)


def set_users(users: list[dict[str, object]], environment: dict[str, str], log: Path) -> dict[str, str]:
    """Create or reset Airflow users; returns the passwords that were made, which nothing else keeps."""
    with log.open("a") as errors:
        answer = subprocess.run(
            [sys.executable, "-m", "learnloop_airflow.roles"],
            input=json.dumps(users),
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            text=True,
            check=False,
        )
    if answer.returncode != 0:
        raise InitialisationFailed(f"creating Airflow users failed (exit {answer.returncode}): see {log}")
    return dict(json.loads(answer.stdout.strip().splitlines()[-1]))


def _command(command: list[str], environment: dict[str, str], log: Path) -> None:
    with log.open("a") as output:
        ended = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=environment, check=False)
    if ended.returncode != 0:
        raise InitialisationFailed(f"`{' '.join(command)}` failed (exit {ended.returncode}): see {log}")


def _fingerprint() -> str:
    digest = hashlib.sha256((ROOT / "requirements.txt").read_bytes())
    for path in sorted((MIGRATIONS / "versions").glob("*.py")):
        digest.update(path.read_bytes())
    digest.update((ROOT / "plugins" / "learnloop_airflow" / "roles.py").read_bytes())
    return digest.hexdigest()
