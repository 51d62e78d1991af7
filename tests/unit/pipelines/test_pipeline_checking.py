"""One list of all that is wrong, with paths."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from declarations import LIMITS, checked, whole
from hypothesis import given
from hypothesis import strategies as st

from learnloop.errors import InvalidInput
from learnloop.mounts.table import parse_table
from learnloop.pipelines.checking import MOST_PROBLEMS, check
from learnloop.pipelines.extending import lay_over
from learnloop.pipelines.graph import Stage, StageInput, find_cycle


def problems_of(declared: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidInput) as error:
        checked(declared)
    assert str(error.value).startswith("the pipeline is not valid")
    return list(error.value.problems)


def changed(where: str, value: Any) -> dict[str, Any]:
    """The whole declaration with another value at a path."""
    declared = whole()
    inner = declared
    *way, last = (int(step) if step.isdecimal() else step for step in where.split("/"))
    for step in way:
        inner = inner[step]
    inner[last] = value
    return declared


def test_a_whole_pipeline_is_taken() -> None:
    graph = checked(whole())
    assert list(graph.stages) == ["prepare", "train", "look"]
    assert graph.stages["train"].needs == ("prepare",)
    assert graph.stages["look"].needs == ("train",)
    assert graph.declaration()["stages"]["train"]["params"] == {"hidden": [32], "note": "x"}


def mount(**fields: Any) -> dict[str, Any]:
    return {"name": "scratch", "path": "/mnt/scratch", "size": "1Gi", **fields}


def test_stages_share_a_mount_or_call_it_otherwise() -> None:
    declared = changed("stages/prepare/mounts", [mount()])
    declared["stages"]["train"]["mounts"] = [mount()]
    assert list(checked(declared).mounts) == ["scratch"]
    declared["stages"]["look"]["mounts"] = [mount(size="2Gi")]
    (problem,) = problems_of(declared)
    assert problem.startswith("stages.look.mounts.0: prepare has a mount of this name with other needs: give both")


@pytest.mark.parametrize("wrong", [[{}], [1], 1, "x", [mount(path="/tmp/x")]], ids=str)
def test_mounts_that_are_none(wrong: Any) -> None:
    assert all(
        problem.startswith("stages.train.mounts") for problem in problems_of(changed("stages/train/mounts", wrong))
    )


def test_a_mount_that_nothing_here_can_be() -> None:
    tape = {
        "provider": "local_disk",
        "price": {"gib_month": 0},
        "access": ["read_only"],
        "durable": True,
        "source": "ours",
    }
    classes = {"tape": {**tape, "latency_ms": 60_000, "iops": 1, "mib_per_s": 100}}
    limits = replace(LIMITS, classes=lambda: parse_table({"currency": "EUR", "classes": classes}, "a test", "local"))
    with pytest.raises(InvalidInput) as error:
        checked(changed("stages/train/mounts", [mount(performance="fast")]), limits)
    (problem,) = error.value.problems
    assert problem.startswith("stages: scratch (1Gi, read_write, fast, run): not tape: ")


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        ("nme", 1, "nme: unknown field; there are name, description, extends, stages"),
        ("name", "Animals_1", "name: must be a DNS label"),
        ("name", None, "name: must be a DNS label"),
        ("description", "x" * 3000, "description: must be text of at most 2000 characters"),
        ("stages", [], "stages: must be a mapping"),
        ("stages", {}, "stages: must be a mapping"),
        ("stages/look", None, "stages.look: must be a mapping"),
        ("stages/Look_1", {"module": "a"}, "stages.Look_1: the stage's name must be a DNS label"),
        ("stages/a" + "a" * 63, {"module": "a"}, "the stage's name must be a DNS label"),
        ("stages/train/imagee", "x", "stages.train.imagee: unknown field; there are after, command"),
        ("stages/train/user", "root", "stages.train.user: unknown field"),
        ("stages/train/idempotency_key", "k", "stages.train.idempotency_key: unknown field"),
        ("stages/train/pins", {}, "stages.train.pins: unknown field"),
        ("stages/train/image", "evil/image", "stages.train.image: evil/image is no image of this platform"),
        ("stages/train/command", ["x"], "stages.train: give either a module (python -m ...) or a command"),
        ("stages/train/module", "os; rm -rf /", "stages.train.module: String should match"),
        ("stages/train/env", {"PATH": "/x"}, "stages.train: environment variable PATH is the runner's to set"),
        ("stages/train/env", {"A": 1}, "stages.train.env.A: Input should be a valid string"),
        ("stages/train/resources/cpu", 9, "stages.train.resources.cpu: 9 is beyond the quota of 8 a job"),
        ("stages/train/resources/gpu", 2, "stages.train.resources.gpu: 2 is beyond the quota of 1 a job"),
        ("stages/train/resources/memory", "5Gi", "stages.train.resources.memory: 5Gi is beyond the quota of 4Gi"),
        ("stages/train/resources/memory", "lots", "stages.train.resources.memory: String should match"),
        ("stages/train/mounts/0", {"name": "m"}, "stages.train.mounts.0.path: Field required"),
        (
            "stages/train/mounts/0",
            {"name": "m", "path": "/m", "size": "1Gi", "performance": "warp"},
            "stages.train.mounts.0.performance: Input should be",
        ),
        ("stages/train/inputs/x", {"kind": "magic", "source": "a"}, "stages.train.inputs.x.kind: Input should be"),
        (
            "stages/train/inputs/x",
            {"kind": "stage", "source": "tarin/models"},
            "stages.train.inputs.x.source: there is no stage tarin; there are look, prepare",
        ),
        (
            "stages/train/inputs/x",
            {"kind": "stage", "source": "prepare/results/table"},
            "stages.train.inputs.x.source: prepare does not promise results/table; its outputs are results/tables",
        ),
        (
            "stages/train/inputs/x",
            {"kind": "stage", "source": "prepare/../../etc"},
            "prepare does not promise ../../etc",
        ),
        ("stages/look/after", ["nobody"], "stages.look.after: there is no stage nobody; there are prepare, train"),
        ("stages/prepare/after", ["look"], "stages: prepare -> look -> train -> prepare is a cycle"),
        ("stages/look/after", ["look"], "stages: look -> look is a cycle"),
        ("stages/look/outputs", ["/etc/passwd"], "stages.look.outputs.0: String should match"),
        ("stages/look/timeout_seconds", -1, "stages.look.timeout_seconds: Input should be greater than 0"),
        ("stages/look/priority", 10**9, "stages.look.priority: Input should be less"),
    ],
)
def test_what_is_wrong_is_named_with_its_path(where: str, value: Any, says: str) -> None:
    found = problems_of(changed(where, value))
    assert len([problem for problem in found if problem.startswith(says) or says in problem]) == 1, found


def test_all_is_told_at_once() -> None:
    declared = whole()
    declared["name"] = "No"
    declared["stages"]["train"]["resources"] = {"cpu": 900, "gpu": 5}
    declared["stages"]["look"].update(after=["nobody", "look"], image="{{ x }}", modul="y")
    declared["stages"]["x_y"] = {"module": "a", "command": ["b"]}
    said = "\n".join(problems_of(declared))
    for part in (
        "name:",
        "resources.cpu",
        "resources.gpu",
        "no stage nobody",
        "cycle",
        "look.image: {{ x }} is no image",
        "look.modul: unknown field",
        "stages.x_y: the stage's",
        "either",
    ):
        assert part in said


def test_a_thousand_mistakes_are_not_all_told() -> None:
    declared = whole()
    declared["stages"] = {f"s{number}": {"field": 1} for number in range(1000)}
    found = problems_of(declared)
    assert len(found) == MOST_PROBLEMS + 1
    assert found[-1].startswith("and ")


def test_an_input_that_is_not_there_is_named() -> None:
    def missing(wanted: StageInput) -> str | None:
        return f"there is no {wanted.kind} {wanted.source}" if wanted.source == "animals" else None

    with pytest.raises(InvalidInput) as error:
        check(whole(), LIMITS, missing=missing)
    assert error.value.problems == ("stages.prepare.inputs.data.source: there is no dataset animals",)


EDGES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20)


@given(EDGES)
def test_a_cycle_is_found_when_there_is_one(edges: list[tuple[int, int]]) -> None:
    names = [f"s{number}" for number in range(8)]
    stages = {
        name: Stage(job={}, after=tuple(names[to] for of, to in edges if of == number))
        for number, name in enumerate(names)
    }
    left = {name: set(stage.needs) for name, stage in stages.items()}  # Kahn's way
    while free := [name for name, needs in left.items() if not needs]:
        left = {name: needs - set(free) for name, needs in left.items() if name not in free}
    found = find_cycle(stages)
    assert bool(found) == bool(left)
    assert all(after in stages[name].needs for name, after in pairwise(found))
    assert not found or found[0] == found[-1]


def test_extends_lays_over_stage_by_stage() -> None:
    base = checked(whole())
    laid = lay_over(
        base,
        {
            "name": "animals-new",
            "stages": {
                "prepare": {"inputs": {"data": {"kind": "dataset", "source": "animals_v1.2"}}},
                "train": {"params": {"hidden": [64], "note": None}, "env": {"MODE": None}, "image": None, "seed": 8},
                "look": None,
                "report": {"module": "c", "after": ["train"]},
            },
        },
    )
    graph = check(laid, LIMITS, extends="animals@1", missing=lambda wanted: None)
    assert list(graph.stages) == ["prepare", "train", "report"]
    assert graph.stages["prepare"].inputs["data"].source == "animals_v1.2"
    train = graph.stages["train"].job
    assert train["params"] == {"hidden": [64], "note": None}
    assert (train["env"], train["seed"], "image" in train) == ({}, 8, False)
    assert graph.name == "animals-new"
    assert graph.description == "prepare, train, look"


def test_a_module_takes_the_place_of_a_command_and_the_other_way_round() -> None:
    base = checked(whole())
    laid = lay_over(base, {"name": "b", "stages": {"prepare": {"module": "x"}, "train": {"command": ["y"]}}})
    stages = check(laid, LIMITS, missing=lambda wanted: None).stages
    assert "command" not in stages["prepare"].job
    assert "module" not in stages["train"].job


@pytest.mark.parametrize("stages", [[], {"gone": None}, {"train": 3}, {"train": {"params": 3}}, None])
def test_what_is_laid_over_wrongly_is_still_named(stages: Any) -> None:
    laid = lay_over(checked(whole()), {"name": "b", "stages": stages})
    with pytest.raises(InvalidInput, match="stages"):
        check(laid, LIMITS, missing=lambda wanted: None)
