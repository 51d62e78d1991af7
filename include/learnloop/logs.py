"""Log lines: as people read them, or each a JSON object (``LEARNLOOP_LOG_FORMAT=json``) that says whose it is.

This is for processes that are not Airflow's: those have ``[logging] json_logs``, and their lines the same names.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

FORMATS = ("text", "json")
PLAIN = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """One line, one object: ``timestamp``, ``level``, ``logger``, ``event``, as Airflow's lines have them; and a record's
    ``fields`` (``extra={"fields": {...}}``).

    Args:
        always: what each line of this process says besides.
    """

    def __init__(self, always: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._always = dict(always or {})

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": _moment(record.created),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **self._always,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(wanted: str, **always: Any) -> None:
    """Have this process write its log to standard error, in the format ``wanted``; ``always`` is in each JSON line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter({**always, "pid": os.getpid()}) if wanted == "json" else logging.Formatter(PLAIN)
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
