"""What `storage_maintenance` does: recalls what will be read, moves down what is not, collects garbage."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context

from learnloop_airflow.aws import open_remote
from learnloop_airflow.common import store

if TYPE_CHECKING:
    from learnloop.datasets.remotes import Remote
    from learnloop.datasets.tier_runs import Applied


class StorageOperator(BaseOperator):
    """What the operators of this module share.

    :param aws_conn_id: the Airflow connection with the credentials of an S3 remote.
    """

    def __init__(self, *, aws_conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id

    def open_remote(self) -> Remote:
        """The settings' remote, with the connection's credentials when it is S3."""
        from learnloop.settings import settings

        return open_remote(settings().remote, self.aws_conn_id)


class RemoveModelsOperator(BaseOperator):
    """Remove model versions that a structure search did not choose, after ``LEARNLOOP_MODEL_DAYS`` days.

    :return: ``{gone, kept}``: ``{name}:{version}`` of what went, and of what stays, with the reason.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.models.retention import remove_not_chosen
        from learnloop.settings import settings

        done = remove_not_chosen(session, days=settings().model_days)
        self.log.info("model versions removed: %s", ", ".join(done.gone) or "none")
        for version, reason in done.kept.items():
            self.log.info("%s stays: %s", version, reason)
        return asdict(done)


class CollectGarbageOperator(StorageOperator):
    """Delete the objects of the store that nothing needs, and the bundles of deleted versions.

    :param grace: how long an object must have been left alone; two days when None.
    :param dry_run: only say what would go; bundles are not looked at.
    :param at_remote: of the remote instead of the store: only where nobody else keeps data at it.
    :return: what went, as ``learnloop.datasets.gc.Collection`` has it.
    """

    def __init__(
        self, *, grace: timedelta | None = None, dry_run: bool = False, at_remote: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.grace = grace
        self.dry_run = dry_run
        self.at_remote = at_remote

    def execute(self, context: Context) -> dict[str, int]:
        from learnloop.database import session
        from learnloop.datasets.gc import GRACE, collect
        from learnloop.datasets.remotes import collect_remote
        from learnloop.datasets.tiers import sweep_archive
        from learnloop.settings import settings

        grace = GRACE if self.grace is None else self.grace
        if self.at_remote:
            done = collect_remote(store(), self.open_remote(), grace=grace, dry_run=self.dry_run)
        else:
            done = collect(store(), grace=grace, dry_run=self.dry_run)
        for row in done.ages:
            self.log.info("older than %s: %d objects, %d bytes", row.older_than, row.objects, row.bytes)
        bundles: list[str] = []
        if not self.dry_run and settings().remote:
            with session() as db:
                bundles = sweep_archive(db, self.open_remote())
        report = {name: value for name, value in asdict(done).items() if name not in ("dry_run", "ages")}
        self.log.info("%s: %s, %d bundles", "would go" if self.dry_run else "gone", report, len(bundles))
        return {**report, "bundles": len(bundles)}


class ApplyTierPolicyOperator(StorageOperator):
    """Move the versions that nobody reads to the warm and the cold tier; fails when a move did, after the others.

    :return: the versions moved, each with its tier.
    """

    def execute(self, context: Context) -> dict[str, str]:
        from learnloop.datasets.tier_runs import apply_tiers

        return _report(self, apply_tiers(store(), self.open_remote(), progress=self._said))

    def _said(self, done: int, total: int) -> None:
        self.log.info("%d of %d versions", done, total)


class PrefetchOperator(StorageOperator):
    """Recall the versions that the next runs will probably read; fails when one failed, after the others.

    :return: the versions recalled, each with its tier.
    """

    def execute(self, context: Context) -> dict[str, str]:
        from learnloop.datasets.tier_runs import prefetch

        return _report(self, prefetch(store(), self.open_remote()))


def _report(operator: BaseOperator, done: Applied) -> dict[str, str]:
    from learnloop.errors import LearnloopError

    for move in done.moved:
        operator.log.info("%s: %s -> %s, %d bytes", move.version, move.source, move.target, move.bytes)
    if done.failed:
        raise LearnloopError("\n".join(f"{version} was not moved: {reason}" for version, reason in done.failed))
    return {move.version: move.target for move in done.moved}
