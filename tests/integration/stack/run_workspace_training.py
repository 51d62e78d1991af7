"""Runs `workspace_training` with `dag.test()` for two people who disagree about some labels.

`python run_workspace_training.py FOLDER`, in an environment with Learnloop's and Airflow's settings. A dataset of digits
is written into FOLDER; each person gives labels in a file of their own, the second after the first was merged but from
the version before. Prints what each run's tasks returned, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from run_dags import load

from learnloop.database import session
from learnloop.datasets.contents import annotations_of
from learnloop.datasets.preprocess import preprocess
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.settings import settings
from learnloop.stack.demo import digits

NAME = "digits-apart"
TASKS = ("read_lease", "workspace", "commit", "train", "evaluate", "snapshot_results", "merge_or_branch")


def base(folder: Path) -> tuple[str, list[str]]:
    """The name of a preprocessed version, and the ids of three of its training samples."""
    data = digits.write(folder, NAME, budget=20)
    store = Store(settings().store)
    with session() as db:
        version = preprocess(db, store, snapshot(db, store, data.dataset, owner="ana"), owner="ana")
        rows = annotations_of(store, version).to_pylist()
        return version.name, [row["sample_id"] for row in rows if row["split"] == "train"][:3]


def run(version: str, labels: Path, **conf: Any) -> dict[str, Any]:
    done = load("workspace_training").test(
        run_conf={"dataset": NAME, "version": version, "annotations": str(labels), **conf}
    )
    tasks = {task.task_id: task for task in done.get_task_instances()}
    states = {name: str(task.state) for name, task in tasks.items()}
    if str(done.state) != "success":
        sys.exit(f"ended as {done.state}: {states}")
    return {"states": states, **{name: tasks[name].xcom_pull(task_ids=name) for name in TASKS}}


def main(folder: str) -> None:
    version, samples = base(Path(folder) / "digits")
    answers = []
    for label in ("3", "7"):
        labels = Path(folder) / f"labels-{label}.parquet"
        pq.write_table(pa.table({"sample_id": samples, "label": [label] * len(samples)}), labels)
        answers.append(run(version, labels, trainer={"hidden": [16]}, message=f"they are all {label}"))
    print("ANSWERS", json.dumps(answers, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
