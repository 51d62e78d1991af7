"""Versions of pipelines as rows and as files: in order, never changed, one broken file hides no other."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from pipeline_runs import ONE, put
from sqlalchemy import func, select

from learnloop.database import PipelineVersion, session
from learnloop.errors import Conflict, Corrupted, InvalidInput, NotFound
from learnloop.pipelines import files
from learnloop.pipelines.stored import find, remove, state


def count() -> int:
    with session() as db:
        return db.scalar(select(func.count()).select_from(PipelineVersion)) or 0


def test_the_same_again_is_no_new_version(place: Path) -> None:
    assert put(ONE).number == 1
    assert put("name: one\nstages:\n  a: {module: x.y, params: {n: 1}}").number == 1
    assert put({**ONE, "description": "other"}).number == 2
    assert put(ONE).number == 3
    with session() as db:
        assert find(db, "one", 2, user="ben").graph["description"] == "other"
        assert find(db, "one", user="ben").number == 3


def test_what_is_wrong_stores_nothing(place: Path) -> None:
    for wrong in ({**ONE, "x": 1}, {**ONE, "extends": "none"}, {**ONE, "extends": ["one"]}, "a: &a [*a]"):
        with pytest.raises(InvalidInput):
            put(wrong)
    assert count() == 0


def test_extends_is_the_version_there_was(place: Path) -> None:
    put(ONE)
    put({"name": "two", "extends": "one", "stages": {"a": {"params": {"m": 2}}}})
    put({**ONE, "stages": {"a": {"module": "x.y", "params": {"n": 9}}}})
    with session() as db:
        two = find(db, "two", user="ana")
        assert two.graph["stages"]["a"]["job"]["params"] == {"n": 1, "m": 2}
        assert two.graph["extends"] == "one@1"
        assert two.base is not None
        assert two.base.number == 1
    put({"name": "three", "extends": "one@2"})
    with pytest.raises(InvalidInput, match="extends: pipeline 'one' has no version 7"):
        put({"name": "four", "extends": "one@7"})


def test_personal_ones_are_their_persons_alone(place: Path) -> None:
    put(ONE, personal=True)
    with session() as db, pytest.raises(NotFound, match="there is no pipeline 'one'"):
        find(db, "one", user="ben")
    with pytest.raises(InvalidInput, match="there is no pipeline 'one'"):
        put({"name": "two", "extends": "one"}, user="ben")
    with pytest.raises(Conflict, match="the name one is taken"):
        put(ONE, user="ben")
    with pytest.raises(Conflict, match="pipeline one is personal, and cannot become shared"):
        put(ONE)
    assert count() == 1


def test_a_missing_input_is_named(place: Path, lamps: Any) -> None:
    def reading(kind: str, source: str) -> dict[str, Any]:
        return {"name": "r", "stages": {"a": {"module": "x", "inputs": {"i": {"kind": kind, "source": source}}}}}

    (place / "mine" / "folder").mkdir()
    (place / "mine" / "out").symlink_to("/etc")
    for kind, source in (("dataset", "lamps"), ("dataset", lamps.name), ("folder", str(place / "mine" / "folder"))):
        assert put(reading(kind, source)).number
    before = count()
    for kind, source, says in (
        ("dataset", "tigers", "stages.a.inputs.i.source: there is no dataset 'tigers'"),
        ("dataset", "lamps_v9.9", "there is no dataset version 'lamps_v9.9'"),
        ("batch", "lamps/none", "there is no batch 'lamps/none'"),
        ("model", "lamps:realtime", "no model is deployed as 'lamps:realtime'"),
        ("folder", "/etc", "outside the allowed roots"),
        ("folder", str(place / "mine" / "out"), "outside the allowed roots"),
        ("folder", str(place / "mine" / ".." / "home"), "absolute path without '..'"),
        ("folder", str(place / "mine" / "gone"), "there is no folder"),
    ):
        with pytest.raises(InvalidInput) as error:
            put(reading(kind, source))
        assert says in str(error.value)
    assert count() == before


def test_applied_by_many_at_once_all_count_and_ids_are_in_order(place: Path) -> None:
    def work(number: int) -> None:
        put({**ONE, "description": str(number)})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with session() as db:
        rows = db.execute(select(PipelineVersion.id, PipelineVersion.number).order_by(PipelineVersion.id)).all()
    assert [number for _, number in rows] == list(range(1, 9))


def test_a_state_stays_what_it_was(place: Path) -> None:
    first = put(ONE).id
    put({**ONE, "name": "two"})
    second = put({**ONE, "description": "new"}).id
    with session() as db:
        remove(db, "two", user="ana")
    with session() as db:
        assert [(each.name, each.version) for each in state(db, first)[1]] == [("one", 1)]
        assert {(each.name, each.version) for each in state(db, second)[1]} == {("one", 2), ("two", 1)}
        newest, shown = state(db)
        assert [(each.name, each.version) for each in shown] == [("one", 2)]
        with pytest.raises(NotFound, match="pipeline 'two' was removed"):
            find(db, "two", user="ana")
        with pytest.raises(InvalidInput, match="there was no state"):
            state(db, newest + 1)
    assert put({**ONE, "name": "two"}).number == 3


def test_files_show_the_state_and_touch_nothing_else(place: Path) -> None:
    root = place / "shown"
    put(ONE)
    put({**ONE, "name": "two", "description": "no: yes # {{ 1e3 }}\n..\x85☃"})
    with session() as db:
        shown = state(db)[1]
    files.write(root, shown)
    assert [files.read(path) for path in sorted(root.glob("*/pipeline.yaml"))] == shown
    assert {path.read_text() for path in root.glob("*/pipeline.py")} == {files.LOADER_TEXT}
    before = {path: path.stat().st_mtime_ns for path in root.glob("*/*")}
    files.write(root, shown)
    assert {path: path.stat().st_mtime_ns for path in root.glob("*/*")} == before
    (root / "stray").write_text("x")
    broken = root / "one" / "pipeline.yaml"
    broken.unlink()
    broken.write_text("a: [")
    with pytest.raises(Corrupted, match="is not what was written there"):
        files.read(broken)
    files.write(root, shown[:1])
    assert [path.name for path in root.iterdir()] == ["one"]
    assert files.read(broken) == shown[0]
