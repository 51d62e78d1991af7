"""Any text in any place of a declaration is refused with its path, or stays the text that it is, to the job's arguments."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from declarations import LIMITS, WHOLE, checked
from hypothesis import given, settings
from hypothesis import strategies as st

from learnloop.errors import InvalidInput
from learnloop.jobs.attempt import environment_of
from learnloop.jobs.contract import Places
from learnloop.pipelines import files
from learnloop.pipelines.checking import check
from learnloop.pipelines.graph import Graph
from learnloop.pipelines.jobs import spec_of
from learnloop.pipelines.stored import Shown

Where = tuple[str | int, ...]

HOSTILE = st.sampled_from([
    "{{ 7 * 7 }}", "{{ var.value.secret }}", "{{ conn.x.password }}", "{% raw %}", "{# #}", "{{ ti }}", "${HOME}", "$HOME",
    "$(id)", "$$(id)", "`id`", "; rm -rf /", "| tee /x", "&& id", "\n- evil: 1", "x.md", "a.sh", "../../etc", "/etc/passwd",
    "!!python/object/apply:os.system", "&a *a", "<<", "%s%n", "{0}{x}", "<script>alert(1)</script>", "'; DROP TABLE x; --",
    "\u2028", "\x1b[31m", "\r\nX: y", "\u202e", "no", "1e3", "2026-01-01", "~", "null", "true", "-", "", " ", "a" * 5000,
    "\x85",
])  # fmt: skip
TEXT = (
    HOSTILE
    | st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)
    | st.text("{}$%`;|&<>#\"'\\\n.-a", max_size=40)
)


def strings(value: Any, where: Where = ()) -> Iterator[tuple[Where, bool]]:
    """The place of each string, and whether it is a key."""
    if isinstance(value, str):
        yield where, False
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield (*where, key), True
            yield from strings(inner, (*where, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from strings(inner, (*where, number))


PLACES = list(strings(WHOLE))


def put(where: Where, key: bool, text: str) -> dict[str, Any]:
    declared = copy.deepcopy(WHOLE)
    inner: Any = declared
    for step in where[:-1]:
        inner = inner[step]
    if key:
        inner[text] = inner.pop(where[-1])
    else:
        inner[where[-1]] = text
    return declared


def plain(value: Any) -> Any:
    """With what a declaration may leave out left out."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if key != "include"}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


@given(st.sampled_from(PLACES), TEXT)
@settings(max_examples=400)
def test_any_text_anywhere_is_refused_or_stays_as_it_is(place: tuple[Where, bool], text: str) -> None:
    where, key = place
    declared = put(where, key, text)
    try:
        graph = checked(declared)
    except InvalidInput as error:
        _told_well(error)
        return
    assert plain(graph.declaration()) == plain(declared)
    with tempfile.TemporaryDirectory() as folder:
        shown = Shown(graph.name, 1, graph.model_dump(mode="json"))
        files.write(Path(folder), [shown])
        read = files.read(Path(folder) / graph.name / files.DECLARATION)
    assert read == shown
    _stays_to_the_job(Graph.model_validate(read.graph))


def _told_well(error: InvalidInput) -> None:
    """With a list of problems, none of which forges a line of a log or turns it round."""
    assert error.problems
    for problem in error.problems:
        assert problem.isprintable()
        assert len(problem) < 1000


def _stays_to_the_job(graph: Graph) -> None:
    for name, stage in graph.stages.items():
        made = {each: {"results_dir": "/", "models_dir": "/"} for each in stage.needs}
        pins = {key: {"kind": "dataset", "source": "0" * 32 + ".dir", "name": "x"} for key in stage.inputs}
        alone = stage.model_copy(update={"inputs": {k: each for k, each in stage.inputs.items() if each.stage is None}})
        spec = spec_of(alone, pins, made, user="ana", work=name)
        assert list(spec.command) == stage.job.get("command", [])
        assert spec.params == stage.job.get("params", {})
        environment = environment_of(spec, Places(*(Path("/"),) * 4), {})
        assert {key: environment[key] for key in spec.env} == stage.job.get("env", {})


@pytest.mark.parametrize("text", ["{{ 1 }}", "$(id)", "a b", "A", "-a", "a-", "a.b", "", "a\n", "x" * 64, "ä"])
def test_names_are_labels_or_nothing(text: str) -> None:
    for where in (("name",), ("stages", "look")):
        with pytest.raises(InvalidInput, match="DNS label"):
            checked(put(where, len(where) > 1, text))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


@given(JSON)
def test_what_is_no_pipeline_is_told_and_never_breaks(value: Any) -> None:
    for declared in (
        {"name": "a", "stages": value},
        {"name": "a", "stages": {"a": value}},
        {"a": value, "name": value},
    ):
        try:
            check(declared, LIMITS, missing=lambda wanted: None)
        except InvalidInput as error:
            _told_well(error)


@given(JSON)
@settings(max_examples=100)
def test_files_say_what_the_row_says(value: Any) -> None:
    shown = Shown("a", 1, {"graph": value})
    with tempfile.TemporaryDirectory() as folder:
        files.write(Path(folder), [shown])
        assert files.read(Path(folder) / "a" / files.DECLARATION) == shown
