"""The operators of `workspace_training` but for the training, run as Airflow runs them, each tried twice."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_folders import write_dataset
from sqlalchemy import func, select

from learnloop.database import DatasetVersion, MergeRequest, Workspace, engine, session
from learnloop.datasets import locks, reading, workspaces
from learnloop.datasets.contents import annotations_of
from learnloop.datasets.preprocess import preprocess
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.datasets.versions import get_version, head_of
from learnloop.errors import InvalidDataset, InvalidInput, NotFound
from learnloop.settings import settings


@pytest.fixture
def store(tmp_path, database_url, monkeypatch):
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    settings.cache_clear()
    engine.cache_clear()
    yield Store(settings().store)
    engine().dispose()
    settings.cache_clear()
    engine.cache_clear()


@pytest.fixture
def head(db, store, tmp_path):
    """Sixteen labelled samples, preprocessed."""
    made = preprocess(db, store, snapshot(db, store, write_dataset(tmp_path / "lamps", 16), owner="ana"), owner="ana")
    db.commit()
    return made


@pytest.fixture
def trained(db, store, head):
    """The ids of two training samples."""
    rows = annotations_of(store, head).to_pylist()
    return [row["sample_id"] for row in rows if row["split"] == "train"][:2]


@cache
def operators():
    from learnloop_airflow.operators import workspace

    return workspace


def labels_file(path: Path, labels: dict[str, str]) -> str:
    pq.write_table(pa.table({"sample_id": list(labels), "label": list(labels.values())}), path)
    return str(path)


class Run:
    """One DAG run of a person; each task is executed twice, as after a worker that died before it could say so."""

    def __init__(self, user: str, run_id: str = "manual__1") -> None:
        self.context = {"dag_run": SimpleNamespace(triggering_user_name=user), "run_id": run_id}

    def do(self, kind: str, **arguments: object) -> object:
        first, second = (getattr(operators(), kind)(task_id="t", **arguments).execute(self.context) for _ in "12")
        if kind not in ("ReadLeaseOperator", "DiscardWorkspaceOperator", "ReleaseReadOperator"):
            assert first == second
        return first

    def start(self, **arguments: object) -> tuple[object, object]:
        lease = self.do("ReadLeaseOperator", dataset="lamps")
        return lease, self.do("WorkspaceOperator", pin=lease, **arguments)


def label_of(db, store, version, sample: str) -> str:
    db.expire_all()
    return {row["sample_id"]: row["label"] for row in annotations_of(store, version).to_pylist()}[sample]


def test_a_run_ends_in_the_head_and_leaves_nothing(db, store, head, trained, tmp_path) -> None:
    run = Run("bo")
    lease, workspace = run.start()
    assert Path(workspace["path"]).is_relative_to(settings().namespaces / "data" / "bo")
    assert reading.readers(db, head)[0].owner == "bo"
    given = labels_file(tmp_path / "labels.parquet", {trained[0]: "bright", trained[1]: "dark"})
    pinned = run.do("CommitWorkspaceOperator", workspace=workspace, annotations=given, message="better")
    version = get_version(db, pinned["version"])
    assert (version.personal_to, version.parents, version.message) == ("bo", [head], "better")
    assert db.scalar(select(func.count()).where(DatasetVersion.personal_to == "bo")) == 1
    done = run.do("MergeOrBranchOperator", pin=pinned)
    assert done["state"] == "merged"
    merged = head_of(db, head.dataset)
    assert (merged.name, merged.parents) == (done["version"], [head, version])
    assert [label_of(db, store, merged, sample) for sample in trained] == ["bright", "dark"]
    assert run.do("DiscardWorkspaceOperator", workspace=workspace) is True
    assert not Path(workspace["path"]).exists()
    assert run.do("ReleaseReadOperator", lease=lease) is True
    assert db.scalar(select(func.count(Workspace.id))) == 0


def test_nothing_changed_is_nothing_to_merge(db, store, head) -> None:
    run = Run("bo")
    _, workspace = run.start()
    pinned = run.do("CommitWorkspaceOperator", workspace=workspace)
    assert pinned["version"] == head.name
    assert run.do("MergeOrBranchOperator", pin=pinned)["state"] == "unchanged"
    assert head_of(db, head.dataset) == head


def test_of_two_people_the_second_gets_a_branch_where_they_disagree(db, store, head, trained, tmp_path) -> None:
    pins = {}
    for user, label in (("bo", "bright"), ("cy", "dark")):
        run = Run(user, f"manual__{user}")
        _, workspace = run.start()
        given = labels_file(tmp_path / f"{user}.parquet", {trained[0]: label})
        pins[user] = run.do("CommitWorkspaceOperator", workspace=workspace, annotations=given)
    first = Run("bo", "manual__bo").do("MergeOrBranchOperator", pin=pins["bo"])
    second = Run("cy", "manual__cy").do("MergeOrBranchOperator", pin=pins["cy"])
    assert (first["state"], second["state"]) == ("merged", "open")
    assert second["conflicts"] > 0
    (waiting,) = db.scalars(select(MergeRequest).where(MergeRequest.state == "open"))
    assert (waiting.id, waiting.theirs.name) == (second["merge"], second["version"])
    assert waiting.theirs.personal_to is None  # everybody sees what they are asked about
    assert waiting.theirs.tree == get_version(db, pins["cy"]["version"]).tree
    assert label_of(db, store, head_of(db, head.dataset), trained[0]) == "bright"


def test_who_has_the_write_lock_is_not_waited_for(db, store, head, trained, tmp_path) -> None:
    run = Run("bo")
    _, workspace = run.start()
    given = labels_file(tmp_path / "labels.parquet", {trained[0]: "dark"})
    pinned = run.do("CommitWorkspaceOperator", workspace=workspace, annotations=given)
    token = locks.acquire_write(db, head.dataset, "cy", timedelta(minutes=5)).token
    db.commit()
    done = run.do("MergeOrBranchOperator", pin=pinned)
    assert (done["state"], done["conflicts"]) == ("open", 0)
    assert head_of(db, head.dataset) == head
    locks.release(db, head.dataset, token)
    db.commit()
    assert run.do("MergeOrBranchOperator", pin=pinned)["merge"] == done["merge"]


def test_a_workspace_of_ones_own_is_used_and_stays(db, store, head) -> None:
    namespaces, quota = settings().namespaces, workspaces.Quota(3, 2**30)
    made = workspaces.create(session, store, head.name, owner="bo", name="mine", namespaces=namespaces, quota=quota)
    (Path(made.path) / "notes.txt").write_text("what bo found out")
    run = Run("bo")
    _, workspace = run.start(name="mine")
    pinned = run.do("CommitWorkspaceOperator", workspace=workspace)
    version = get_version(db, pinned["version"])
    assert "notes.txt" in store.read_tree(version.tree)
    assert "recipe" in version.provenance  # it can be trained on
    assert run.do("DiscardWorkspaceOperator", workspace=workspace) is False
    assert Path(made.path).exists()
    with pytest.raises(NotFound, match="cy has no workspace 'mine'"):
        Run("cy").start(name="mine")


def test_a_workspace_to_be_kept_does_not_expire(db, store, head) -> None:
    run = Run("bo")
    _, workspace = run.start(keep=True)
    assert run.do("DiscardWorkspaceOperator", workspace=workspace, keep=True) is False
    assert workspaces.get(db, workspace["workspace"], owner="bo").expires_at is None
    _, other = Run("bo", "manual__2").start()
    assert workspaces.get(db, other["workspace"], owner="bo").expires_at is not None
    assert other["workspace"] != workspace["workspace"]


def test_wrong_labels_change_nothing(db, store, head, tmp_path) -> None:
    run = Run("bo")
    _, workspace = run.start()
    test = next(row["sample_id"] for row in annotations_of(store, head).to_pylist() if row["split"] == "test")
    given = labels_file(tmp_path / "labels.parquet", {test: "bright", "who": "bright"})
    before = (Path(workspace["path"]) / "annotations.parquet").read_bytes()
    with pytest.raises(InvalidDataset) as error:
        run.do("CommitWorkspaceOperator", workspace=workspace, annotations=given)
    assert test in str(error.value)
    assert "'who'" in str(error.value)
    assert (Path(workspace["path"]) / "annotations.parquet").read_bytes() == before
    with pytest.raises(InvalidInput, match="does not exist"):
        run.do("CommitWorkspaceOperator", workspace=workspace, annotations=str(tmp_path / "nothing"))


def test_upkeep_removes_what_a_teardown_missed(db, store, head) -> None:
    from learnloop_airflow.operators.maintenance import ReleaseLapsedOperator

    _, workspace = Run("bo").start(lasts=timedelta(microseconds=1))
    upkeep = ReleaseLapsedOperator(task_id="t")
    assert upkeep.execute({})["workspaces"] == 1
    assert not Path(workspace["path"]).exists()
    assert upkeep.execute({})["workspaces"] == 0
