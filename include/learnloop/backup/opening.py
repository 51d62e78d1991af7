"""From the settings to the place of backups, and what is known of those taken."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop.backup.place import Place
from learnloop.backup.sealing import sealer_of
from learnloop.database import BackupRun
from learnloop.datasets.remotes import Remote, open_remote
from learnloop.errors import InvalidInput
from learnloop.settings import Settings


def place_of(settings: Settings, remote: Remote | None = None) -> Place:
    """The place that the settings name; nothing is asked of it yet.

    Args:
        remote: how to reach it, where it needs other credentials than the environment's, and the settings say nothing
            of it.

    Raises:
        InvalidInput: none is named, it is the store's own remote, or the key's file holds no key.
        NotFound: there is no file of the key.
    """
    address = settings.backup_remote
    if not address:
        raise InvalidInput("no place for backups is configured: LEARNLOOP_BACKUP_REMOTE must name a folder or a URL")
    if address.rstrip("/") in (settings.remote.rstrip("/"), str(settings.store)):
        raise InvalidInput(f"{address} is where the store's objects are: backups need a place of their own")
    if options := _options(settings):
        remote = open_remote(address, options)
    return Place(remote or open_remote(address), sealer_of(settings.backup_key_file), settings.store / "tmp")


def _options(settings: Settings) -> dict[str, str]:
    """What a place on S3 of its own is reached by: where it is, and whose credentials open it."""
    given = {"endpoint_url": settings.backup_endpoint, "profile": settings.backup_profile}
    options = {name: value for name, value in given.items() if value}
    if options and not settings.backup_remote.startswith("s3://"):
        raise InvalidInput(
            f"LEARNLOOP_BACKUP_ENDPOINT and LEARNLOOP_BACKUP_PROFILE are for a place on S3, and {settings.backup_remote}"
            " is none: leave them out"
        )
    return options


def last_success(session: Session) -> datetime | None:
    """When the last backup that lacks nothing was finished."""
    return session.scalar(
        select(BackupRun.finished_at)
        .where(BackupRun.finished_at.is_not(None))
        .order_by(BackupRun.finished_at.desc())
        .limit(1)
    )


def last_runs(session: Session, count: int) -> list[BackupRun]:
    """The last backups that were begun, the newest first."""
    return list(session.scalars(select(BackupRun).order_by(BackupRun.id.desc()).limit(count)))
