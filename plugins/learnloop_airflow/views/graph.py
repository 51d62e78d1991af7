"""Where the versions of a dataset and the lines between them go in a graph, newest on top. Pure.

As ``git log --graph`` has it: a version stands in the lane that its first child kept for it; a line runs down in the lane
that is kept for its parent, and turns into the parent's own lane just above it.
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
        lane = _take(lanes, name)
        place[name] = (lane, row)
        lanes[:] = [None if kept == name else kept for kept in lanes]
        for position, parent in enumerate(version["parents"]):
            if parent in lanes:
                kept = lanes.index(parent)
            elif position == 0:
                kept = lane
            else:
                kept = _free(lanes)
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


def _take(lanes: list[str | None], name: str) -> int:
    """The lane that is kept for ``name``, or a free one, now kept for it."""
    lane = lanes.index(name) if name in lanes else _free(lanes)
    lanes[lane] = name
    return lane


def _free(lanes: list[str | None]) -> int:
    if None not in lanes:
        lanes.append(None)
    return lanes.index(None)


def _line(child: tuple[int, int], parent: tuple[int, int], lane: int) -> str:
    """From a version down to its parent, both (lane, row), in ``lane`` on the way."""
    path = f"M{_x(child[0])} {_y(child[1])}"
    last = parent[1] - 1
    if lane != child[0]:
        row = child[1] + 1
        path += _turn(child[0], child[1], lane, row) if row <= last else ""
    if last > child[1]:
        path += f"V{_y(last)}"
    return path + _turn(lane if last > child[1] else child[0], last, parent[0], parent[1])


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
