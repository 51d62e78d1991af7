"""Bring Learnloop's own database to the newest schema, or write the migration that would."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool

from learnloop.errors import Conflict

MIGRATIONS = Path(__file__).parent / "migrations"
RESTORING = "learnloop_restoring"
"""The table that a database has while it is being restored from a backup."""


def configuration(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate.

    Raises:
        Conflict: a restore into the database has not ended.
    """
    with create_engine(url, poolclass=NullPool).connect() as connection:
        if inspect(connection).has_table(RESTORING):
            raise Conflict(
                "a restore into this database has not ended: run `learnloop restore` again, which goes on with it"
            )
    command.upgrade(configuration(url), revision)


def downgrade(url: str, revision: str) -> None:
    command.downgrade(configuration(url), revision)


def revisions() -> list[str]:
    """All schema revisions that this code knows, the oldest first."""
    script = ScriptDirectory.from_config(configuration(""))
    return [found.revision for found in script.walk_revisions()][::-1]
