"""docs/threat-model.md says that each exception from the lint for security says why beside it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("annotation_app", "dags", "docs", "include", "plugins")


def test_each_exception_says_why() -> None:
    lines = [
        (str(path.relative_to(ROOT)), line)
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in path.read_text().splitlines()
        if re.search(r"# noqa: .*\bS\d{3}\b", line)
    ]
    assert len(lines) > 20
    assert [found for found in lines if not re.search(r"# noqa: [A-Z0-9, ]+ - \w", found[1])] == []
