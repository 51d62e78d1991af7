"""The S3 server that the store is pushed to: started, killed, hung, slowed down, its disk filled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from s3_server import free_ports

from .disks import small_disk, unmount

KEY, SECRET = "writer-key", "writer-secret"
DISK_MIB = 256


class S3Server:
    """SeaweedFS on ports that stay the same when it is started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.small_disk = small_disk(folder / "data", DISK_MIB)
        writer = {"name": "writer", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [writer]}))
        names = ["master", "volume", "filer", "s3"]
        self._ports = dict(zip([*names, *(f"{name}.grpc" for name in names)], free_ports(8), strict=True))
        self.endpoint = f"http://127.0.0.1:{self._ports['s3']}"
        self.start()
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

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

    def close(self) -> None:
        self.kill()
        if self.small_disk:
            unmount(self.folder / "data")

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
