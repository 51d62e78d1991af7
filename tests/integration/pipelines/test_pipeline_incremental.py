"""What an incremental training derives from its base. The whole way, from labels to its run, is a test of the live stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pipeline_runs import put

from learnloop.database import PipelineVersion, session
from learnloop.errors import InvalidInput, NotFound
from learnloop.pipelines.graph import LABEL
from learnloop.pipelines.incremental import derive, name_of
from learnloop.pipelines.stored import graph_of, visible


def base(name: str = "base") -> dict[str, Any]:
    reads = {"kind": "dataset", "source": "lamps", "include": ["*.parquet"]}
    return {
        "name": name,
        "stages": {
            "look": {"module": "a", "inputs": {"d": reads}},
            "train": {"module": "b", "params": {"n": 1}, "inputs": {"d": {**reads, "source": "lamps_v1.0"}}},
            "other": {"module": "c", "after": ["train"]},
        },
    }


def derived(version: str, *, user: str = "sue", work: str = "run 1", personal: bool = False) -> PipelineVersion:
    with session() as db:
        return derive(
            db,
            "base",
            dataset="lamps",
            version=version,
            user=user,
            personal=personal,
            work=work,
            provenance={"kind": "incremental", "trains_on": version},
        )


def test_it_reads_the_new_version_wherever_its_base_reads_the_dataset(place: Path, lamps: Any) -> None:
    put(base())
    made = derived(lamps.name)
    graph = graph_of(made)
    assert {name: stage.inputs["d"].source for name, stage in graph.stages.items() if stage.inputs} == {
        "look": lamps.name,
        "train": lamps.name,
    }
    assert graph.stages["look"].inputs["d"].include == ("*.parquet",)
    assert graph.stages["train"].job["params"] == {"n": 1}
    assert (graph.extends, made.base.number if made.base else None) == ("base@1", 1)
    assert made.provenance["trains_on"] == lamps.name


def test_asked_again_it_is_the_same_and_another_is_another(place: Path, lamps: Any) -> None:
    put(base())
    first = derived(lamps.name)
    assert derived(lamps.name).id == first.id
    assert derived(lamps.name, work="run 2").pipeline.name != first.pipeline.name
    mine = derived(lamps.name, work="run 3", personal=True)
    with session() as db, pytest.raises(NotFound):
        visible(db, mine.pipeline.name, user="ben")


def test_what_cannot_be_derived_is_told(place: Path, lamps: Any) -> None:
    with pytest.raises(NotFound, match="there is no pipeline 'base'"):
        derived(lamps.name)
    put({"name": "base", "stages": {"a": {"module": "x"}}})
    with pytest.raises(InvalidInput, match="no stage of pipeline base reads dataset lamps"):
        derived(lamps.name)


@pytest.mark.parametrize("base_name", ["a", "x" * 63, f"{'y' * 49}-{'z' * 13}"])
def test_its_name_is_a_label(base_name: str) -> None:
    assert LABEL.fullmatch(name_of(base_name, "run 1"))
    assert name_of(base_name, "run 1") != name_of(base_name, "run 2")
