"""docker-compose.yaml, run natively (`compose_native`), as a stack for faults: each service is a host of its own.

Left out: the replica and what only watches (Prometheus, Alertmanager), which nobody's work waits for.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from celery import Celery
from compose_native import Native
from kombu.exceptions import OperationalError
from namespaces import USER, Container, Publisher, possible
from native_programs import missing
from network_cut import cut
from redis.exceptions import RedisError

from . import clock
from .disks import small_disk, unmount
from .leaks import secrets_in
from .stack import Stack

SERVICES = (
    "nginx", "postgres", "redis", "s3", "airflow-init", "airflow-api-1", "airflow-api-2", "airflow-scheduler-1",
    "airflow-scheduler-2", "airflow-dag-processor", "airflow-triggerer", "airflow-worker", "model-server-1",
    "model-server-2", "annotation-page",
)  # fmt: skip
NOBODY_WATCHES = {"AIRFLOW__METRICS__OTEL_ON": "False"}
S3_MIB, STORE_MIB = 512, 160
S3_VOLUMES = {"-master.volumeSizeLimitMB=1024": "-master.volumeSizeLimitMB=32", "-volume.max=0": "-volume.max=16"}
"""SeaweedFS makes as many volumes as there is room for: of the size that the Compose file names, none on a small disk."""
HOME = Path("/var/lib/learnloop")
"""Where the platform sees the volume of that name."""


def impossible() -> str:
    """Why this cannot be done here, or an empty text."""
    return possible() or missing(whole=False)


class ComposeWorld:
    def __init__(self) -> None:
        self.troubles: list[str] = []
        """What the engine could not do: the campaign's own, not the platform's."""
        self.away: set[str] = set()
        """Services that are to stay away."""
        self.words: list[str] = []
        """Passwords of people."""
        self._starting = threading.Lock()
        self._end = threading.Event()
        self._published: dict[tuple[str, int], int] = {}
        with ExitStack() as undoing:
            self._make(undoing)
            self._undoing = undoing.pop_all()

    def _make(self, undoing: ExitStack) -> None:
        """``undoing`` takes away what has been made, also when there is no going on."""
        self.folder = Path(tempfile.mkdtemp(prefix="ll-faults-compose-", dir="/tmp"))
        self.keep = False
        undoing.callback(lambda: self.keep or shutil.rmtree(self.folder, ignore_errors=True))
        self.folder.chmod(0o755)
        self.native = Native(self.folder, only=SERVICES)
        self.data, self.store = self.native.volumes["data"], self.native.volumes["learnloop-home"] / "store"
        self.s3_disk = self.native.volumes["s3-data"]
        undoing.callback(self._unmount)
        undoing.callback(self.native.close)
        self.small_disk = small_disk(self.s3_disk, S3_MIB)
        self.small_store = small_disk(self.store, STORE_MIB)
        for disk in (self.s3_disk, self.store):
            os.chown(disk, USER, USER)
        self.clocks: dict[str, clock.Clock] = {}
        for name, container in self.native.containers.items():
            container.environment = {**container.environment, **NOBODY_WATCHES}
            if name == "s3" and self.small_disk:
                container.command = [S3_VOLUMES.get(word, word) for word in container.command]
            if self.small_store and str(HOME) in container.mounts:
                # A volume is bound without the disks that are mounted in it.
                writable = container.mounts[str(HOME)][1]
                container.mounts = {**container.mounts, str(HOME / "store"): (self.store, writable)}
            if clock.POSSIBLE:
                self._with_a_clock(name, container)

    def up(self) -> None:
        os.environ["SSL_CERT_FILE"] = str(self.native.certificate)  # who asks from here trusts this and nothing else
        self.native.start()
        engine = threading.Thread(target=self._restart_who_ended, name="engine", daemon=True)
        self._undoing.callback(engine.join)
        self._undoing.callback(self._end.set)
        engine.start()

    def close(self, *, keep: bool) -> None:
        self.keep = keep
        self._undoing.close()

    @property
    def url(self) -> str:
        return self.native.url

    @property
    def serving_url(self) -> str:
        """The listener for the platform's own parts: no token is looked at, so that only model servers can fail."""
        return self.address("nginx", 8090)

    def address(self, service: str, port: int) -> str:
        return f"http://127.0.0.1:{self.port(service, port)}"

    def port(self, service: str, port: int) -> int:
        """A port of 127.0.0.1 that leads to a service's."""
        if (service, port) not in self._published:
            addresses = self.native.addresses[service]
            inside = next(iter(addresses[name] for name in ("front", "back") if name in addresses)).partition("/")[0]
            publisher = Publisher(self.native.switchboard, inside, port)
            self._undoing.callback(publisher.close)
            self._published[service, port] = publisher.port
        return self._published[service, port]

    def stack(self, token: str) -> Stack:
        return Stack(
            url=self.url, token=token, learnloop=self._database("learnloop"), mlflow=self._database("mlflow"),
            store=self.store, home=self.native.volumes["learnloop-home"], inside=HOME,
            secrets=(*secrets_in(self.native.folder / "compose" / "secrets"), *self.words),
            logs=(*(one.log for one in self.native.containers.values()), self.native.volumes["airflow-logs"]),
        )  # fmt: skip

    def users(self, *people: tuple[str, str]) -> dict[str, str]:
        asked = json.dumps([{"name": name, "role": role} for name, role in people])
        made = self.native.containers["airflow-api-1"].run(["python", "-m", "learnloop_airflow.roles"], asked, 300)
        if made.returncode != 0:
            raise RuntimeError(f"no users were made: {made.stderr[-2000:]}")
        words: dict[str, str] = json.loads(made.stdout.strip().splitlines()[-1])
        self.words += words.values()
        return words

    def hand_over(self, folder: Path) -> str:
        for path in [self.data, *self.data.rglob("*")]:
            os.chown(path, USER, USER)
        return str(Path("/data") / folder.relative_to(self.data))

    def serving_is_hurt_by(self, kind: str) -> bool:
        # One of two servers may be killed, and nobody notices. One that hangs is found when an answer does not come.
        return kind in ("kill nginx", "stop nginx", "stop model-server-1", "stop model-server-2", "cut the network")

    def answers_break_off_by(self, kind: str) -> bool:
        return kind in ("kill model-server-1", "kill model-server-2")

    def inside(self, service: str) -> psutil.Process:
        """The first process inside the service's namespaces. `LookupError` where there is none."""
        return self.native.containers[service].inside()

    def unwell(self) -> list[str]:
        """What does not do its work; empty when all is well."""
        found = [name for name in SERVICES if name != "airflow-init" and not self.native.containers[name].running]
        found += [name for name, port, path in (
            ("airflow-api-1", 8080, "/api/v2/version"), ("airflow-api-2", 8080, "/api/v2/version"),
            ("airflow-scheduler-1", 8974, "/health"), ("airflow-scheduler-2", 8974, "/health"),
            ("model-server-1", 8090, "/v2/health/ready"), ("model-server-2", 8090, "/v2/health/ready"),
            ("annotation-page", 8501, "/annotate/_stcore/health"), ("s3", 8333, "/healthz"),
        ) if self._get(self.address(name, port) + path) is None]  # fmt: skip
        health = self._get(f"{self.url}/api/v2/monitor/health")
        told: dict[str, Any] = {} if health is None else health.json()
        found += [f"Airflow's {part}" for part in ("metadatabase", "scheduler", "triggerer", "dag_processor")
                  if told.get(part, {}).get("status") != "healthy"]  # fmt: skip
        # The metadatabase is PostgreSQL; the worker is asked by way of Redis (its own health check imports Airflow).
        return [*found, *(["airflow-worker"] if not self._worker_answers() else [])]

    def cut(self, one: str, other: str, seconds: float) -> None:
        with cut(self.native.containers[one], self.native.containers[other]):
            time.sleep(seconds)

    def gone(self, service: str, seconds: float) -> None:
        """SIGKILL, and nobody starts it again for so long."""
        with self._starting:  # whom the engine is starting just now is killed when that is done
            self.away.add(service)
        try:
            self.native.containers[service].kill()
            time.sleep(seconds)
        finally:
            self.away.discard(service)

    def _worker_answers(self) -> bool:
        word = (self.native.folder / "compose" / "secrets" / "password-redis").read_text()
        broker = f"redis://learnloop:{word}@127.0.0.1:{self.port('redis', 6379)}/0"
        with Celery(broker=broker, set_as_current=False) as asking:
            try:
                return bool(asking.control.ping(destination=["celery@airflow-worker"], timeout=5))
            except (OSError, OperationalError, RedisError):
                return False

    def _unmount(self) -> None:
        for disk in (self.s3_disk, self.store):
            if os.path.ismount(disk):
                unmount(disk)

    def _database(self, name: str) -> str:
        word = (self.native.folder / "compose" / "secrets" / f"password-{name}").read_text()
        return psycopg.conninfo.make_conninfo(
            host="127.0.0.1", port=self.port("postgres", 5432), user=name, password=word, dbname=name, connect_timeout=5
        )

    def _with_a_clock(self, name: str, container: Container) -> None:
        place = Path("/opt/clock")
        made = self.clocks[name] = clock.Clock(self.folder / "clocks" / name, place)
        container.mounts = {**container.mounts, str(place): (made.folder, False)}
        container.environment = {**container.environment, **made.environment}

    def _restart_who_ended(self) -> None:
        """What an engine does for ``restart: unless-stopped``."""
        while not self._end.wait(0.5):
            for name, container in self.native.containers.items():
                if self.native.services[name]["restart"] != "no" and not container.running:
                    self._restart(name, container)

    def _restart(self, name: str, container: Container) -> None:
        """What fails is tried again: this thread has to go on, or all that it has started ends with it."""
        with self._starting:
            if name in self.away or self._end.is_set():
                return
            try:
                container.start(self.native.switchboard)
            except Exception as error:  # noqa: BLE001 - whatever it is; none of the container is left
                self.troubles.append(f"the engine could not start {name}: {error!r}")

    def _get(self, url: str) -> httpx.Response | None:
        try:
            answer = httpx.get(url, timeout=5)
        except httpx.HTTPError:
            return None
        return answer if answer.status_code == 200 else None
