"""The stack that faults are put into: started, asked, mended, stopped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
from s3_server import free_ports

from learnloop.settings import Settings, load
from learnloop.stack.__main__ import running_environment
from learnloop.stack.initialise import set_users
from learnloop.stack.places import Places

KEY, SECRET = "writer-key", "writer-secret"
DISK_MIB = 160


class S3Server:
    """SeaweedFS on ports that stay the same when it is started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir(parents=True)
        writer = {"name": "writer", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [writer]}))
        names = ["master", "volume", "filer", "s3"]
        self._ports = dict(zip([*names, *(f"{name}.grpc" for name in names)], free_ports(8), strict=True))
        self.endpoint = f"http://127.0.0.1:{self._ports['s3']}"
        self.start()
        self._wait()

    def start(self) -> None:
        weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        names = ["master", "volume", "filer", "s3"]
        command = [
            str(weed), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder / 'data'}", "-filer", "-s3",
            f"-s3.config={self.folder / 's3.json'}", "-s3.iam=false", "-volume.max=100", "-master.volumeSizeLimitMB=64",
            "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
            *(f"-{name}.port={self._ports[name]}" for name in names),
            *(f"-{name}.port.grpc={self._ports[f'{name}.grpc']}" for name in names),
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def client(self) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(retries={"total_max_attempts": 1}, connect_timeout=3, read_timeout=10)
        return boto3.client("s3", endpoint_url=self.endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET,
                            region_name="us-east-1", config=config)  # fmt: skip

    def _wait(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        deadline = time.monotonic() + 60
        while True:
            try:
                self.client().create_bucket(Bucket="remote")
                return
            except (BotoCoreError, ClientError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


class World:
    """One stack in a folder of its own, with an S3 server when it is to have one."""

    s3: S3Server | None = None

    def __init__(
        self, mount: Callable[[Path, int], bool] | None = None, *, with_s3: bool = False, **settings: str
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ll-faults-", dir="/tmp"))  # short: socket paths end at 107 bytes
        self.data = Path(
            tempfile.mkdtemp(prefix="ll-faults-data-", dir="/tmp")
        )  # what people bring: not the platform's
        self.store = self.home / "store"
        self.small_disk = mount is not None and mount(self.store, DISK_MIB)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEARNLOOP_", "AIRFLOW"))}
        self.environment = {
            **kept,
            "LEARNLOOP_HOME": str(self.home),
            **{f"LEARNLOOP_RATE_{kind}": "0" for kind in ("READ", "WRITE", "CLAIM")},
        }
        if with_s3:
            self.s3 = S3Server(Path(tempfile.mkdtemp(prefix="ll-faults-s3-", dir="/tmp")))
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

    def up(self) -> None:
        for _ in range(3):  # on a busy machine it goes on starting after `up` has lost patience
            done = self.command("up", module="learnloop.stack")
            if done.returncode == 0:
                return
        raise RuntimeError(f"the stack did not start: {done.stdout[-2000:]} {done.stderr[-2000:]}")

    def down(self) -> None:
        self.command("down", module="learnloop.stack")

    def close(self, *, keep: bool) -> None:
        self.down()
        if self.s3 is not None:
            self.s3.kill()
        if self.small_disk:
            subprocess.run(["umount", "-l", str(self.store)], check=False)
        if not keep:
            for folder in (self.home, self.data, *([self.s3.folder] if self.s3 else [])):
                shutil.rmtree(folder, ignore_errors=True)

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
        return set_users(wanted, running_environment(places), places.logs / "roles.log")

    def unwell(self) -> list[str]:
        """What does not do its work; empty when all is well."""
        settings, found = self.settings, []
        for name, part in self.status()["components"].items():
            if not psutil.pid_exists(part["pid"]) or not part["healthy"]:
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
