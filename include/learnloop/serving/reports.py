"""What one server tells of itself in the database: its heartbeat, and how each deployment goes here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import Deployment, DeploymentStatus, ServerReplica, session

FORGET_AFTER = timedelta(hours=1)
"""A replica that was killed is forgotten after this long."""


@dataclass(frozen=True)
class Status:
    """What this replica reports of one deployment."""

    generation: int
    state: str
    served_version: int | None
    message: str


class Reports:
    """Writes as ``replica``, a name no other process ever had, that serves at ``url``."""

    def __init__(self, database_url: str, replica: str, url: str) -> None:
        self._database_url = database_url
        self._replica = replica
        self._url = url
        self._written: dict[int, Status] = {}

    def write(self, statuses: dict[int, Status], *, first: bool) -> None:
        """Write the heartbeat, and the statuses (by deployment id) that changed.

        Args:
            first: this is the first time: forget replicas that were killed long ago.
        """
        changed = {number: status for number, status in statuses.items() if self._written.get(number) != status}
        with session(self._database_url) as opened:
            if first:
                old = select(ServerReplica.name).where(ServerReplica.seen_at < func.now() - FORGET_AFTER)
                for replica in opened.scalars(old).all():
                    _forget(opened, replica)
            beat = {"url": self._url, "seen_at": func.now()}
            opened.execute(
                insert(ServerReplica)
                .values(name=self._replica, **beat)
                .on_conflict_do_update(index_elements=["name"], set_=beat)
            )
            for number, status in changed.items():
                _report_status(opened, self._replica, number, status)
        self._written = statuses

    def forget_written(self) -> None:
        """Write everything again next time: others may have forgotten this replica meanwhile."""
        self._written = {}

    def sign_off(self) -> None:
        """Take this replica's rows away, so that nobody waits for it."""
        with session(self._database_url) as opened:
            _forget(opened, self._replica)


def _report_status(opened: Session, replica: str, deployment_id: int, status: Status) -> None:
    values = {**vars(status), "reported_at": func.now()}
    # The row may have been deleted since it was read; then there is nothing to report of.
    exists = select(Deployment.id).where(Deployment.id == deployment_id).with_for_update(key_share=True, read=True)
    if opened.scalar(exists) is None:
        return
    opened.execute(
        insert(DeploymentStatus)
        .values(replica=replica, deployment_id=deployment_id, **values)
        .on_conflict_do_update(index_elements=["replica", "deployment_id"], set_=values)
    )


def _forget(opened: Session, replica: str) -> None:
    opened.execute(delete(DeploymentStatus).where(DeploymentStatus.replica == replica))
    opened.execute(delete(ServerReplica).where(ServerReplica.name == replica))
