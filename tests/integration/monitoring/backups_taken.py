"""Backups of what is watched, by the product's own code: a good one, and one that fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command

from learnloop.backup.opening import place_of
from learnloop.backup.taking import take
from learnloop.database.migrate import configuration
from learnloop.errors import Unavailable
from learnloop.settings import settings


def backup(folder: Path, airflow_database_url: str = "") -> None:
    """Of our own database and the store, to ``folder/backups``."""
    wanted = replace(
        settings(),
        backup_remote=str(folder / "backups"),
        airflow_database_url=airflow_database_url,
        mlflow_url="",
    )
    command.stamp(configuration(wanted.database_url), "head")  # its tables are the newest, and no migration made them
    take(wanted, place_of(wanted), owner="ada")


def backup_that_fails(folder: Path) -> None:
    """One that has been begun, when Airflow's database is found to be away."""
    with pytest.raises(Unavailable, match="airflow's database"):
        backup(folder, "postgresql://127.0.0.1:9/airflow")
