"""A run of `workspace_training` that fails gives back what it held, and nobody gets into another's workspace by it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from dataset_folders import write_dataset
from sqlalchemy import func, select
from test_workspace_training import airflow_environment

from learnloop.database import DatasetVersion, Lock, session
from learnloop.datasets import workspaces
from learnloop.datasets.preprocess import preprocess
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store

pytestmark = pytest.mark.timeout(600)

RUN = """
import json, sys
sys.path.insert(0, sys.argv[1])
from run_dags import load

for conf in json.loads(sys.argv[2]):
    done = load("workspace_training").test(run_conf=conf)
    tasks = {task.task_id: task for task in done.get_task_instances()}
    print("RUN", json.dumps({
        "states": {name: str(task.state) for name, task in tasks.items()},
        "workspace": tasks["workspace"].xcom_pull(task_ids="workspace"),
    }))
"""


def test_a_failed_run_leaves_nothing(db, database_url: str, tmp_path: Path) -> None:
    environment = airflow_environment(tmp_path, database_url)
    store, namespaces = Store(tmp_path / "home" / "store"), tmp_path / "home" / "namespaces"
    folder = write_dataset(tmp_path / "lamps", samples=20)
    head = preprocess(db, store, snapshot(db, store, folder, owner="ana"), owner="ana")
    db.commit()
    hers = workspaces.create(
        lambda: session(database_url), store, head.name, owner="ana", name="hers", namespaces=namespaces,
        quota=workspaces.Quota(1, 2**30),
    )  # fmt: skip
    confs = [
        {"dataset": "lamps", "annotations": "/nowhere/labels.parquet"},
        {"dataset": "lamps", "workspace": "hers"},
    ]
    airflow = str(Path(sys.executable).parent / "airflow")
    subprocess.run([airflow, "db", "migrate"], env=environment, check=True, capture_output=True, timeout=300)
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(Path(__file__).parent), json.dumps(confs)],
        env=environment, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert ran.returncode == 0, f"{ran.stderr[-4000:]}\n{ran.stdout[-6000:]}"
    lines = [line.removeprefix("RUN ") for line in ran.stdout.splitlines() if line.startswith("RUN ")]
    wrong, others = (json.loads(line) for line in lines)

    assert (wrong["states"]["commit"], wrong["states"]["train"]) == ("failed", "upstream_failed")
    assert (wrong["states"]["discard_workspace"], wrong["states"]["release_lease"]) == ("success", "success")
    assert not Path(wrong["workspace"]["path"]).exists()
    assert "/nowhere/labels.parquet is outside the allowed roots" in ran.stdout + ran.stderr

    assert (others["states"]["workspace"], others["states"]["release_lease"]) == ("failed", "success")
    assert "has no workspace 'hers'" in ran.stdout + ran.stderr
    assert sorted(path.name for path in Path(hers.path).iterdir()) == sorted(
        {path.split("/")[0] for path in store.read_tree(head.tree)}
    )

    db.expire_all()
    assert db.scalar(select(func.count(Lock.id))) == 0
    assert db.scalar(select(func.count(DatasetVersion.id)).where(DatasetVersion.personal_to.is_not(None))) == 0
    owners = db.scalars(select(workspaces.Workspace.owner))
    assert list(owners) == ["ana"]
