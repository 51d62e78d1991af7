"""The services of docker-compose.yaml as the campaign has them: S3 on a small disk, and an engine that does not give up."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config
from campaign.compose import HOME, ComposeWorld, impossible
from campaign.disks import filled
from namespaces import Container
from waits import eventually

pytestmark = [pytest.mark.long, pytest.mark.skipif(bool(impossible()), reason=impossible() or "possible")]


@pytest.fixture
def world() -> Iterator[ComposeWorld]:
    made = ComposeWorld()
    yield made
    made.close(keep=False)
    assert not made.folder.exists()


def test_the_s3_server_stores_objects_on_its_small_disk(world: ComposeWorld) -> None:
    world.native.containers["s3"].start(world.native.switchboard)
    eventually(lambda: world._get(world.address("s3", 8333) + "/healthz"), seconds=90)
    (first, *_) = json.loads((world.native.folder / "compose" / "secrets" / "s3.json").read_text())["identities"]
    keys = first["credentials"][0]
    client = boto3.client(
        "s3", endpoint_url=world.address("s3", 8333), aws_access_key_id=keys["accessKey"],
        aws_secret_access_key=keys["secretKey"], region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )  # fmt: skip
    client.create_bucket(Bucket="tried")
    client.put_object(Bucket="tried", Key="one", Body=b"x" * 100_000)
    assert client.get_object(Bucket="tried", Key="one")["Body"].read() == b"x" * 100_000


def _runs(container: Container) -> bool:
    """Whether it has come to its command: before that its places are being mounted."""
    try:
        return "sleep" in [process.name() for process in container.inside().children()]
    except LookupError:
        return False


def test_the_stores_disk_is_full_for_who_writes_to_it_inside_a_container(world: ComposeWorld) -> None:
    worker = world.native.containers["airflow-worker"]
    worker.command = ["sleep", "600"]
    worker.start(world.native.switchboard)
    written = ["dd", "if=/dev/zero", f"of={HOME}/store/mine", "bs=8192", "count=1"]
    eventually(lambda: _runs(worker), seconds=30)
    assert worker.run(written).returncode == 0
    filler = threading.Thread(target=filled, args=(world.store, 20))
    filler.start()
    eventually(lambda: os.statvfs(world.store).f_bavail == 0, seconds=15)
    refused = worker.run([*written[:2], f"of={HOME}/store/another", *written[3:]])
    assert "No space left" in refused.stderr
    assert worker.run(["touch", str(HOME / "beside")]).returncode == 0
    filler.join()
    assert worker.run([*written[:2], f"of={HOME}/store/another", *written[3:]]).returncode == 0


def test_a_container_that_the_engine_cannot_start_is_noted_and_tried_again(world: ComposeWorld) -> None:
    redis = world.native.containers["redis"]
    right = redis.addresses
    redis.addresses = {"back": "172.30.72.999/24"}
    world._restart("redis", redis)
    assert not redis.running
    assert len(world.troubles) == 1
    assert world.troubles[0].startswith("the engine could not start redis: ")
    redis.addresses = right
    world._restart("redis", redis)
    assert redis.running
    assert len(world.troubles) == 1
    world.gone("redis", 0)
    assert not redis.running
