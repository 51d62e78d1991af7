"""Mounts on one machine: folders of the same meaning as a cluster's claims; and what is staged from S3."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from job_sources import spec
from job_tasks import Task
from mount_contract import MountContract, Run, write_table
from s3_server import S3, client

from learnloop.database import session
from learnloop.database.engine import engine
from learnloop.errors import InvalidInput, NotFound, OutOfSpace, PermissionDenied, Unavailable
from learnloop.mounts.plans import of_run
from learnloop.settings import settings
from learnloop_airflow.mounts.home import home
from learnloop_airflow.mounts.orphans import sweep
from learnloop_airflow.operators.mounts import MountsOperator


@pytest.fixture
def python() -> str:
    return sys.executable


@pytest.fixture(autouse=True)
def one_machine(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    settings.cache_clear()
    engine.cache_clear()
    yield
    settings.cache_clear()
    engine.cache_clear()


@pytest.fixture(params=["empty_dir", "local_disk", "s3"])
def provider(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / "storage-classes.yaml"
    write_table(path, request.param, "any", (tmp_path / "objects").as_uri())
    monkeypatch.setenv("LEARNLOOP_STORAGE_CLASSES", str(path))
    settings.cache_clear()
    return request.param


class TestFolders(MountContract):
    pass


def _table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, provider: str, url: str) -> None:
    write_table(tmp_path / "table.yaml", provider, "any", url)
    monkeypatch.setenv("LEARNLOOP_STORAGE_CLASSES", str(tmp_path / "table.yaml"))
    settings.cache_clear()


def test_what_is_kept_on_s3_is_there_in_the_next_run_with_its_changes(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New, changed and removed files; a link that a job left leads nowhere; what is only read is not uploaded."""
    key, secret = s3.keys
    connection = {"conn_type": "aws", "login": key, "password": secret, "extra": {"endpoint_url": s3.endpoint}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    _table(monkeypatch, tmp_path, "s3", f"s3://{s3.bucket}/mounts")
    needs = {"performance": "cold", "lifetime": "user"}
    first = Run(1, sys.executable)
    files = Path(first.prepare(**needs)[0]["place"])
    (files / "sub").mkdir()
    for name in ("stays", "goes", "sub/changes"):
        (files / name).write_text("first")
    (files / "link").symlink_to("/etc/passwd")
    first.remove()
    assert not files.exists()
    keys = [entry["Key"] for entry in client(s3).list_objects_v2(Bucket=s3.bucket)["Contents"]]
    assert sorted(key.partition("/files/")[2] for key in keys if "/files/" in key) == ["goes", "stays", "sub/changes"]

    second = Run(2, sys.executable)
    files = Path(second.prepare(**needs)[0]["place"])
    (files / "sub" / "changes").write_text("second")
    (files / "goes").unlink()
    second.remove()
    third = Run(3, sys.executable)
    files = Path(third.prepare(**needs, access="read_only")[0]["place"])
    assert {path.relative_to(files).as_posix(): path.read_text() for path in files.rglob("*") if path.is_file()} == {
        "stays": "first",
        "sub/changes": "second",
    }
    (files / "stays").write_text("not to be")
    third.remove()
    fourth = Run(4, sys.executable)
    assert (Path(fourth.prepare(**needs)[0]["place"]) / "stays").read_text() == "first"
    Run(5, sys.executable).prepare(performance="cold", lifetime="pipeline", name="other", path="/mnt/other")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({**connection, "password": "wrong"}))
    (Path(fourth.made[0]["place"]) / "more").write_text("x")
    with pytest.raises(Unavailable, match="a mount could not be uploaded to s3://"):
        fourth.remove()
    swept = sweep(home(), lambda *_: False)
    assert (len(swept.failed), len(swept.removed)) == (2, 0)
    assert (Path(fourth.made[0]["place"]) / "more").exists()  # nothing is lost by that
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    assert len(fourth.remove()) == 1


def test_a_mount_that_cannot_be_takes_the_others_with_it(tmp_path: Path) -> None:
    """A setup that failed gets no teardown, so it leaves nothing itself; what was there before stays."""
    run = Run(1, sys.executable)
    run.prepare(name="before", path="/mnt/before")
    operator = MountsOperator(
        task_id="mounts",
        mounts=[
            {"name": "before", "path": "/mnt/before", "size": "8Mi"},
            {"name": "new", "path": "/mnt/new", "size": "8Mi"},
            {"name": "vast", "path": "/mnt/vast", "size": "4000Ti"},
        ],
    )
    with pytest.raises(OutOfSpace, match=r"mount vast needs 4000Ti, and \w+ are free"):
        operator.execute(run.context)
    assert [held.record.name for held in home().all() if held.record] == ["before"]


def test_what_exists_is_adopted_and_never_removed() -> None:
    run = Run(1, sys.executable)
    with pytest.raises(NotFound, match=r"mount space is to be the folder .*/mounts/ann/mine, and"):
        run.prepare(claim="mine", lifetime="user")
    mine = settings().namespaces / "mounts" / "ann" / "mine"
    mine.mkdir(parents=True)
    (mine / "old").write_text("x")
    run.prepare(claim="mine", lifetime="user")
    assert run.write("new")["seen"] == ["old"]
    run.remove()
    found = sweep(home(), lambda *_: False)
    assert found.removed == []
    assert found.unknown == [str(mine)]
    assert sorted(path.name for path in mine.iterdir()) == ["new", "old"]


def test_maintenance_removes_what_went_with_runs_that_have_ended() -> None:
    """The teardown of run 1 never ran; run 2 goes on; what is kept is kept."""
    runs = [Run(number, sys.executable) for number in (1, 2)]
    for run in runs:
        run.prepare()
    kept = Run(1, sys.executable)
    kept.prepare(name="kept", lifetime="user")
    done = sweep(home(), lambda dag_id, run_id: run_id == runs[1].run_id)
    assert done.removed == [str(Path(runs[0].made[0]["place"]).parent)]
    assert Path(runs[1].made[0]["place"]).is_dir()
    assert Path(kept.made[0]["place"]).is_dir()


def test_the_estimate_is_stored_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _table(monkeypatch, tmp_path, "local_disk", "")
    run = Run(1, sys.executable)
    with pytest.raises(OutOfSpace):
        run.prepare(size="4000Ti")
    run.prepare(size="1Gi", days=365.25)
    with session() as db:
        (found,) = of_run(db, "incremental_training", run.run_id)
    assert (found.owner, found.currency, found.cost) == ("ann", "USD", pytest.approx(1.2))
    assert found.plan["choices"][0]["storage_class"]["name"] == "only"


def test_a_mount_that_nobody_made_is_told() -> None:
    job = spec(python=sys.executable, mounts=[{"name": "space", "path": "/mnt/space", "size": "1Gi"}])
    with pytest.raises(InvalidInput, match="asks for mount space, which nobody has made: put a MountsOperator before"):
        Task(job).run()
    run = Run(1, sys.executable)
    run.prepare()
    with pytest.raises(InvalidInput, match="mount space was made for other needs"):
        Task(job, mounts=run.made).run()


def test_a_faulty_need_makes_nothing() -> None:
    with pytest.raises(InvalidInput, match=r"0\.size: String should match"):
        Run(1, sys.executable).prepare(size="lots")
    assert home().all() == []


def test_a_way_round_to_another_persons_mount_is_refused() -> None:
    ann, bob = Run(1, sys.executable), Run(2, sys.executable, user="bob")
    ann.prepare()
    bob.prepare()
    place = Path(bob.made[0]["place"]).parents[1] / ".." / "ann" / Path(ann.made[0]["place"]).parent.name / "files"
    bob.made[0]["place"] = str(place)
    with pytest.raises(PermissionDenied, match="is not among bob's mounts"):
        bob.list()
