"""MLflow, made to keep to itself. Call before its first import in a process."""

from __future__ import annotations

import logging
import os


def quieten_mlflow() -> None:
    """No telemetry (by default MLflow reports its use to its makers), and no log lines below an error's level."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
