"""How a figure is told: names after Prometheus's conventions, labels of few values (never a user's or a sample's name)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import ColumnElement, extract, func
from sqlalchemy.orm import Session

PREFIX = "learnloop_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Figures = Callable[[Session], Iterable[Metric]]
"""Reads the database, and tells some families."""


def gauge(name: str, what: str, labels: Sequence[str], rows: Iterable[Sequence[Any]]) -> Metric:
    """A gauge ``learnloop_{name}``: a row is the values of ``labels``, then the figure (None: left out)."""
    family = GaugeMetricFamily(PREFIX + name, what, labels=labels)
    for *values, figure in rows:
        if figure is not None:
            family.add_metric([str(value) for value in values], float(figure))
    return family


def age(moment: Any) -> ColumnElement[Any]:
    """Seconds from ``moment`` to now, by the database's clock."""
    return extract("epoch", func.now() - moment)
