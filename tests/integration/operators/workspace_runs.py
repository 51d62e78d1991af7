"""Runs `workspace_training` with `dag.test()` again and again in one process, and prints what each run came to.

`python workspace_runs.py DATASET`, in an environment with an Airflow database and Learnloop's. Between the runs it does
what people do: changes files in a workspace, and commits to the shared line.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from learnloop.database import session
from learnloop.datasets import locks, workspaces
from learnloop.datasets.store import Store
from learnloop.datasets.versions import get_dataset
from learnloop.settings import settings

DAGS = Path(__file__).parents[3] / "dags"
ME = "dag_test"  # whom `dag.test()` takes for the one who triggered the run
PLENTY = workspaces.Quota(9, 2**30)


def load(dag_id: str) -> Any:
    from airflow.dag_processing.dagbag import BundleDagBag

    bag = BundleDagBag(dag_folder=DAGS / f"{dag_id}.py", bundle_path=DAGS, bundle_name="dags-folder")
    if bag.import_errors:
        sys.exit(f"{dag_id} does not load: {bag.import_errors}")
    return bag.dags[dag_id]


def run(label: str, **conf: Any) -> dict[str, Any]:
    done = load("workspace_training").test(run_conf=conf)  # loaded anew: `test` leaves the conf in the DAG's params
    tasks = {task.task_id: task for task in done.get_task_instances()}
    told: dict[str, Any] = {"label": label, "state": str(done.state), "run_id": done.run_id}
    told["tasks"] = {name: str(task.state) for name, task in tasks.items()}
    for name in ("read_lease", "workspace", "commit", "train", "snapshot_results", "merge_or_branch"):
        told[name] = tasks[name].xcom_pull(task_ids=name)
    told["workspace_there"] = told["workspace"] is not None and Path(told["workspace"]["path"]).exists()
    print("RUN", json.dumps(told), flush=True)
    return told


def work(owner: str, name: str, version: str, sample: str, label: str | None) -> workspaces.Workspace:
    """Make a workspace and give one sample another label in it."""
    made = workspaces.create(
        session, Store(settings().store), version, owner=owner, name=name, namespaces=settings().namespaces, quota=PLENTY
    )  # fmt: skip
    path = Path(made.path) / "annotations.parquet"
    table = pq.read_table(path)
    labels = [
        label if row["sample_id"] == sample else row["label"] for row in table.select(["sample_id", "label"]).to_pylist()
    ]  # fmt: skip
    column = table.schema.get_field_index("label")
    pq.write_table(table.set_column(column, table.schema.field("label"), [labels]), path)
    return made


def share(owner: str, made: workspaces.Workspace, dataset: str) -> None:
    """Commit a workspace to the shared line."""
    with session() as db:
        lock = locks.acquire_write(db, get_dataset(db, dataset), owner, timedelta(minutes=1))
    workspaces.commit(session, Store(settings().store), made.name, owner=owner, message="shared", token=lock.token)
    with session() as db:
        locks.release(db, get_dataset(db, dataset), lock.token)


def main(dataset: str) -> None:
    head = run("nothing changed", dataset=dataset)["read_lease"]["version"]

    work(ME, "mine", head, "s000", "bright")
    run("changed", dataset=dataset, workspace="mine", message="s000 is bright")

    with session() as db:
        head = get_dataset(db, dataset).head.name
    work(ME, "against", head, "s001", "dark")
    share("ana", work("ana", "hers", head, "s001", None), dataset)
    run("contradicted", dataset=dataset, workspace="against")

    run("failed", dataset=dataset, annotations="/nowhere.parquet")
    run("not mine", dataset=dataset, workspace="hers")
    run("kept", dataset=dataset, keep=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
