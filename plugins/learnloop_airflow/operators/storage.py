"""What `storage_maintenance` does: recalls what will be read, moves down what is not, collects garbage."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context

from learnloop_airflow.common import store

if TYPE_CHECKING:
    from learnloop.datasets.tier_runs import Applied


class CollectGarbageOperator(BaseOperator):
    """Delete the objects of the store that nothing needs, and the bundles of deleted versions.

    :param grace: how long an object must have been left alone; two days when None.
    :param dry_run: only say what would go; bundles are not looked at.
    :return: what went, as ``learnloop.datasets.gc.Collection`` has it.
    """

    def __init__(self, *, grace: timedelta | None = None, dry_run: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grace = grace
        self.dry_run = dry_run

    def execute(self, context: Context) -> dict[str, int]:
        from learnloop.database import session
        from learnloop.datasets.gc import GRACE, collect
        from learnloop.datasets.tier_remote import open_remote
        from learnloop.datasets.tiers import sweep_archive
        from learnloop.settings import settings

        done = collect(store(), grace=GRACE if self.grace is None else self.grace, dry_run=self.dry_run)
        for row in done.ages:
            self.log.info("older than %s: %d objects, %d bytes", row.older_than, row.objects, row.bytes)
        bundles: list[str] = []
        if not self.dry_run and settings().remote:
            with session() as db:
                bundles = sweep_archive(db, open_remote(settings().remote))
        report = {name: value for name, value in asdict(done).items() if name not in ("dry_run", "ages")}
        self.log.info("%s: %s, %d bundles", "would go" if self.dry_run else "gone", report, len(bundles))
        return {**report, "bundles": len(bundles)}


class ApplyTierPolicyOperator(BaseOperator):
    """Move the versions that nobody reads to the warm and the cold tier; fails when a move did, after the others.

    :return: the versions moved, each with its tier.
    """

    def execute(self, context: Context) -> dict[str, str]:
        from learnloop.datasets.tier_remote import open_remote
        from learnloop.datasets.tier_runs import apply_tiers
        from learnloop.settings import settings

        return _report(self, apply_tiers(store(), open_remote(settings().remote), progress=self._said))

    def _said(self, done: int, total: int) -> None:
        self.log.info("%d of %d versions", done, total)


class PrefetchOperator(BaseOperator):
    """Recall the versions that the next runs will probably read; fails when one failed, after the others.

    :return: the versions recalled, each with its tier.
    """

    def execute(self, context: Context) -> dict[str, str]:
        from learnloop.datasets.tier_remote import open_remote
        from learnloop.datasets.tier_runs import prefetch
        from learnloop.settings import settings

        return _report(self, prefetch(store(), open_remote(settings().remote)))


def _report(operator: BaseOperator, done: Applied) -> dict[str, str]:
    from learnloop.errors import LearnloopError

    for move in done.moved:
        operator.log.info("%s: %s -> %s, %d bytes", move.version, move.source, move.target, move.bytes)
    if done.failed:
        raise LearnloopError("\n".join(f"{version} was not moved: {reason}" for version, reason in done.failed))
    return {move.version: move.target for move in done.moved}
