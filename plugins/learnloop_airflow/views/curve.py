"""Where the points, lines and ticks of a plot of accuracy against labels go. Pure; the template draws it as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from learnloop.loop.decisions import CurvePoint

WIDTH, HEIGHT = 560, 230
LEFT, RIGHT, TOP, BOTTOM = 48, 26, 14, 38


@dataclass(frozen=True)
class Tick:
    at: float
    said: str


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    accepted: bool
    said: str


@dataclass(frozen=True)
class Curve:
    """``line`` leads through the accepted rounds, as ``points`` of an SVG polyline."""

    dots: tuple[Dot, ...]
    line: str
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    said: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def curve(points: Sequence[CurvePoint]) -> Curve | None:
    """The plot of ``points``; None when there is none."""
    if not points:
        return None
    labels = _ticks([float(point.labels) for point in points], 5, least=20, most=math.inf)
    shares = _ticks([point.accuracy for point in points], 4, least=0.04, most=1.0)

    def x(value: float) -> float:
        return round(LEFT + (value - labels[0]) / (labels[-1] - labels[0]) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - shares[0]) / (shares[-1] - shares[0]) * (HEIGHT - TOP - BOTTOM), 1)

    dots = tuple(
        Dot(
            x(point.labels),
            y(point.accuracy),
            point.state == "accepted",
            f"round {point.number}, {point.state}: {point.accuracy:.1%} with {point.labels:,} labels",
        )
        for point in points
    )
    places = 0 if shares[1] - shares[0] >= 0.01 - 1e-9 else 1
    return Curve(
        dots=dots,
        line=" ".join(f"{dot.x},{dot.y}" for dot in dots if dot.accepted),
        across=tuple(Tick(x(value), f"{value:,.0f}") for value in labels),
        up=tuple(Tick(y(value), f"{value:.{places}%}") for value in shares),
        said="Accuracy on the test split against training labels. " + "; ".join(dot.said for dot in dots[-8:]),
    )


def _ticks(values: Sequence[float], wanted: int, *, least: float, most: float) -> list[float]:
    """Round numbers, evenly spaced, about ``wanted`` of them, around ``values`` and at least ``least`` of the scale.

    None is below 0 or above ``most``, as no value is.
    """
    low, high = min(values), max(values)
    missing = max(least - (high - low), 0)
    low, high = max(low - missing / 2, 0), min(high + missing / 2, most)
    rough = (high - low) / wanted
    size = 10 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= rough - 1e-12)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]
