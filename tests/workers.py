"""Which tests share a process when the suite runs in several (`make test`).

A file's tests stay together, so that what a file starts is started once. All files that talk to the running stack stay
together, so that there is one stack; so do those that start Airflow's API server. These two groups come first: they wait
more than they work, and the other files fill the processors beside them. Then come the files that take
long by themselves, so that none of them is all that is left at the end.
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

LONG_FILES = ("tests/unit/training/", "tests/unit/annotation/", "tests/unit/serving/")
GROUPS = {
    "tests/browser/": "stack",
    "tests/integration/stack/live/": "stack",
    "tests/integration/identity/": "airflow",
}


def group_of(nodeid: str) -> str:
    for folder, group in GROUPS.items():
        if nodeid.startswith(folder):
            return group
    return nodeid.split("::")[0]


class ByGroup(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def move_groups_to_the_front(items: list[pytest.Item]) -> None:
    """In place; the rest stays in its order."""
    first = [*dict.fromkeys(GROUPS.values()), *LONG_FILES]

    def place(item: pytest.Item) -> int:
        group = group_of(item.nodeid)
        return next((place for place, start in enumerate(first) if group.startswith(start)), len(first))

    items.sort(key=place)
