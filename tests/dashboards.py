"""Our Grafana dashboards, as data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GRAFANA = Path(__file__).parents[1] / "deploy" / "grafana"
DASHBOARDS = {file.stem: json.loads(file.read_text()) for file in sorted((GRAFANA / "dashboards").glob("*.json"))}


def queries(dashboard: dict[str, Any], rate_interval: str = "1m") -> Iterator[tuple[str, str]]:
    """Each panel's title and query, as Prometheus gets it when everything is chosen."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", rate_interval)
            for variable in dashboard["templating"]["list"]:
                query = query.replace(f"${variable['name']}", ".*")
            yield panel["title"], query
