"""Where the versions of a dataset and the lines between them go in a graph, newest on top. Pure.

As ``git log --graph`` has it: a line runs down in a lane that is kept for its parent, and turns into the parent's own just
above it, which is the first of those that are kept for it. What a version continues first keeps the version's own lane.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LANE, ROW = 18, 44  # pixels


@dataclass(frozen=True)
class Node:
    name: str
    x: float
    y: float


@dataclass(frozen=True)
class Graph:
    """``lines`` are SVG paths; one of a parent that is not listed runs out at the bottom."""

    nodes: tuple[Node, ...]
    lines: tuple[str, ...]
    width: int
    height: int


def graph(versions: Sequence[Mapping[str, Any]]) -> Graph:
    """The graph of ``versions`` (``name``, ``parents``), newest first: no parent stands before its child."""
    lanes: list[str | None] = []
    place: dict[str, tuple[int, int]] = {}
    edges: list[tuple[str, str, int]] = []
    widest = 1
    for row, version in enumerate(versions):
        name = version["name"]
        lane = _lane_of(lanes, name)
        place[name] = (lane, row)
        lanes[:] = [None if kept == name else kept for kept in lanes]
        for position, parent in enumerate(version["parents"]):
            kept = lane if position == 0 else _lane_of(lanes, parent)
            lanes[kept] = parent
            edges.append((name, parent, kept))
        widest = max(widest, len(lanes))
        while lanes and lanes[-1] is None:
            lanes.pop()
    end = len(versions)
    return Graph(
        nodes=tuple(Node(name, _x(lane), _y(row)) for name, (lane, row) in place.items()),
        lines=tuple(_line(place[child], place.get(parent, (kept, end)), kept) for child, parent, kept in edges),
        width=widest * LANE,
        height=end * ROW,
    )


def _lane_of(lanes: list[str | None], name: str) -> int:
    """The first lane that is kept for ``name``, else the first free one."""
    for wanted in (name, None):
        if wanted in lanes:
            return lanes.index(wanted)
    lanes.append(None)
    return len(lanes) - 1


def _line(child: tuple[int, int], parent: tuple[int, int], lane: int) -> str:
    """From a version down to its parent, both (lane, row), in ``lane`` on the way."""
    at, row = child
    last = parent[1] - 1
    path = f"M{_x(at)} {_y(row)}"
    if lane != at and row < last:
        path += _turn(at, row, lane, row + 1)
        at, row = lane, row + 1
    if row < last:
        path += f"V{_y(last)}"
    return path + _turn(at, last, *parent)


def _turn(lane: int, row: int, to_lane: int, to_row: int) -> str:
    """From one row to the next, into another lane."""
    if lane == to_lane:
        return f"V{_y(to_row)}"
    middle = (_y(row) + _y(to_row)) / 2
    return f"C{_x(lane)} {middle} {_x(to_lane)} {middle} {_x(to_lane)} {_y(to_row)}"


def _x(lane: int) -> float:
    return LANE * (lane + 0.5)


def _y(row: int) -> float:
    return ROW * (row + 0.5)
