"""Where one stack keeps its things."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
"""The checkout: DAG files, configuration, the page."""


@dataclass(frozen=True)
class Places:
    """The state directory of one stack. Everything it writes lives under ``home``."""

    home: Path

    @property
    def postgres(self) -> Path:
        return self.home / "postgres"

    @property
    def airflow(self) -> Path:
        return self.home / "airflow"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def secrets(self) -> Path:
        return self.home / "secrets"

    @property
    def stack_file(self) -> Path:
        """What other processes of the same machine need to find the running stack (no secrets)."""
        return self.home / "stack.json"

    @property
    def status_file(self) -> Path:
        return self.home / "status.json"

    @property
    def pid_file(self) -> Path:
        return self.home / "supervisor.pid"

    def prepare(self) -> None:
        for folder in (self.home, self.postgres, self.airflow, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        self.secrets.mkdir(mode=0o700, exist_ok=True)

    def secret(self, name: str) -> str:
        """A random secret made at first use, in a file only its owner reads."""
        path = self.secrets / name
        try:
            return path.read_text()
        except FileNotFoundError:
            value = secrets.token_urlsafe(48)
            write_private(path, value)
            return value

    def fernet_key(self) -> str:
        """The key that Airflow encrypts connections with: 32 bytes, as Fernet wants them."""
        digest = hashlib.sha256(self.secret("fernet_seed").encode()).digest()
        return base64.urlsafe_b64encode(digest).decode()


def write_private(path: Path, text: str) -> None:
    """Write ``text`` so that nobody else can read it, complete or not at all."""
    temporary = path.with_suffix(".part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, value: object) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(value, indent=1))
    temporary.replace(path)


def read_json(path: Path) -> dict[str, object]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
