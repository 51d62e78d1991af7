"""The thread that makes a server serve what the database says: read the rows, load, swap, drain, report.

It looks every second and whenever it is woken. While the database is away the server keeps serving what it
has. A version that does not load or fails its smoke test never takes an alias.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from learnloop.database import Deployment, DeploymentStatus, ModelLease, ServerReplica, session
from learnloop.serving.metrics import Metrics
from learnloop.serving.models import Key, LoadedVersion, ModelSet

POLL_SECONDS = 1.0
RETRY_SECONDS = 10.0
"""A failed load is tried again after this long (a registry may have been away), or at once for a new generation."""
FORGET_AFTER = timedelta(hours=1)
"""A replica that was killed is forgotten after this long."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What the database says: the deployments, and the versions with a live lease."""

    deployments: list[Deployment]
    leased: set[Key]

    @property
    def generations(self) -> dict[Key, int]:
        """Every version that must be loaded, with the newest generation that asks for it (0: only a lease does)."""
        newest = dict.fromkeys(self.leased, 0)
        for row in self.deployments:
            key = (row.model_name, row.model_version)
            newest[key] = max(newest.get(key, 0), row.generation)
        return newest


@dataclass(frozen=True)
class Status:
    """What this replica reports of one deployment."""

    generation: int
    state: str
    served_version: int | None
    message: str


@dataclass(frozen=True)
class _Failure:
    message: str
    generation: int
    retry_at: float


class Reconciler:
    """Keeps ``models`` at what the database wants; reports as ``replica`` (a name no other process ever had)."""

    def __init__(self, models: ModelSet, metrics: Metrics, *, database_url: str, replica: str, url: str) -> None:
        self._models = models
        self._metrics = metrics
        self._database_url = database_url
        self._replica = replica
        self._url = url
        self._loads: dict[Key, Future[LoadedVersion]] = {}
        self._failures: dict[Key, _Failure] = {}
        self._reported: dict[int, Status] = {}
        self._untried: set[int] | None = None  # deployments present at the start; None: not read yet
        self._loader = ThreadPoolExecutor(max_workers=2, thread_name_prefix="load-model")
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        self.wake()
        self._thread.start()

    def stop(self) -> None:
        """Stop, and take this replica's rows away, so that nobody waits for it."""
        self._stopping.set()
        self.wake()
        self._thread.join()
        self._loader.shutdown(wait=False, cancel_futures=True)
        try:
            with session(self._database_url) as opened:
                _forget(opened, self._replica)
        except SQLAlchemyError as error:
            log.warning("Replica %s could not sign off (its heartbeat will run out): %s", self._replica, error)

    def wake(self) -> None:
        """Look at the database now."""
        self._woken.set()

    @property
    def live(self) -> bool:
        return self._thread.is_alive()

    @property
    def ready(self) -> bool:
        """Whether every deployment that was there at the start has been tried."""
        return self._untried is not None and not self._untried

    def _run(self) -> None:
        while True:
            self._woken.wait(POLL_SECONDS)
            self._woken.clear()
            if self._stopping.is_set():
                return
            try:
                self.reconcile()
                self._metrics.database_up = True
            except SQLAlchemyError as error:
                if self._metrics.database_up:
                    log.warning("The database does not answer; still serving what is loaded: %s", error)
                self._metrics.database_up = False
                self._reported = {}  # others may have forgotten this replica meanwhile: report everything again

    def reconcile(self) -> None:
        """One pass.

        Raises:
            SQLAlchemyError: the database did not answer; the next pass does what this one could not.
        """
        wanted = self._read()
        self._collect_loads(wanted)
        self._start_loads(wanted)
        statuses = {row.id: self._serve(row) for row in wanted.deployments}
        self._models.keep_aliases({f"{row.model_name}:{row.alias}" for row in wanted.deployments})
        for name, version in self._models.unload_unused(keep=wanted.generations):
            log.info("Unloaded %s version %d", name, version)
        self._report(statuses)
        tried = {number for number, status in statuses.items() if status.state != "loading"}
        self._untried = (statuses.keys() if self._untried is None else self._untried & statuses.keys()) - tried

    def _read(self) -> Wanted:
        with session(self._database_url) as opened:
            deployments = opened.scalars(select(Deployment).order_by(Deployment.id)).all()
            leases = opened.execute(
                select(ModelLease.model_name, ModelLease.model_version).where(ModelLease.expires_at > func.now())
            )
            return Wanted(list(deployments), {(name, version) for name, version in leases})

    def _collect_loads(self, wanted: Wanted) -> None:
        generations = wanted.generations
        for key in [key for key, load in self._loads.items() if load.done()]:
            error = self._loads.pop(key).exception()
            if error is None:
                log.info("Loaded %s version %d", *key)
                continue
            message = f"{type(error).__name__}: {error}"
            log.error("Could not load %s version %d: %s", *key, message, exc_info=error)
            self._metrics.load_failures += 1
            self._failures[key] = _Failure(message, generations.get(key, 0), time.monotonic() + RETRY_SECONDS)
        # A version that nobody wants any more starts afresh when it is wanted again.
        self._failures = {key: failure for key, failure in self._failures.items() if key in generations}

    def _start_loads(self, wanted: Wanted) -> None:
        loaded = self._models.versions
        for key, generation in wanted.generations.items():
            if key in loaded or key in self._loads:
                continue
            failure = self._failures.get(key)
            if failure and generation <= failure.generation and time.monotonic() < failure.retry_at:
                continue
            if failure and generation > failure.generation:
                del self._failures[key]  # asked for anew: it is loading, not failed
            load = self._loader.submit(self._models.load, *key)
            self._loads[key] = load
            load.add_done_callback(lambda _: self.wake())

    def _serve(self, row: Deployment) -> Status:
        """Move the row's alias when its version is loaded. Returns what to report."""
        key = (row.model_name, row.model_version)
        if key in self._models.versions:
            if self._models.move_alias(row.model_name, row.alias, row.model_version):
                self._metrics.swaps += 1
                log.info("%s:%s is now version %d", row.model_name, row.alias, row.model_version)
            return Status(row.generation, "ready", row.model_version, "")
        served = self._models.aliases.get(f"{row.model_name}:{row.alias}")
        served_version = served.version if served else None
        if failure := self._failures.get(key):
            return Status(row.generation, "failed", served_version, failure.message)
        return Status(row.generation, "loading", served_version, "")

    def _report(self, statuses: dict[int, Status]) -> None:
        """Write the heartbeat, and the statuses that changed."""
        changed = {number: status for number, status in statuses.items() if self._reported.get(number) != status}
        with session(self._database_url) as opened:
            if self._untried is None:
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
        self._reported = statuses


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
