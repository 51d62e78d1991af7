"""Pipelines applied, loaded as Airflow loads them, and run task by task without Airflow."""

from __future__ import annotations

import json
import sys
from collections import Counter
from types import SimpleNamespace
from typing import Any

from learnloop.database import PipelineVersion, session
from learnloop.pipelines.checking import limits_of
from learnloop.pipelines.inputs import missing
from learnloop.pipelines.stored import apply, check_text
from learnloop.settings import settings

JOB = """
import sys
from learnloop.jobs.contract import Job
from pathlib import Path
job = Job.current()
out = job.places.models / "model"
out.mkdir()
(out / "weights").write_text(str(sorted(p.name for p in job.places.data.iterdir())))
print("learning", job.params)
job.progress(epoch=1)
job.finish({"accuracy": job.params.get("accuracy", 0.5), "data": [p.name for p in job.places.data.iterdir()]}, [out])
"""


def python(*, code: str = JOB, **fields: Any) -> dict[str, Any]:
    """A stage that runs ``code`` with this Python."""
    return {"command": [sys.executable, "-c", code], "env": {"PYTHONPATH": ":".join(sys.path)}, **fields}


ONE = {"name": "one", "stages": {"a": {"module": "x.y", "params": {"n": 1}}}}


def put(declared: dict[str, Any] | str, *, user: str = "ana", personal: bool = False) -> PipelineVersion:
    text = declared if isinstance(declared, str) else json.dumps(declared)
    with session() as db:
        limits = limits_of(settings())
        checked = check_text(db, text, user=user, limits=limits, missing=missing(db, user))
        return apply(db, checked, user=user, personal=personal)


def bundle(version: str | None = None) -> Any:
    from learnloop_airflow.pipelines.bundle import PipelineBundle

    made = PipelineBundle(name="pipelines", version=version)
    made.initialize()
    return made


def dags_of(opened: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """As Airflow loads them: the DAGs by id, and the import errors."""
    from airflow.dag_processing.dagbag import BundleDagBag

    bag = BundleDagBag(dag_folder=opened.path, bundle_path=opened.path, bundle_name=opened.name)
    return dict(bag.dags), dict(bag.import_errors)


class Run:
    """One run of a DAG by a person: its tasks, one after the other, in an order that the DAG allows."""

    def __init__(self, dag: Any, *, user: str = "ana", run_id: str = "manual__1") -> None:
        self.dag, self.user, self.run_id = dag, user, run_id
        self.returned: dict[str, Any] = {}
        self.tries: Counter[str] = Counter()

    def context(self, task_id: str) -> Any:
        ti = SimpleNamespace(
            dag_id=self.dag.dag_id,
            run_id=self.run_id,
            task_id=task_id,
            map_index=-1,
            try_number=self.tries[task_id],
            xcom_pull=lambda task_ids: self.returned.get(task_ids),
        )
        run = SimpleNamespace(
            dag_id=self.dag.dag_id, run_id=self.run_id, triggering_user_name=self.user, clear_number=0, conf={}
        )
        return {"ti": ti, "dag_run": run, "run_id": self.run_id, "dag": self.dag}

    def do(self, task_id: str) -> Any:
        self.tries[task_id] += 1
        task = self.dag.get_task(task_id)
        if task_id == "remove_mounts":
            task.mounts = self.returned.get("make_mounts")  # as Airflow resolves an output
        self.returned[task_id] = task.execute(self.context(task_id))
        return self.returned[task_id]

    def all(self) -> dict[str, Any]:
        for task in self.dag.topological_sort():
            self.do(task.task_id)
        return self.returned
