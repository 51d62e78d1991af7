"""`workspace_training` from the lease to the merge, and to the branch, on real data with `dag.test()`.

Nothing is served and nobody logs in, so that it needs no running stack: an Airflow database of its own, and Learnloop's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from learnloop.database import Lock, MergeRequest, Workspace
from learnloop.datasets.store import Store
from learnloop.datasets.versions import get_dataset, get_version

pytestmark = pytest.mark.timeout(600)

SCRIPT = Path(__file__).with_name("run_workspace_training.py")
ROOT = Path(__file__).parents[3]


def airflow_environment(folder: Path, database_url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEARNLOOP_", "AIRFLOW"))}
    return {
        **kept,
        "LEARNLOOP_HOME": str(folder / "home"),
        "LEARNLOOP_DATABASE_URL": database_url,
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    }


def test_the_first_is_merged_and_who_disagrees_gets_a_branch(db, database_url: str, tmp_path: Path) -> None:
    environment = airflow_environment(tmp_path, database_url)
    migrated = subprocess.run(
        [str(Path(sys.executable).parent / "airflow"), "db", "migrate"],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert migrated.returncode == 0, migrated.stderr[-4000:]
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)], env=environment, capture_output=True, text=True, timeout=500
    )
    assert ran.returncode == 0, f"{ran.stderr[-4000:]}\n{ran.stdout[-6000:]}"
    line = next(line for line in ran.stdout.splitlines() if line.startswith("ANSWERS "))
    first, second = json.loads(line.removeprefix("ANSWERS "))

    dataset = get_dataset(db, "digits-apart")
    base = get_version(db, first["read_lease"]["version"])
    for answer in (first, second):
        assert set(answer["states"].values()) == {"success"}
        personal = get_version(db, answer["commit"]["version"])
        assert personal.personal_to is not None
        assert personal.parents == [base]
        assert answer["train"]["result"]["params"]["hidden"] == [16]
        assert answer["evaluate"]["result"]["candidate"]["accuracy"] > 0.5
        assert Path(answer["train"]["models_dir"]).is_relative_to(tmp_path / "home" / "namespaces" / "models")
        store = Store(tmp_path / "home" / "store")
        assert "model/MLmodel" in store.read_tree(answer["snapshot_results"]["model"])
        assert not Path(answer["workspace"]["path"]).exists()
    assert first["merge_or_branch"]["state"] == "merged"
    assert dataset.head.name == first["merge_or_branch"]["version"]
    assert second["merge_or_branch"]["state"] == "open"
    (waiting,) = db.scalars(select(MergeRequest).where(MergeRequest.state == "open"))
    assert waiting.theirs.name == second["merge_or_branch"]["version"]
    assert waiting.theirs.personal_to is None
    for table in (Workspace, Lock):
        assert db.scalar(select(func.count()).select_from(table)) == 0
