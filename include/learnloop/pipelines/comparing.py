"""What differs between a stage's runs: what was run, what was measured, what was printed."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnloop.database import StageRun

LOG_BYTES = 256 * 1024
LOG_LINES = 500
LOG = "job.log"


@dataclass(frozen=True)
class Difference:
    """``path`` leads to a value that is other or absent (null) on one side."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Metric:
    """A number of the result; ``change`` is after less before, null when one has none."""

    path: str
    before: float | None
    after: float | None
    change: float | None


@dataclass(frozen=True)
class StageComparison:
    """``log`` is a unified diff of what the two printed last; null when it may not be shown."""

    stage: str
    configuration: list[Difference]
    metrics: list[Metric]
    log: list[str] | None


def compare(stage: str, before: StageRun | None, after: StageRun | None, *, logs: bool) -> StageComparison:
    """One stage of two runs; None: a run has not begun it, or has none of that name."""
    return StageComparison(
        stage,
        [Difference(*found) for found in _differences(_shown(before), _shown(after))],
        list(_metrics(_result(before), _result(after))),
        _log_diff(before, after) if logs else None,
    )


def tail(folder: Path) -> list[str]:
    """The last lines that a job printed, at most ``LOG_LINES``; none while it has printed nothing."""
    try:
        # A job may write there: a link could lead to what is not the job's.
        with os.fdopen(os.open(folder / LOG, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - LOG_BYTES))
            text = file.read(LOG_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return []
    lines = text.splitlines()
    return (lines[1:] if size > LOG_BYTES else lines)[-LOG_LINES:]


def _shown(row: StageRun | None) -> dict[str, Any]:
    """The job without what differs in every run."""
    if row is None:
        return {}
    spec = {field: value for field, value in row.spec.items() if field != "idempotency_key"}
    inputs = {name: {**each, "source": _source(each)} for name, each in spec.get("inputs", {}).items()}
    return {**spec, "inputs": inputs}


def _source(given: dict[str, Any]) -> Any:
    """A folder of a stage's lies in a folder named after its run's key, which says nothing."""
    source = str(given["source"])
    return "/".join("(run)" if part.startswith("stage-") else part for part in source.split("/"))


def _result(row: StageRun | None) -> dict[str, Any]:
    return {} if row is None or row.result is None else row.result


def _differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _differences(before.get(key), after.get(key), f"{path}.{key}" if path else key)
    elif before != after:
        yield path, before, after


def _metrics(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Metric]:
    first, second = dict(_numbers(before)), dict(_numbers(after))
    for path in sorted({*first, *second}):
        one, other = first.get(path), second.get(path)
        yield Metric(path, one, other, None if one is None or other is None else other - one)


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, float(value)


def _log_diff(before: StageRun | None, after: StageRun | None) -> list[str]:
    first, second = ([] if row is None else tail(Path(row.results_dir)) for row in (before, after))
    return list(difflib.unified_diff(first, second, "before", "after", lineterm="", n=1))
