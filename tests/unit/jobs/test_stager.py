"""The stager puts a job's inputs in place whole and checked, and keeps a job that is done from starting."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from learnloop.errors import Corrupted, InvalidInput, NotFound
from learnloop.jobs.contract import Job, Places
from learnloop.jobs.spec import JobSpec
from learnloop.jobs.stager import ALREADY_DONE, PLAN, Plan, Source, main, stage

SPEC = JobSpec(module="m", user="ann", params={"a": 1}, seed=7)


def add(store: Path, data: bytes, suffix: str = "") -> str:
    name = hashlib.md5(data).hexdigest() + suffix
    path = store / "files" / "md5" / name[:2] / name[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return name


def add_tree(store: Path, files: dict[str, bytes]) -> str:
    entries = [{"md5": add(store, data), "relpath": path} for path, data in files.items()]
    return add(store, json.dumps(entries).encode(), ".dir")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places.of(tmp_path / "namespaces", SPEC)


def test_trees_and_folders_are_staged(tmp_path: Path, places: Places) -> None:
    tree = add_tree(tmp_path / "store", {"dataset.yaml": b"name: x", "images/a.png": b"a", "images/b.png": b"b"})
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "weights").write_text("w")
    sources = {
        "dataset": Source(kind="tree", path=str(tmp_path / "store"), tree=tree, include=("*.yaml", "images/a*")),
        "parent": Source(kind="folder", path=str(folder)),
    }
    assert stage(Plan(spec=SPEC, sources=sources), places)
    found = {path.relative_to(places.data).as_posix() for path in places.data.rglob("*") if path.is_file()}
    assert found == {"dataset/dataset.yaml", "dataset/images/a.png", "parent/deep/weights"}
    assert Job(places).params == {"a": 1, "seed": 7}


def test_what_is_wrong_is_named(tmp_path: Path, places: Places) -> None:
    store = tmp_path / "store"
    tree = add_tree(store, {"a": b"aaaa"})
    damaged = next(path for path in store.rglob("*") if path.is_file() and path.suffix != ".dir")
    damaged.write_bytes(b"bbbb")

    def staging(**fields: object) -> None:
        source = Source.model_validate({"kind": "tree", "path": str(store), "tree": tree, **fields})
        stage(Plan(spec=SPEC, sources={"dataset": source}), places)

    with pytest.raises(Corrupted, match="does not hold the bytes it is named by"):
        staging()
    assert not (places.data / "dataset").exists()
    with pytest.raises(InvalidInput, match="matches no file"):
        staging(include=("*.csv",))
    damaged.unlink()
    with pytest.raises(NotFound, match=r"object [0-9a-f]{32} is not in the store"):
        staging()
    with pytest.raises(NotFound, match="is not a folder"):
        staging(kind="folder", path=str(tmp_path / "none"))
    outside = add(store, json.dumps([{"md5": add(store, b"x"), "relpath": "../x"}]).encode(), ".dir")
    with pytest.raises(InvalidInput, match=r"'\.\./x' is not a path inside a tree"):
        staging(tree=outside)


def test_a_job_that_is_done_is_not_started_again(tmp_path: Path, places: Places) -> None:
    plan = Plan(spec=SPEC, sources={})
    environment = {PLAN: plan.model_dump_json(), **places.environment()}
    main(environment)
    Job(places).finish({"ok": True})
    with pytest.raises(SystemExit) as ended:
        main(environment)
    assert ended.value.code == ALREADY_DONE
    assert json.loads((places.results / "result.json").read_text())["result"] == {"ok": True}
    # A result whose outputs are gone is none.
    (places.models / "weights").write_text("w")
    Job(places).finish({"ok": True}, [places.models / "weights"])
    shutil.rmtree(places.models)
    assert stage(plan, places)


def test_no_plan_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="STAGE_PLAN is not a plan"):
        main({})
