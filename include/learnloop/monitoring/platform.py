"""What all datasets share: the line for capacity, the outbox, what is to be sent, storage and its price."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from prometheus_client.core import Metric
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from learnloop.capacity.deciding import PATIENCE
from learnloop.database import (
    BackupRun,
    Batch,
    Capacity,
    DatasetVersion,
    EventDelivery,
    JobProgress,
    MountPlan,
    OutboxMessage,
    Reservation,
    VersionStorage,
)
from learnloop.monitoring.families import age, gauge
from learnloop.settings import settings

COST_DAYS = 30
_AMOUNTS = {"cpu": ("cpu_cores", 1000), "memory": ("memory_bytes", 1), "gpu": ("gpus", 1)}


def queue(db: Session) -> Iterable[Metric]:
    """Which jobs hold or wait for capacity. Priorities are told as the three classes that pods get by them."""
    level = case((Reservation.priority > 0, "high"), (Reservation.priority < 0, "low"), else_="normal")
    silent = (Reservation.state == "waiting") & (Reservation.seen_at < func.now() - PATIENCE)
    rows = db.execute(
        select(Reservation.runner, level, Reservation.state, func.count(), func.max(age(Reservation.created_at)))
        .where(Reservation.state != "released", ~silent)
        .group_by(Reservation.runner, level, Reservation.state)
    ).all()
    labels = ("runner", "priority", "state")
    yield gauge("queue_jobs", "Jobs that wait for capacity, or hold it.", labels, [row[:4] for row in rows])
    waiting = [(row[0], row[1], row[4]) for row in rows if row[2] == "waiting"]
    what = "How long who waits longest for capacity has waited."
    yield gauge("queue_oldest_seconds", what, labels[:2], waiting)
    sums = {name: func.sum(getattr(Reservation, name)) for name in _AMOUNTS}
    held = db.execute(
        select(Reservation.runner, *sums.values())
        .where(Reservation.state.in_(("admitted", "begun")))
        .group_by(Reservation.runner)
    ).all()
    reports = db.execute(select(Capacity.runner, Capacity.report)).all()
    for number, (name, (unit, over)) in enumerate(_AMOUNTS.items(), 1):
        told = [(row[0], row[number] / over) for row in held]
        yield gauge(f"capacity_reserved_{unit}", "What jobs hold.", ("runner",), told)
        there = [
            (runner, pool["pool"] or "", pool["total"][name] / over)
            for runner, report in reports
            for pool in report.get("pools", [])
        ]
        yield gauge(f"capacity_total_{unit}", "What nodes have.", ("runner", "pool"), there)
    recent = JobProgress.updated_at > func.now() - func.make_interval(0, 0, 0, 0, 0, 1)
    moving = db.scalar(select(func.count()).select_from(JobProgress).where(recent))
    yield gauge("jobs_progressing", "Jobs that told of progress within a minute.", (), [(moving,)])


def messages(db: Session) -> Iterable[Metric]:
    """What has been written down to be told, and was not yet."""
    count, oldest = db.execute(
        select(func.count(), func.max(age(OutboxMessage.created_at))).where(OutboxMessage.delivered_at.is_(None))
    ).one()
    yield gauge("outbox_undelivered", "Outbox messages that nobody has taken yet.", (), [(count,)])
    what = "How long the oldest of them has waited."
    yield gauge("outbox_oldest_seconds", what, (), [(oldest or 0,)])
    state = case((EventDelivery.next_try_at.is_(None), "given_up"), else_="waiting")
    rows = db.execute(
        select(EventDelivery.channel, state, func.count(), func.max(EventDelivery.tries))
        .where(EventDelivery.sent_at.is_(None))
        .group_by(EventDelivery.channel, state)
    ).all()
    labels = ("channel", "state")
    yield gauge("event_deliveries_unsent", "Mails and webhooks not sent.", labels, [row[:3] for row in rows])
    what = "How often the one of them that fails most was tried."
    yield gauge("event_delivery_most_tries", what, labels, [(*row[:2], row[3]) for row in rows])


def storage(db: Session) -> Iterable[Metric]:
    """Versions by tier, the disk of the store, and what mounts were estimated to cost."""
    tier = func.coalesce(VersionStorage.tier, "hot")
    rows = db.execute(
        select(tier, func.count(), func.sum(DatasetVersion.bytes))
        .select_from(DatasetVersion)
        .outerjoin(VersionStorage, VersionStorage.version_id == DatasetVersion.id)
        .group_by(tier)
    ).all()
    yield gauge("storage_versions", "Dataset versions by tier.", ("tier",), [row[:2] for row in rows])
    what = "Sizes of versions by tier, as folders: what several share counts for each."
    yield gauge("storage_logical_bytes", what, ("tier",), [(row[0], row[2]) for row in rows])
    warm, cold = db.execute(select(func.sum(VersionStorage.warm_bytes), func.sum(VersionStorage.cold_bytes))).one()
    what = "Bytes that versions added to the remote when they were moved there."
    yield gauge("storage_remote_bytes", what, ("tier",), [("warm", warm or 0), ("cold", cold or 0)])
    batches = db.scalar(select(func.count()).select_from(Batch))
    yield gauge("batches", "Batches of data that arrived, ever.", (), [(batches,)])
    yield from _disks()
    window = func.make_interval(0, 0, 0, COST_DAYS)
    cost = db.execute(
        select(MountPlan.currency, func.count(), func.sum(MountPlan.cost))
        .where(MountPlan.created_at > func.now() - window)
        .group_by(MountPlan.currency)
    ).all()
    what = f"What the mounts of the last {COST_DAYS} days' runs were estimated to cost."
    yield gauge("mounts_estimated_cost", what, ("currency",), [(row[0], row[2]) for row in cost])
    yield gauge("mounts_plans", f"Plans of the last {COST_DAYS} days.", ("currency",), [row[:2] for row in cost])


def backups(db: Session) -> Iterable[Metric]:
    """When the last good backup ended; nothing, while there is none."""
    newest = db.scalar(select(func.max(BackupRun.finished_at)))
    what = "When the last backup that lacks nothing ended."
    rows = [] if newest is None else [(newest.timestamp(),)]
    yield gauge("backup_last_success_timestamp_seconds", what, (), rows)
    begun = db.scalar(select(func.min(BackupRun.started_at)))
    what = "When the first backup was begun."
    yield gauge("backup_first_started_timestamp_seconds", what, (), [] if begun is None else [(begun.timestamp(),)])


def _disks() -> Iterable[Metric]:
    """Of this machine; a place that is not there yet is none of its disks'. ``database``: where PostgreSQL is embedded."""
    places = {
        "store": settings().store,
        "namespaces": settings().namespaces,
        "models": settings().models,
        "database": settings().home / "postgres",
    }
    found = [(name, shutil.disk_usage(place)) for name, place in places.items() if place.is_dir()]
    what = "Bytes of the file system that a place of ours is on."
    yield gauge("disk_size_bytes", what, ("place",), [(name, usage.total) for name, usage in found])
    yield gauge(
        "disk_free_bytes", "Bytes of it that are free.", ("place",), [(name, usage.free) for name, usage in found]
    )
