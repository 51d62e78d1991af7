"""The contract of mounts, kept by claims, pods and staged objects on a real cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster_tools import Cluster
from mount_contract import MountContract, write_table

from learnloop.mounts.providers import PROVIDERS
from learnloop.settings import settings

pytestmark = pytest.mark.long

CLASSES = {"nfs": "shared-nfs", "ceph_file": "shared-nfs", "ceph_block": "ceph-block"}
"""Of the test cluster; for what is not named here, ``local-ssd``. All of them are folders of this machine."""


@pytest.fixture
def python() -> str:
    return "python"


@pytest.fixture(params=sorted(PROVIDERS))
def provider(request: pytest.FixtureRequest, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    path = cluster.home / "storage-classes.yaml"
    url = (cluster.home / "objects").as_uri()
    write_table(path, request.param, CLASSES.get(request.param, "local-ssd"), url)
    monkeypatch.setenv("LEARNLOOP_STORAGE_CLASSES", str(path))
    settings.cache_clear()
    yield request.param
    assert cluster.pods() == []


class TestClaims(MountContract):
    pass
