"""Operators that copy the store to and from a remote, and that check and repair it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from learnloop_airflow.aws import open_remote
from learnloop_airflow.common import store

if TYPE_CHECKING:
    from learnloop.datasets.remotes import Remote
    from learnloop.datasets.tier_policy import Tier


class RemoteOperator(BaseOperator):
    """What the operators of this module share.

    :param versions: names of dataset versions (templated); empty for all versions and batches.
    :param remote: a folder or a URL such as ``s3://bucket/prefix`` (templated); empty for the one in the settings.
    :param aws_conn_id: the Airflow connection with the credentials of an S3 remote.
    """

    template_fields: Sequence[str] = ("versions", "remote")

    def __init__(
        self, *, versions: Sequence[str] = (), remote: str = "", aws_conn_id: str = "aws_default", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.versions = versions
        self.remote = remote
        self.aws_conn_id = aws_conn_id

    def open_remote(self) -> Remote:
        """The remote, with the connection's credentials when it is S3."""
        from learnloop.settings import settings

        return open_remote(self.remote or settings().remote, self.aws_conn_id)

    def trees(self, *tiers: Tier) -> dict[str, str]:
        """The tree of each version that is meant, by its name; without names, of those in ``tiers``."""
        from learnloop.database import session
        from learnloop.datasets.remotes.verify import trees_of

        with session() as db:
            return trees_of(db, self.versions or None, tiers)


class PushOperator(RemoteOperator):
    """Copy to the remote what it lacks of dataset versions.

    :return: ``{objects, bytes}`` that were copied.
    """

    def execute(self, context: Context) -> dict[str, int]:
        from learnloop.datasets.remotes import push

        remote = self.open_remote()
        done = push(store(), remote, list(self.trees("hot", "warm").values()))
        self.log.info("pushed %d objects, %d bytes to %s", done.objects, done.bytes, remote.address)
        return {"objects": done.objects, "bytes": done.bytes}


class FetchOperator(RemoteOperator):
    """Copy from the remote what the store lacks of dataset versions.

    :return: ``{objects, bytes}`` that were copied.
    """

    def execute(self, context: Context) -> dict[str, int]:
        from learnloop.datasets.remotes import fetch

        remote = self.open_remote()
        done = fetch(store(), remote, list(self.trees("hot", "warm").values()))
        self.log.info("fetched %d objects, %d bytes from %s", done.objects, done.bytes, remote.address)
        return {"objects": done.objects, "bytes": done.bytes}


class ReplicateOperator(RemoteOperator):
    """Keep a second remote: push what the remote lacks, then copy from it what the replica lacks, archives too.

    Skips when there is no replica. What was deleted stays at the replica until somebody removes it there.

    :param replica: a folder or a URL such as ``s3://bucket/prefix`` (templated); empty for the one in the settings.
    :param replica_aws_conn_id: the Airflow connection with the credentials of an S3 replica.
    :return: ``{objects, bytes, bundles}`` that were copied to the replica.
    """

    template_fields: Sequence[str] = (*RemoteOperator.template_fields, "replica")

    def __init__(self, *, replica: str = "", replica_aws_conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.replica = replica
        self.replica_aws_conn_id = replica_aws_conn_id

    def execute(self, context: Context) -> dict[str, int]:
        from learnloop.database import session
        from learnloop.datasets.remotes import push, replicate
        from learnloop.datasets.replica import bundles_of, copy_bundles
        from learnloop.settings import settings

        address = self.replica or settings().replica
        if not address:
            raise AirflowSkipException("there is no replica: LEARNLOOP_REPLICA names a second remote")
        replica = open_remote(address, self.replica_aws_conn_id)
        remote, trees = self.open_remote(), list(self.trees("hot", "warm").values())
        push(store(), remote, trees)
        done = replicate(remote, replica, trees, store())
        with session() as db:
            bundles = bundles_of(db)
        copied, size = copy_bundles(store(), bundles, remote, replica)
        self.log.info("%d objects, %d bundles, %d bytes to %s", done.objects, copied, done.bytes + size, address)
        return {"objects": done.objects, "bytes": done.bytes + size, "bundles": copied}


class VerifyOperator(RemoteOperator):
    """Verify what versions hold, and repair it from the remote; fails when something remains wrong.

    :param sample: how many objects to read, another choice each run; None for all.
    :return: ``{checked, repaired}``.
    """

    def __init__(self, *, sample: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sample = sample

    def execute(self, context: Context) -> dict[str, int]:
        from zlib import crc32

        from learnloop.datasets.remotes import repair, verify
        from learnloop.errors import Corrupted

        report = verify(store(), self.trees("hot"), sample=self.sample, seed=crc32(context["run_id"].encode()))
        if not report.problems:
            self.log.info("%d of %d objects read: nothing is wrong", report.checked, report.of)
            return {"checked": report.checked, "repaired": 0}
        for problem in report.problems:
            self.log.warning("%s", problem)
        done = repair(store(), self.open_remote(), report.problems)
        if done.unrepaired:
            raise Corrupted("\n  - ".join(["what could not be repaired:", *map(str, done.unrepaired)]))
        return {"checked": report.checked, "repaired": len(done.repaired)}
