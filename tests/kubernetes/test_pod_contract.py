"""The contract of job runners, kept by pods on a real cluster."""

from pathlib import Path

import pytest
from cluster_tools import Cluster
from job_contract import JobContract


@pytest.fixture
def runner(cluster: Cluster) -> str:
    return "python"


@pytest.fixture
def results(cluster: Cluster) -> Path:
    return cluster.home / "namespaces" / "results"


class TestPods(JobContract):
    pass
