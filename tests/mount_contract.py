"""What every provider of mounts promises, as one suite: `MountContract`, which a test file of each home subclasses.

Mounts are made, used and removed by the operators, as in a run: ``python`` and ``stores`` are fixtures, the Python that jobs
start with, and what brings a storage class of a provider into the table (by a function of ours, `write_table`).
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from job_sources import spec
from job_tasks import Task

from learnloop.errors import InvalidInput, PermissionDenied
from learnloop.mounts.providers import PROVIDERS
from learnloop_airflow.mounts.home import home, remove_pipeline_mounts
from learnloop_airflow.operators.mounts import MountsOperator, RemoveMountsOperator

WRITE = """
import os
from pathlib import Path
from learnloop.jobs.contract import Job
job = Job.current()
place = Path(os.environ["MOUNT_SPACE"])
seen = sorted(path.name for path in place.iterdir())
(place / job.params["write"]).write_text("x" * 1000)
job.finish({"seen": seen, "place": str(place)})
"""
LIST = """
import os
from learnloop.jobs.contract import Job
Job.current().finish({"seen": sorted(os.listdir(os.environ["MOUNT_SPACE"]))})
"""


class Run:
    """One run of ``ann``'s with a mount ``space`` in it."""

    def __init__(self, number: int, python: str, user: str = "ann", dag_id: str = "incremental_training") -> None:
        self.number, self.python, self.user, self.dag_id = number, python, user, dag_id
        self.run_id = f"round-digits-{number}"
        self.made: Any = None
        self.jobs = 0

    @property
    def context(self) -> Any:
        task = SimpleNamespace(
            dag_id=self.dag_id, run_id=self.run_id, task_id="mounts", map_index=-1, try_number=1, start_date=None
        )
        return {"ti": task, "dag_run": SimpleNamespace(triggering_user_name=self.user), "run_id": self.run_id}

    def prepare(self, ready_seconds: float = 60, **needs: Any) -> list[dict[str, Any]]:
        need = {"name": "space", "path": "/mnt/space", "size": "8Mi", **needs}
        operator = MountsOperator(task_id="mounts", mounts=[need], ready_seconds=ready_seconds)
        self.made = operator.execute(self.context)
        return self.made

    def job(self, code: str, **fields: Any) -> dict[str, Any]:
        self.jobs += 1
        job = spec(code, python=self.python, outputs=[], user=self.user, **fields)
        task = Task(job, run_id=self.run_id, task_id=f"job-{self.jobs}", mounts=self.made)
        return task.run()["result"]

    def write(self, name: str) -> dict[str, Any]:
        return self.job(WRITE, params={"write": name, "run": self.number, "job": self.jobs})

    def list(self) -> list[str]:
        return self.job(LIST, params={"run": self.number, "job": self.jobs})["seen"]

    def remove(self) -> list[str]:
        return RemoveMountsOperator(task_id="remove_mounts", mounts=self.made).execute(self.context)


def write_table(path: Path, provider: str, storage_class: str, url: str) -> None:
    """A table with one storage class, which can do whatever its provider can."""
    one: dict[str, Any] = {
        "provider": provider,
        "price": {"gib_month": 0.1},
        "latency_ms": 1,
        "iops": 5000,
        "mib_per_s": 500,
    }
    ways = PROVIDERS[provider].addressed
    if ways:
        one[ways[0]] = {"storage_class": storage_class, "url": url}[ways[0]]
    path.write_text(yaml.safe_dump({"currency": "USD", "classes": {"only": one}}))


class MountContract:
    """``provider`` (a fixture) is the name of the only provider there is."""

    def needs(self, provider: str) -> dict[str, Any]:
        """The least that this provider meets."""
        if provider == "s3":
            return {"performance": "cold", "lifetime": "pipeline"}
        return {"cache": True} if PROVIDERS[provider].only_caches else {}

    def test_jobs_of_a_run_share_what_its_end_takes_away(self, provider: str, python: str) -> None:
        run = Run(1, python)
        (made,) = run.prepare(**self.needs(provider))
        assert run.write("first")["seen"] == []
        assert run.prepare(**self.needs(provider)) == [{**made, "adopted": made["how"] != "pod"}]  # as a retry does
        shared = run.list()
        assert shared == ([] if made["how"] == "pod" else ["first"])
        run.remove()
        assert not [held for held in home().all() if held.record]
        assert run.remove() == []  # and again does no harm

    def test_what_outlives_a_run_is_there_in_the_next(self, provider: str, python: str) -> None:
        kept = [life for life in ("pipeline", "user") if life == "pipeline" or PROVIDERS[provider].durable]
        if PROVIDERS[provider].only_caches:
            with pytest.raises(InvalidInput, match="it is emptied with each pod"):
                Run(1, python).prepare(lifetime="pipeline")
            return
        for lifetime in kept:
            needs = {**self.needs(provider), "lifetime": lifetime}
            first, second = Run(1, python), Run(2, python)
            first.prepare(**needs)
            first.write("kept")
            first.remove()
            assert second.prepare(**needs)[0]["record"]["storage_class"] == "only"
            assert second.write("more")["seen"] == ["kept"]
            second.remove()
        assert len(remove_pipeline_mounts("incremental_training", user="bob")) == 0
        assert len(remove_pipeline_mounts("incremental_training")) == 1
        third = Run(3, python)
        third.prepare(**{**self.needs(provider), "lifetime": "pipeline"})
        assert third.list() == []
        third.remove()

    def test_nobody_uses_what_is_another_persons(self, provider: str, python: str) -> None:
        if PROVIDERS[provider].only_caches:
            return
        ann, bob = Run(1, python), Run(2, python, user="bob")
        ann.prepare(**self.needs(provider))
        ann.write("secret")
        bob.made = ann.made
        with pytest.raises(PermissionDenied, match=r"mount space: .* is not .*bob's"):
            bob.list()
        bob.prepare(**self.needs(provider))
        assert bob.list() == []
        ann.remove()
        bob.remove()
