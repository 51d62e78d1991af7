"""What maintenance does about backups: take one when the last is too old, read it back, remove old ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select, update

from learnloop import database
from learnloop.backup.checking import verify
from learnloop.backup.contents import Head
from learnloop.backup.opening import last_success
from learnloop.backup.place import Place
from learnloop.backup.retention import Pruned, prune
from learnloop.backup.taking import only_one, take
from learnloop.database import BackupRun
from learnloop.datasets.remotes import Remote
from learnloop.permissions import SERVICE
from learnloop.settings import Settings


@dataclass(frozen=True)
class Kept:
    """The backup that was taken and read back, and what went for it."""

    head: Head
    pruned: Pruned


def due(settings: Settings) -> bool:
    """Whether the last backup that lacks nothing is older than the settings allow."""
    oldest = timedelta(hours=settings.backup_hours)
    with database.session(settings.database_url) as session:
        last = last_success(session)
        return last is None or bool(session.scalar(select(func.now() - oldest > last)))


def keep_up(settings: Settings, place: Place, *, remote: Remote | None = None) -> Kept:
    """Take a backup, read every byte of it back, and remove those that are no longer kept.

    Raises:
        Corrupted: it did not come back as it was, or lacks something; no older one was removed.
    """
    head = take(settings, place, owner=SERVICE.name, remote=remote)
    verify(place, head.name, settings.store / "tmp", deep=True).raise_if_wrong()
    with database.session(settings.database_url) as session:
        mine = update(BackupRun).where(BackupRun.name == head.name)
        session.execute(mine.values(verified_at=func.clock_timestamp()))
    with only_one(settings):
        pruned = prune(place, daily=settings.backup_keep_daily, weekly=settings.backup_keep_weekly)
    return Kept(head, pruned)
