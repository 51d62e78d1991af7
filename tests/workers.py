"""Which tests share a process when the suite runs in several (`make test`).

A file's tests stay together, so that what a file starts is started once. All that talk to the running stack stay
together, so that there is one stack; so do all that start Airflow's API server. Those two groups come first: they wait
more than they work, and the other files fill the processors beside them.
"""

from __future__ import annotations

import pytest

FIRST = ("stack", "airflow")
STARTED_BY = {"live_stack": "stack", "live_dataset": "stack"}


def group_of(item: pytest.Item) -> str:
    for fixture, group in STARTED_BY.items():
        if fixture in getattr(item, "fixturenames", ()):
            return group
    file = item.nodeid.split("::")[0]
    return "airflow" if file.startswith("tests/integration/identity/") else file


def put_together(items: list[pytest.Item]) -> None:
    """Mark each item with its group, in place, and move the groups that wait to the front."""
    groups = {item: group_of(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: FIRST.index(groups[item]) if groups[item] in FIRST else len(FIRST))
