"""Where this deployment makes mounts: folders, and claims where jobs are pods."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnloop.errors import InvalidInput, PermissionDenied, Unavailable
from learnloop.jobs.mount import Mount
from learnloop.jobs.namespace import MOUNTS, namespace_of
from learnloop.mounts.folders import Folders
from learnloop.mounts.made import Prepared, Record, Scope
from learnloop.mounts.plan import Choice

if TYPE_CHECKING:
    from learnloop.mounts.table import Table
    from learnloop_airflow.mounts.claims import Claims

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Held:
    """A mount that exists. ``remove`` takes it away; ``name`` is for people."""

    name: str
    record: Record | None
    remove: Callable[[], None]


class Home:
    """Makes, finds and removes mounts."""

    def __init__(self, folders: Folders, claims: Claims | None) -> None:
        self.folders = folders
        self.claims = claims

    def where(self, mount: Mount, scope: Scope, table: Table) -> str | None:
        """The storage class that ``mount`` is in already; None for one that has not been made.

        Raises:
            InvalidInput: the class is not in the table any more.
        """
        if mount.lifetime == "run":
            return None
        records = [Record.of(mount, one, scope) for one in table.classes.values()]
        for kept in records:
            if kept.url is not None and self.folders.objects(kept.url).exists():
                return kept.storage_class
        made = self.claims.record_of(records[0].key) if self.claims else self.folders.record_of(records[0])
        if made is not None and made.storage_class not in table.classes:
            raise InvalidInput(
                f"mount {mount.name} lies in storage class {made.storage_class}, which the table has no more;"
                " put it back, or delete the mount"
            )
        return None if made is None else made.storage_class

    def prepare(self, choice: Choice, scope: Scope, deadline: float) -> Prepared:
        """Make the mount, or take the one that is there. A claim may not be bound yet: `CheckPod` sees to that."""
        mount, one = choice.mount, choice.storage_class
        made = {"mount": mount, "storage_class": one.name, "user": scope.user}
        record = Record.of(mount, one, scope)
        if self.claims is None or one.how == "staged":
            place, adopted = self.folders.prepare(mount, record)
            return Prepared(**made, how="folder", place=str(place), record=record, adopted=adopted)
        if one.how == "pod":
            return Prepared(**made, how="pod")
        while (there := self.claims.prepare(mount, one, record)) is None:
            if time.monotonic() > deadline:
                raise Unavailable(f"claim {record.key} of mount {mount.name} is still being removed: some pod uses it")
            time.sleep(POLL_SECONDS)
        return Prepared(**made, how="claim", place=record.key, record=record, adopted=there)

    def adopt(self, mount: Mount, user: str) -> Prepared:
        """Take what ``mount.claim`` names, and never remove it."""
        made = {"mount": mount, "storage_class": "", "user": user, "adopted": True}
        if self.claims is None:
            return Prepared(**made, how="folder", place=str(self.folders.adopt(mount, user)))
        self.claims.adopt(mount, user)
        return Prepared(**made, how="claim", place=str(mount.claim))

    def check(self, made: Sequence[Prepared], user: str) -> None:
        """Look whether ``made``, which came from another task, is ``user``'s to use.

        Raises:
            PermissionDenied, NotFound.
        """
        for one in made:
            own = namespace_of(self.folders.namespaces, MOUNTS, user)
            if one.how == "folder" and not Path(one.place).resolve().is_relative_to(own.resolve()):
                raise PermissionDenied(f"mount {one.mount.name}: {one.place} is not among {user}'s mounts")
            if one.how == "claim" and self.claims is not None:
                self.claims.check(one, user)

    def all(self) -> list[Held]:
        """Every mount there is of ours, and folders among them that do not say whose they are."""
        held = [
            Held(str(found.folder), found.record, lambda found=found: self.folders.remove(found))  # type: ignore[misc]
            for found in self.folders.all()
        ]
        if self.claims is not None:
            claims = self.claims
            held += [
                Held(found.name, found.record, lambda found=found: claims.remove(found))  # type: ignore[misc]
                for found in claims.all()
            ]
        return held

    def kept(self, table: Table) -> list[Held]:
        """The mounts that are objects at the storage classes' addresses."""
        found = []
        for url in sorted({one.url for one in table.classes.values() if one.url}):
            for address, record in self.folders.objects(url).records().items():
                found.append(Held(address, record, self.folders.objects(address).remove))
        return found

    def remove_run(self, dag_id: str, run_id: str, names: frozenset[str] | None = None) -> list[str]:
        """Remove what goes with a run (of it, the mounts called ``names``); what was removed."""
        removed = []
        for held in self.all():
            record = held.record
            if record is not None and record.of_run(dag_id, run_id) and (names is None or record.name in names):
                held.remove()
                removed.append(held.name)
        return removed


def home(aws_conn_id: str | None = "aws_default") -> Home:
    """The home of this deployment.

    Args:
        aws_conn_id: the Airflow connection for what is kept on S3; None: the environment's credentials.
    """
    from learnloop.settings import settings
    from learnloop_airflow.aws import storage_options

    def options(url: str) -> dict[str, Any]:
        return storage_options(url, aws_conn_id) if aws_conn_id is not None else {}

    claims = None
    if settings().job_runner == "kubernetes":
        from learnloop_airflow.mounts.claims import Claims
        from learnloop_airflow.pods.runner import client, namespace

        claims = Claims(client(), namespace())
    return Home(Folders(settings().namespaces, options), claims)


def table() -> Table:
    """This deployment's storage classes."""
    from learnloop.mounts.table import table_of
    from learnloop.settings import settings

    return table_of(settings())


def remove_pipeline_mounts(
    pipeline: str, user: str | None = None, aws_conn_id: str | None = "aws_default"
) -> list[str]:
    """Remove the mounts with lifetime ``pipeline`` of a pipeline (of ``user``'s runs only, if given); what was removed.

    A claim that a pod still uses goes when the pod has ended.
    """
    from learnloop.settings import settings

    there = home(aws_conn_id)
    held = there.all()
    if settings().storage_classes:
        held += there.kept(table())
    removed = []
    for one in held:
        record = one.record
        if record is None or record.lifetime != "pipeline" or record.pipeline != pipeline:
            continue
        if user is None or record.user == user:
            one.remove()
            removed.append(one.name)
    return removed
