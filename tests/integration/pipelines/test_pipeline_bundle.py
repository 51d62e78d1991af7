"""The bundle: what is applied shows, a run's version stays, and a broken file is only its own pipeline's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pipeline_runs import ONE, bundle, dags_of, put

from learnloop.database import session
from learnloop.pipelines.stored import remove


def version_of(dag: Any) -> str:
    return next(tag for tag in dag.tags if tag.startswith("version "))


def test_what_is_applied_shows_at_the_next_refresh(place: Path) -> None:
    tracked = bundle()
    assert tracked.get_current_version().version == "0"
    assert dags_of(tracked) == ({}, {})
    first = put(ONE)
    assert tracked.get_current_version().version == "0"  # what the files show, not what there is by now
    tracked.refresh()
    assert tracked.get_current_version().version == str(first.id)
    dags, errors = dags_of(tracked)
    assert errors == {}
    assert list(dags) == ["pipeline.one"]
    with session() as db:
        remove(db, "one", user="ana")
    tracked.refresh()
    assert dags_of(tracked) == ({}, {})


def test_a_version_of_the_bundle_stays_what_it_was(place: Path) -> None:
    first = put(ONE)
    second = put({**ONE, "stages": {"b": {"module": "z"}}})
    dags, _ = dags_of(bundle(str(first.id)))
    assert version_of(dags["pipeline.one"]) == "version 1"
    assert dags["pipeline.one"].has_task("a")
    dags, _ = dags_of(bundle(str(second.id)))
    assert version_of(dags["pipeline.one"]) == "version 2"
    assert not dags["pipeline.one"].has_task("a")
    with pytest.raises(ValueError, match="only the newest is refreshed"):
        bundle(str(first.id)).refresh()


def test_a_broken_file_hides_no_other_pipeline(place: Path) -> None:
    put(ONE)
    put({**ONE, "name": "two"})
    tracked = bundle()
    broken = tracked.path / "one" / "pipeline.yaml"
    broken.chmod(0o644)
    broken.write_text("name: one\n  stages")
    dags, errors = dags_of(tracked)
    assert list(dags) == ["pipeline.two"]
    (where,) = errors
    assert where.endswith("one/pipeline.py")
    dags, errors = dags_of(bundle())  # made anew
    assert (sorted(dags), errors) == (["pipeline.one", "pipeline.two"], {})


def test_what_is_kept_of_the_dag_differs_by_version_and_holds_no_field_of_a_stage(place: Path) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    kept = []
    for value in ("1", "2"):
        put({**ONE, "stages": {"a": {"module": "x", "env": {"SECRET_WORD": f"marzipan {value}"}}}})
        dags, _ = dags_of(bundle())
        kept.append(str(DagSerialization.to_dict(dags["pipeline.one"])))
    assert kept[0] != kept[1]
    assert "marzipan" not in "".join(kept)
