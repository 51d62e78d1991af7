"""The store and its remote: space, garbage, verify and repair, push and fetch."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from learnloop.database import reading, session
from learnloop.datasets.gc import GRACE, Collection, collect
from learnloop.datasets.history import visible_version
from learnloop.datasets.remotes import collect_remote, fetch, open_remote, push, repair, verify
from learnloop.datasets.remotes.transfer import Transferred
from learnloop.datasets.remotes.verify import Report, trees_of
from learnloop.datasets.space import Space, space
from learnloop.datasets.store import Store
from learnloop.datasets.tier_policy import Tier
from learnloop.settings import settings
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.fields import WHOLE, Body, line
from learnloop_airflow.api.routing import Lines, Routes
from learnloop_airflow.api.streaming import Progress, stream

routes = Routes()


class Collect(Body):
    dry_run: bool = False
    grace_hours: float = Field(default=GRACE.total_seconds() / 3600, ge=1, le=24 * 3650, allow_inf_nan=False)
    remote: bool = Field(default=False, description="of the remote instead of the store")


class Versions(Body):
    """Versions by name; empty: all that are not archived, and all batches."""

    versions: list[Annotated[str, line(least=1, most=400)]] = Field(default=[], max_length=1000)


class Verify(Versions):
    sample: Annotated[int, Field(ge=1, le=2**53), WHOLE] | None = None
    repair: bool = False


@routes.add("GET", "/storage/space", "storage:read", response_model=Space)
def show_space() -> dict[str, Any]:
    """Bytes by tier, dataset and user."""
    with reading() as db:
        return asdict(space(db, Store(settings().store)))


@routes.add("POST", "/storage/gc", "storage:write", result=Collection)
def collect_garbage(wanted: Collect) -> Lines:
    """Delete objects that nothing needs and nobody touched for the grace period; progress as lines of JSON."""

    def work(progress: Progress) -> dict[str, Any]:
        store, grace = Store(settings().store), timedelta(hours=wanted.grace_hours)
        if wanted.remote:
            remote = open_remote(settings().remote)
            return asdict(collect_remote(store, remote, grace=grace, dry_run=wanted.dry_run, progress=progress))
        return asdict(collect(store, grace=grace, dry_run=wanted.dry_run, progress=progress))

    return stream(work)


@routes.add("POST", "/storage/verify", "storage:write", result=Report)
def verify_objects(wanted: Verify, caller: Caller) -> Lines:
    """Read objects, all or a sample, and name what is damaged or missing; ``repair`` fetches it from the remote."""

    def work(progress: Progress) -> dict[str, Any]:
        store = Store(settings().store)
        report = verify(store, _trees(wanted, caller.name, "hot"), sample=wanted.sample, progress=progress)
        answer = asdict(report)
        if wanted.repair and report.problems:
            answer["repair"] = asdict(repair(store, open_remote(settings().remote), report.problems))
        return answer

    return stream(work)


@routes.add("POST", "/storage/push", "storage:write", result=Transferred)
def push_versions(wanted: Versions, caller: Caller) -> Lines:
    """Copy what the remote lacks to it; progress as lines of JSON."""

    def work(progress: Progress) -> dict[str, Any]:
        trees = list(_trees(wanted, caller.name, "hot", "warm").values())
        return asdict(push(Store(settings().store), open_remote(settings().remote), trees, progress=progress))

    return stream(work)


@routes.add("POST", "/storage/fetch", "storage:write", result=Transferred)
def fetch_versions(wanted: Versions, caller: Caller) -> Lines:
    """Copy what the store lacks from the remote; progress as lines of JSON."""

    def work(progress: Progress) -> dict[str, Any]:
        trees = list(_trees(wanted, caller.name, "hot", "warm").values())
        return asdict(fetch(Store(settings().store), open_remote(settings().remote), trees, progress=progress))

    return stream(work)


def _trees(wanted: Versions, user: str, *tiers: Tier) -> dict[str, str]:
    with session() as db:
        for name in wanted.versions:
            visible_version(db, name, user)
        return trees_of(db, wanted.versions or None, tiers)
