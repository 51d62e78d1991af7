"""Operators of training in a workspace: read lease, private checkout, personal version, and its way back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context

from learnloop_airflow.common import is_true, readable, run_owner, store
from learnloop_airflow.operators.rounds import loop_facts
from learnloop_airflow.operators.snapshot import pin


class ReadLeaseOperator(BaseOperator):
    """Say that this run reads a version: it is not deleted, and its bytes stay, while the run lasts. Blocks nobody.

    :param dataset: the dataset's name (templated).
    :param version: the version's name; empty: the head (templated).
    :param lasts: how long at most; the teardown gives the lease back earlier.
    :return: the version's pin, with ``lease``, ``parent_model_version`` and ``trainer``.
    """

    template_fields: Sequence[str] = ("dataset", "version")

    def __init__(self, *, dataset: str, version: str = "", lasts: timedelta = timedelta(days=1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.version = version
        self.lasts = lasts

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.datasets.history import visible_version
        from learnloop.datasets.reading import read_lease
        from learnloop.datasets.versions import get_dataset
        from learnloop.errors import Conflict, InvalidInput

        owner = run_owner(context)
        with session() as db:
            dataset = get_dataset(db, self.dataset)
            if not self.version and dataset.head is None:
                raise Conflict(f"dataset {dataset.name} has no version yet: run base_model_training first")
            version = visible_version(db, self.version or dataset.head.name, owner)
            if version.dataset_id != dataset.id:
                raise InvalidInput(f"{version.name} is a version of {version.dataset.name}, not of {dataset.name}")
            lease = read_lease(db, version, owner, self.lasts, f"run {context['run_id']}"[:200])
            return {**pin(version), "lease": lease.id, **loop_facts(dataset)}


class ReleaseReadOperator(BaseOperator):
    """Give a read lease back; made a teardown. One that is missed here lapses by itself.

    :param lease: what ``ReadLeaseOperator`` returned (templated).
    """

    template_fields: Sequence[str] = ("lease",)

    def __init__(self, *, lease: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lease = lease

    def execute(self, context: Context) -> bool:
        from learnloop.database import session
        from learnloop.datasets.reading import release_read

        if self.lease is None:
            return False
        with session() as db:
            return release_read(db, self.lease["lease"])


class WorkspaceOperator(BaseOperator):
    """Make a workspace of a pinned version, or use one that its owner has made before; a setup.

    Tried again, it finds the workspace that the run has made.

    :param pin: the version, as ``ReadLeaseOperator`` returns it (templated).
    :param name: an existing workspace of the one who triggered the run; empty: a new one (templated).
    :param keep: a new one stays until it is discarded by hand (templated).
    :param lasts: how long one that is not kept stays when the teardown misses it.
    :return: the pin, with ``workspace`` (its name), ``path`` and ``key`` (what a new one is known by, else None).
    """

    template_fields: Sequence[str] = ("pin", "name", "keep")

    def __init__(
        self, *, pin: Any, name: str = "", keep: Any = False, lasts: timedelta = timedelta(days=7), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.pin = pin
        self.name = name
        self.keep = keep
        self.lasts = lasts

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.datasets import workspaces
        from learnloop.errors import InvalidInput
        from learnloop.settings import settings

        owner, configured = run_owner(context), settings()
        key = None if self.name else _key(f"{self.dag_id}:{context['run_id']}:{self.task_id}")
        if key is None:
            with session() as db:
                used = workspaces.get(db, self.name, owner=owner)
                if used.dataset.name != self.pin["dataset"]:
                    raise InvalidInput(f"workspace {self.name} is of {used.dataset.name}, not of {self.pin['dataset']}")
        else:
            used = workspaces.create(
                session,
                store(),
                self.pin["version"],
                owner=owner,
                name=key,
                namespaces=configured.namespaces,
                quota=workspaces.Quota(configured.workspaces_per_user, configured.workspace_bytes_per_user),
                lasts=None if is_true(self.keep) else self.lasts,
                key=key,
            )
        self.log.info("workspace %s of %s: %s", used.name, owner, used.path)
        return {**self.pin, "workspace": used.name, "path": used.path, "key": key}


class DiscardWorkspaceOperator(BaseOperator):
    """Discard the workspace that this run made, unless it is to be kept; made a teardown.

    :param workspace: what ``WorkspaceOperator`` returned (templated).
    :param keep: keep it (templated).
    """

    template_fields: Sequence[str] = ("workspace", "keep")

    def __init__(self, *, workspace: Any, keep: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workspace = workspace
        self.keep = keep

    def execute(self, context: Context) -> bool:
        from learnloop.database import session
        from learnloop.datasets.workspace_removal import discard

        if self.workspace is None or self.workspace["key"] is None or is_true(self.keep):
            return False
        return discard(session, self.workspace["workspace"], owner=run_owner(context), key=self.workspace["key"])


class CommitWorkspaceOperator(BaseOperator):
    """Make a personal version of the workspace as it is, with labels from a file put in first when one is given.

    :param workspace: what ``WorkspaceOperator`` returned (templated).
    :param annotations: a Parquet file with ``sample_id`` and ``label`` for samples of the version; empty: none (templated).
    :param message: what the version's history says (templated).
    :return: the version's pin (the base's, when nothing has changed), with what the workspace's had.
    """

    template_fields: Sequence[str] = ("workspace", "annotations", "message")

    def __init__(self, *, workspace: Any, annotations: str = "", message: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workspace = workspace
        self.annotations = annotations
        self.message = message

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import DatasetVersion, session
        from learnloop.datasets import workspaces
        from learnloop.datasets.preprocess import preprocess

        owner, name = run_owner(context), self.workspace["workspace"]
        if self.annotations:
            changed = workspaces.label(session, name, readable(self.annotations, owner), owner=owner)
            self.log.info("%d samples got another label", changed)
        made = workspaces.commit(session, store(), name, owner=owner, message=self.message or "trained in a workspace")
        with session() as db:
            version = db.get_one(DatasetVersion, made.id)
            if "recipe" not in version.provenance:
                version = preprocess(db, store(), version, owner=owner, run_id=context["run_id"])
            return {**self.workspace, **pin(version)}


class MergeOrBranchOperator(BaseOperator):
    """Bring a personal version into the head's line; where that needs a person, leave a branch and a merge request.

    :param pin: the personal version's pin (templated).
    :return: ``{"state": "merged" | "open" | "unchanged", "version": ..., "merge": ..., "conflicts": ...}``
    """

    template_fields: Sequence[str] = ("pin",)

    def __init__(self, *, pin: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pin = pin

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import DatasetVersion, session
        from learnloop.datasets.merge_or_branch import merge_or_branch

        with session() as db:
            version = db.get_one(DatasetVersion, self.pin["version_id"])
            done = merge_or_branch(db, store(), version, owner=run_owner(context), run_id=context["run_id"])
        self.log.info("%s", done.says)
        return {"state": done.state, "version": done.version, "merge": done.merge_id, "conflicts": done.conflicts}


def _key(work: str) -> str:
    """What a run's own workspace is called, and known by: a run id may be longer than a name, and hold other signs."""
    return f"run-{hashlib.sha256(work.encode()).hexdigest()[:24]}"
