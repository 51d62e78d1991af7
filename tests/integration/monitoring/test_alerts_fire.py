"""Each alert's expression finds its fault, which is made here, in what a real Prometheus collected of real parts.

How long a fault must last is tested with promtool (deploy/prometheus/tests).
"""

from __future__ import annotations

from typing import Any

import model_faults  # noqa: F401 - they add to the others
import platform_faults  # noqa: F401
import pytest
from alert_faults import FAULTS
from prometheus_server import alerts

pytestmark = pytest.mark.timeout(900)
RULES = alerts()


@pytest.mark.parametrize("alert", FAULTS)
def test_an_alert_finds_its_fault(alert: str, watched: Any) -> None:
    expression = RULES[alert]["expr"]
    watched.fires('learnloop_database_up{database="learnloop"} == 1')
    before = watched.results(expression)
    doing = FAULTS[alert](watched)
    labels = doing if isinstance(doing, dict) else next(doing)
    try:
        watched.fires(expression, but=before, **labels)
    finally:
        if not isinstance(doing, dict):
            next(doing, None)


def test_every_alert_has_its_fault() -> None:
    assert set(FAULTS) == set(RULES)
