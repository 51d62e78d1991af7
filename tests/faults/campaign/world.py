"""The stack that faults are put into: started, asked, mended, stopped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil

from learnloop.settings import Settings, load
from learnloop.stack.__main__ import running_environment
from learnloop.stack.initialise import set_users
from learnloop.stack.places import Places

from . import clock
from .disks import small_disk, unmount
from .leaks import secrets_in
from .s3 import KEY, SECRET, S3Server
from .stack import Stack

DISK_MIB = 160


class World:
    """One stack in a folder of its own, with an S3 server when it is to have one."""

    s3: S3Server | None = None
    clock: clock.Clock | None = None
    small_disk = False

    def __init__(self, *, for_faults: bool = False) -> None:
        """``for_faults``: with a small disk for the store, an S3 server, and a clock of its own, where possible."""
        self._folders: list[Path] = []
        self.words: list[str] = []
        """Passwords of people."""
        try:
            self._make(for_faults=for_faults)
        except BaseException:
            self._clear(keep=False)
            raise

    def _make(self, *, for_faults: bool) -> None:
        self.home = self._folder("ll-faults-")
        self.data = self._folder("ll-faults-data-")  # what people bring is not the platform's
        self.store = self.home / "store"
        self.small_disk = for_faults and small_disk(self.store, DISK_MIB)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEARNLOOP_", "AIRFLOW"))}
        self.environment = {
            **kept,
            "LEARNLOOP_HOME": str(self.home),
            **{f"LEARNLOOP_RATE_{kind}": "0" for kind in ("READ", "WRITE", "CLAIM")},
        }
        if for_faults and clock.POSSIBLE:
            self.clock = clock.Clock(self._folder("ll-faults-clock-"))
            self.environment |= self.clock.environment
        if for_faults:
            self.s3 = S3Server(self._folder("ll-faults-s3-"))
            self.environment |= {
                "LEARNLOOP_REMOTE": "s3://remote/data",
                "AWS_ACCESS_KEY_ID": KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_ENDPOINT_URL": self.s3.endpoint,
                "AWS_DEFAULT_REGION": "us-east-1",
            }

    @property
    def settings(self) -> Settings:
        return load({"LEARNLOOP_HOME": str(self.home)})

    @property
    def url(self) -> str:
        return self.settings.api_url

    @property
    def serving_url(self) -> str:
        return self.settings.serving_url

    def stack(self, token: str) -> Stack:
        """Where the checker finds things."""
        settings = self.settings
        return Stack(
            url=settings.api_url,
            token=token,
            learnloop=settings.database_url.replace("postgresql+psycopg://", "postgresql://"),
            mlflow=settings.mlflow_url.replace("postgresql+psycopg://", "postgresql://"),
            store=settings.store,
            home=settings.home,
            secrets=(*secrets_in(settings.home / "secrets"), SECRET, *self.words),
            logs=(
                settings.home / "logs", settings.home / "airflow" / "logs", settings.home / "postgres" / "log",
                *([self.s3.folder / "log"] if self.s3 is not None else []),
            ),
        )  # fmt: skip

    def hand_over(self, folder: Path) -> str:
        return str(folder)  # it sees what is here

    def serving_is_hurt_by(self, kind: str) -> bool:
        return kind in ("kill model-server", "stop model-server", "kill the supervisor")

    def answers_break_off_by(self, kind: str) -> bool:
        return False  # there is one model server: who kills it hurts serving

    def up(self) -> None:
        for _ in range(3):  # on a busy machine it goes on starting after `up` has lost patience
            done = self.command("up", module="learnloop.stack")
            if done.returncode == 0:
                return
        raise RuntimeError(f"the stack did not start: {done.stdout[-2000:]} {done.stderr[-2000:]}")

    def down(self) -> None:
        self.command("down", module="learnloop.stack")

    def close(self, *, keep: bool) -> None:
        try:
            self.down()
        finally:
            self._clear(keep=keep)

    def _clear(self, *, keep: bool) -> None:
        """As much as has been made."""
        with ExitStack() as all_of_it:
            if not keep:
                for folder in self._folders:
                    all_of_it.callback(shutil.rmtree, folder, ignore_errors=True)
            if self.s3 is not None:
                all_of_it.callback(self.s3.close)
            if self.small_disk:
                all_of_it.callback(unmount, self.store)

    def _folder(self, prefix: str) -> Path:
        made = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))  # short: socket paths end at 107 bytes
        self._folders.append(made)
        return made

    def pid(self, component: str) -> int:
        return int(self.status()["components"][component]["pid"])

    def postmaster(self) -> int:
        return int((self.home / "postgres" / "postmaster.pid").read_text().splitlines()[0])

    def status(self) -> Any:
        return json.loads((self.home / "status.json").read_text())

    def users(self, *people: tuple[str, str]) -> dict[str, str]:
        """Make users with roles; their passwords."""
        places = Places(self.home)
        wanted: list[dict[str, object]] = [{"name": name, "role": role} for name, role in people]
        made = set_users(wanted, running_environment(places), places.logs / "roles.log")
        self.words += made.values()
        return made

    def unwell(self) -> list[str]:
        """What does not do its work; empty when all is well."""
        settings, found = self.settings, []
        for name, part in self.status()["components"].items():
            if not _lives(part["pid"]) or not part["healthy"]:
                found.append(name)
        for name, url in {
            "API": f"{settings.loop_api_url}/health",
            "page": f"{settings.api_url}/annotate/_stcore/health",
            "model server": f"{settings.serving_url}/v2/health/ready",
        }.items():
            if self._get(url) is None:
                found.append(name)
        health = self._get(f"{settings.api_url}/api/v2/monitor/health")
        if health is None:
            found.append("Airflow's health")
        else:
            told = health.json()
            found += [f"Airflow's {part}" for part in ("metadatabase", "scheduler", "triggerer", "dag_processor")
                      if told[part]["status"] != "healthy"]  # fmt: skip
        return found

    def _get(self, url: str) -> httpx.Response | None:
        try:
            answer = httpx.get(url, timeout=5)
        except httpx.HTTPError:
            return None
        return answer if answer.status_code in (200, 401) else None  # 401: it answers, and wants a token

    def command(
        self, *arguments: str, module: str = "learnloop.cli", **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the project's programs where this stack is configured, with more settings than it has itself."""
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env={**self.environment, **settings},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)  # killed, and nobody has noticed yet
    except psutil.NoSuchProcess:
        return False
