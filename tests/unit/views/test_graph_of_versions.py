"""The graph of versions: whatever the history, versions stand in rows and every line leads from child to parent."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from learnloop_airflow.views.graph import LANE, ROW, graph


@st.composite
def histories(draw: Any) -> list[dict[str, Any]]:
    """Newest first; each version has up to three parents among the older ones, some of which are not listed."""
    count = draw(st.integers(1, 12))
    oldest_first = [f"v{number}" for number in range(count)]
    made = []
    for number, name in enumerate(oldest_first):
        older = ["unlisted", *oldest_first[:number]]
        made.append({"name": name, "parents": draw(st.lists(st.sampled_from(older), max_size=3, unique=True))})
    return made[::-1]


def ends(path: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where an SVG path of M, V and C begins and ends."""
    x = y = 0.0
    start = None
    for kind, given_ in re.findall(r"([MVC])([^MVC]*)", path):
        numbers = [float(number) for number in given_.split()]
        if kind == "V":
            assert numbers[0] > y  # never upwards
            y = numbers[0]
        else:
            x, y = numbers[-2:]
        start = start or (x, y)
    assert start is not None
    return start, (x, y)


@given(histories())
def test_every_line_leads_from_a_version_to_its_parent(history: list[dict[str, Any]]) -> None:
    found = graph(history)
    places = {node.name: (node.x, node.y) for node in found.nodes}
    assert [node.y for node in found.nodes] == [ROW * (row + 0.5) for row in range(len(history))]
    wanted = [(version["name"], parent) for version in history for parent in version["parents"]]
    assert len(found.lines) == len(wanted)
    for line, (child, parent) in zip(found.lines, wanted, strict=True):
        start, end = ends(line)
        assert start == places[child]
        if parent in places:
            assert end == places[parent]
        else:
            assert end[1] > found.height  # out at the bottom
    assert all(0 < x < found.width for x, _ in places.values())


@given(histories())
def test_no_line_runs_through_a_version_that_is_not_its_end(history: list[dict[str, Any]]) -> None:
    found = graph(history)
    places = [(node.x, node.y) for node in found.nodes]
    for line in found.lines:
        start, end = ends(line)
        x, y = start
        for kind, given_ in re.findall(r"([VC])([^MVC]*)", line):
            numbers = [float(number) for number in given_.split()]
            if kind == "V":
                crossed = [place for place in places if place[0] == x and y <= place[1] <= numbers[0]]
                assert set(crossed) <= {start, end}, line
                y = numbers[0]
            else:
                x, y = numbers[-2:]
                assert (x, y) == end or (x, y) not in places, line


def test_a_line_of_versions_stays_in_one_lane() -> None:
    found = graph([{"name": "b", "parents": ["a"]}, {"name": "a", "parents": []}])
    assert (found.width, found.height) == (LANE, 2 * ROW)
    assert found.lines == (f"M9.0 22.0V{ROW * 1.5}",)


def test_a_branch_that_was_merged_has_a_lane_beside() -> None:
    found = graph(
        [
            {"name": "merged", "parents": ["ours", "theirs"]},
            {"name": "theirs", "parents": ["base"]},
            {"name": "ours", "parents": ["base"]},
            {"name": "base", "parents": []},
        ]
    )
    assert {node.name: node.x / LANE for node in found.nodes} == {
        "merged": 0.5,
        "theirs": 1.5,
        "ours": 0.5,
        "base": 0.5,
    }
