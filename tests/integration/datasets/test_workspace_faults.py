"""What faults and time do to a workspace: it is never half there, and what is dead is removed, but no work with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from learnloop.database import DatasetVersion, Workspace
from learnloop.database.engine import session as open_session
from learnloop.datasets import workspace_removal, workspaces
from learnloop.datasets.turns import take_turn
from learnloop.datasets.workspace_removal import Removed, removed_at
from learnloop.datasets.workspaces import Quota
from learnloop.errors import Conflict

NOW = timedelta(0)


def test_upkeep_removes_what_expired(db, sessions, make) -> None:
    expired = make(name="short", lasts=timedelta(microseconds=1))
    kept = make(name="long", lasts=timedelta(days=1))
    assert workspace_removal.remove_dead(sessions, grace=NOW) == Removed(1, ())
    assert not Path(expired.path).exists()
    assert Path(kept.path).exists()
    assert [left.name for left in workspaces.list_workspaces(db, owner="bo")] == ["long"]


def test_upkeep_leaves_what_somebody_is_at_work_on(db, sessions, make) -> None:
    made = make(name="short", lasts=timedelta(microseconds=1))
    with sessions() as other:
        take_turn(other, workspace_removal.turn_of("bo", "short"))
        assert workspace_removal.remove_dead(sessions, grace=NOW) == Removed(0, ())
    assert Path(made.path).exists()
    assert workspace_removal.remove_dead(sessions, grace=NOW) == Removed(1, ())


def test_what_cannot_be_removed_is_named_and_keeps_nothing_else(sessions, make, tmp_path) -> None:
    stuck, other = (make(name=name, lasts=timedelta(microseconds=1)) for name in ("stuck", "other"))
    (tmp_path / "aside").mkdir()
    Path(stuck.path).rename(tmp_path / "aside" / "stuck")
    Path(stuck.path).write_text("a file where the folder was")
    removed = workspace_removal.remove_dead(sessions, grace=NOW)
    assert removed.removed == 1
    assert removed.failed[0].startswith("stuck of bo: ")
    assert not Path(other.path).exists()
    Path(stuck.path).unlink()
    assert workspace_removal.remove_dead(sessions, grace=NOW) == Removed(1, ())


def test_what_a_person_may_have_changed_is_kept_for_a_grace_period(db, sessions, make, store) -> None:
    week, moment = timedelta(days=7), timedelta(microseconds=1)
    made, looked_at, of_run = (
        make(lasts=moment),
        make(name="look", lasts=moment, writable=False),
        make(name="run", lasts=moment, key="run-1"),
    )
    assert removed_at(made, week) == made.expires_at + week
    assert removed_at(looked_at, week) == looked_at.expires_at
    assert removed_at(make(name="stays"), week) is None
    (Path(made.path) / "notes.txt").write_text("the work of a day")
    assert workspace_removal.remove_dead(sessions, grace=week) == Removed(2, ())
    assert not Path(looked_at.path).exists()
    assert not Path(of_run.path).exists()
    version = workspaces.commit(sessions, store, "mine", owner="bo", message="in time")
    assert "notes.txt" in store.read_tree(version.tree)
    db.execute(update(Workspace).where(Workspace.name == "mine").values(expires_at=func.now() - week))
    db.commit()
    assert workspace_removal.remove_dead(sessions, grace=week) == Removed(1, ())
    assert not Path(made.path).exists()
    assert [left.name for left in workspaces.list_workspaces(db, owner="bo")] == ["stays"]


SCRIPT = """
import sys
from functools import partial
from pathlib import Path
from learnloop.database.engine import session
from learnloop.datasets import workspace_removal, workspaces
from learnloop.datasets.store import Store
url, store, namespaces, version, act = sys.argv[1:]
sessions = partial(session, url)
made = workspaces.create(sessions, Store(Path(store)), version, owner="bo", name="mine", key="run-1",
                         namespaces=Path(namespaces), quota=workspaces.Quota(5, 2**30))
if act == "commit":
    (Path(made.path) / "notes.txt").write_text("new")
    workspaces.commit(sessions, Store(Path(store)), made.name, owner="bo", message="m")
if act == "discard":
    workspace_removal.discard(sessions, "mine", owner="bo")
"""


def _run_script(url, store, folder, head, act, **environment) -> subprocess.CompletedProcess[bytes]:
    arguments = [sys.executable, "-c", SCRIPT, url, str(store.root), str(folder / "names"), head.name, act]
    return subprocess.run(arguments, env={**os.environ, **environment}, timeout=100)


@pytest.mark.parametrize(
    ("point", "act"),
    [
        ("workspace.row-written", "create"),
        ("workspace.files-placed", "create"),
        ("workspace.renamed", "create"),
        ("workspace.objects-written", "commit"),
        ("workspace.version-written", "commit"),
        ("workspace.discarding", "discard"),
        ("workspace.files-removed", "discard"),
    ],
)
def test_killed_at_any_step_a_retry_ends_the_same(db, database_url, store, head, tmp_path, point, act) -> None:
    run = partial(_run_script, database_url, store, tmp_path, head, act)
    assert run(LEARNLOOP_FAULT=point).returncode == -signal.SIGKILL
    seen = [made.state for made in workspaces.list_workspaces(db, owner="bo")]
    assert seen in (["creating"], ["ready"], ["discarding"])
    db.rollback()
    if act == "discard":
        assert workspace_removal.discard(partial(open_session, database_url), "mine", owner="bo")
    else:
        assert run().returncode == 0
    versions = db.scalar(select(func.count()).where(DatasetVersion.personal_to == "bo"))
    assert versions == (1 if act == "commit" else 0)
    db.expire_all()
    left = workspaces.list_workspaces(db, owner="bo")
    assert [made.state for made in left] == ([] if act == "discard" else ["ready"])
    on_disk = sorted(path.name for path in (tmp_path / "names/data/bo/workspaces").iterdir())
    assert on_disk == ([] if act == "discard" else ["mine"])


@pytest.mark.parametrize(
    ("point", "act", "left"),
    [
        ("workspace.row-written", "create", []),
        ("workspace.files-placed", "create", []),
        ("workspace.renamed", "create", []),
        ("workspace.objects-written", "commit", ["mine"]),
        ("workspace.discarding", "discard", []),
        ("workspace.files-removed", "discard", []),
    ],
)
def test_upkeep_takes_away_what_a_killed_process_left(
    db, database_url, store, head, tmp_path, point, act, left
) -> None:
    killed = _run_script(database_url, store, tmp_path, head, act, LEARNLOOP_FAULT=point)
    assert killed.returncode == -signal.SIGKILL
    removed = workspace_removal.remove_dead(partial(open_session, database_url), grace=timedelta(days=7))
    assert removed == Removed(0 if left else 1, ())
    assert [made.name for made in workspaces.list_workspaces(db, owner="bo")] == left
    folder = tmp_path / "names/data/bo/workspaces"
    assert sorted(path.name for path in folder.glob("*")) == left


def _work(number: int, url: str, root: Path, namespaces: Path, version: str) -> str | None:
    from learnloop.database.engine import engine
    from learnloop.datasets.store import Store

    sessions, store = partial(open_session, url), Store(root)
    try:
        made = workspaces.create(
            sessions, store, version, owner="bo", name=f"w{number}", namespaces=namespaces, quota=Quota(4, 2**30)
        )
    except Conflict:
        return None
    (Path(made.path) / f"notes{number}.txt").write_text(str(number))
    name = workspaces.commit(sessions, store, made.name, owner="bo", message=str(number)).name
    engine(url).dispose()
    return name


def test_eight_processes_keep_the_quota_and_lose_nothing(db, database_url, store, head, tmp_path) -> None:
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        made = pool.starmap(
            _work, [(number, database_url, store.root, tmp_path / "names", head.name) for number in range(8)]
        )
    names = [name for name in made if name]
    assert len(names) == len(set(names)) == 4
    assert db.scalar(select(func.count()).where(DatasetVersion.personal_to == "bo")) == 4
