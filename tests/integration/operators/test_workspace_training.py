"""`workspace_training` from lease to merge or branch, in real runs of Airflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dataset_folders import write_dataset
from sqlalchemy import func, select
from workspace_runs import ME

from learnloop.database import DatasetVersion, Lock, MergeRequest
from learnloop.datasets.contents import annotations_of
from learnloop.datasets.preprocess import preprocess
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.datasets.versions import get_version
from learnloop.datasets.workspaces import list_workspaces
from learnloop.jobs.namespace import user_folder

pytestmark = pytest.mark.timeout(800)

SCRIPT = Path(__file__).with_name("workspace_runs.py")


@pytest.fixture
def runs(db, database_url: str, tmp_path: Path) -> dict[str, dict]:
    """What each run of the script came to, by its label."""
    store = Store(tmp_path / "store")
    folder = write_dataset(tmp_path / "lamps", samples=40)
    preprocess(db, store, snapshot(db, store, folder, owner="ana"), owner="ana")
    db.commit()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEARNLOOP_", "AIRFLOW"))}
    environment = {
        **kept,
        "PYTHONPATH": os.pathsep.join(str(Path(name).resolve()) for name in ("include", "plugins", "tests")),
        "LEARNLOOP_HOME": str(tmp_path),
        "LEARNLOOP_DATABASE_URL": database_url,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path("dags").resolve()),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(Path("plugins").resolve()),
    }
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(migrate, env=environment, check=True, capture_output=True, timeout=200)
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), "lamps"], env=environment, capture_output=True, text=True, timeout=600
    )
    assert ran.returncode == 0, f"{ran.stdout[-4000:]}\n{ran.stderr[-4000:]}"
    told = [json.loads(line.removeprefix("RUN ")) for line in ran.stdout.splitlines() if line.startswith("RUN ")]
    return {one["label"]: one for one in told}


def test_personal_training_beside_others(db, runs, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    failed = {label for label, run in runs.items() if run["state"] != "success"}
    assert failed == {"failed", "not mine"}, {label: run["tasks"] for label, run in runs.items()}
    assert [run["tasks"]["discard_workspace"] for run in runs.values()].count("success") == len(runs) - 1
    assert runs["not mine"]["tasks"]["discard_workspace"] in ("skipped", "upstream_failed")
    assert {run["tasks"]["release_lease"] for run in runs.values()} == {"success"}
    assert db.scalar(select(func.count(Lock.id))) == 0

    # Nothing changed: the head is trained on, and nothing joins it. The model stays its owner's.
    run = runs["nothing changed"]
    assert run["commit"]["version"] == run["read_lease"]["version"] == "lamps_v1.1"
    assert run["merge_or_branch"]["state"] == "unchanged"
    models = tmp_path / "namespaces" / "models" / user_folder(ME)
    assert Path(run["train"]["models_dir"]).is_relative_to(models)
    kept = store.read_tree(run["snapshot_results"]["model"])
    assert store.read(kept["model/MLmodel"]) == (Path(run["train"]["models_dir"]) / "model" / "MLmodel").read_bytes()
    assert not run["workspace_there"]

    # A change that nothing contradicts: trained on as a personal version, then merged into the head.
    run = runs["changed"]
    trained_on = get_version(db, run["commit"]["version"])
    assert (trained_on.personal_to, trained_on.message) == (ME, "s000 is bright")
    assert labels(store, trained_on)["s000"] == "bright"
    merged = get_version(db, run["merge_or_branch"]["version"])
    assert run["merge_or_branch"]["state"] == "merged"
    assert [parent.name for parent in merged.parents] == ["lamps_v1.1", trained_on.name]
    assert labels(store, merged)["s000"] == "bright"
    assert run["workspace_there"]  # it was there before the run

    # Somebody took the same sample's label away meanwhile: a branch, and a request that stays.
    run = runs["contradicted"]
    assert (run["merge_or_branch"]["state"], run["merge_or_branch"]["conflicts"]) == ("open", 1)
    branch = get_version(db, run["merge_or_branch"]["version"])
    assert (branch.personal_to, branch.tree) == (None, run["commit"]["tree"])
    request = db.get_one(MergeRequest, run["merge_or_branch"]["merge"])
    assert (request.state, request.theirs) == ("open", branch)
    head = branch.dataset.head
    assert head.owner == "ana"
    assert (labels(store, head)["s001"], labels(store, branch)["s001"]) == (None, "dark")

    # A run that failed left nothing, nobody trains in another's workspace, and what is to be kept is.
    assert (runs["failed"]["tasks"]["commit"], runs["failed"]["workspace_there"]) == ("failed", False)
    assert (runs["not mine"]["tasks"]["workspace"], runs["not mine"]["workspace"]) == ("failed", None)
    assert runs["kept"]["workspace_there"]
    left = {workspace.name for workspace in list_workspaces(db, owner=ME)}
    assert left == {"mine", "against", runs["kept"]["workspace"]["workspace_name"]}
    assert [workspace.name for workspace in list_workspaces(db, owner="ana")] == ["hers"]


def labels(store: Store, version: DatasetVersion) -> dict[str, str | None]:
    rows = annotations_of(store, version).select(["sample_id", "label"]).to_pylist()
    return {row["sample_id"]: row["label"] for row in rows}
