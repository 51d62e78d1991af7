"""The replica: a second remote that has all the first one has, for the day the first is lost."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop.database import VersionStorage
from learnloop.datasets.bundle import sha256_of
from learnloop.datasets.remotes import Remote
from learnloop.datasets.store import Store
from learnloop.errors import Corrupted


@dataclass(frozen=True)
class Bundle:
    """A version of the cold tier, as a remote has it."""

    name: str
    sha256: str


def bundles_of(session: Session) -> list[Bundle]:
    """The bundles of all versions in the cold tier."""
    rows = session.execute(
        select(VersionStorage.bundle, VersionStorage.bundle_sha256)
        .where(VersionStorage.tier == "cold")
        .order_by(VersionStorage.version_id)
    )
    # Neither is null for the cold tier, as the table's constraint says.
    return [Bundle(name, sha256) for name, sha256 in rows if name and sha256]


def copy_bundles(store: Store, bundles: list[Bundle], source: Remote, target: Remote) -> tuple[int, int]:
    """Copy to ``target`` the bundles that it lacks, by way of a temporary file of ``store``; their number and bytes.

    Raises:
        NotFound: ``source`` lacks one.
        Corrupted: ``source`` sent other bytes than were archived; the bundles before it were copied.
        Unavailable: a remote does not answer, refuses us, or is full.
    """
    there = target.has([bundle.name for bundle in bundles])
    copied = size = 0
    for bundle in bundles:
        if bundle.name in there:
            continue
        path = store.new_temporary()
        try:
            source.download(bundle.name, path)
            if sha256_of(path) != bundle.sha256:
                raise Corrupted(f"the bundle {bundle.name} came with other bytes than were archived; it was not copied")
            size += path.stat().st_size
            target.upload(bundle.name, path)
            copied += 1
        finally:
            path.unlink(missing_ok=True)
    return copied, size
