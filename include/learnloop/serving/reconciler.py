"""The thread that makes a server serve what the database says: read the rows, load, swap, drain, report.

It looks every second and whenever it is woken. While the database is away the server keeps serving what it
has. A version that does not load or fails its smoke test never takes an alias.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from learnloop.database import Deployment
from learnloop.serving.failures import Failures
from learnloop.serving.live import Recorder
from learnloop.serving.loading import Loader
from learnloop.serving.metrics import Metrics
from learnloop.serving.models import ModelSet
from learnloop.serving.reports import Reports, Status
from learnloop.serving.rollback import MIN_FAULTS, MIN_SHARE, take_back
from learnloop.serving.versions import Key, LoadedVersion
from learnloop.serving.wanted import Wanted, read

POLL_SECONDS = 1.0

log = logging.getLogger(__name__)


class Reconciler:
    """Keeps ``models`` at what the database wants; reports as ``replica`` (a name no other process ever had).

    Args:
        probation: seconds after a swap in which the version before is kept, and takes over when the new one errs.
    """

    def __init__(
        self,
        models: ModelSet,
        loader: Loader,
        metrics: Metrics,
        recorder: Recorder,
        *,
        database_url: str,
        replica: str,
        url: str,
        probation: float,
    ) -> None:
        self._models = models
        self._loader = loader
        self._metrics = metrics
        self._recorder = recorder
        self._probation = probation
        self._database_url = database_url
        self._replica = replica
        self._loads: dict[Key, Future[LoadedVersion]] = {}
        self._failures = Failures()
        self._reports = Reports(database_url, replica, url)
        self._untried: set[int] | None = None  # deployments present at the start; None: not read yet
        self._wanted = Wanted([], set())
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
        self._loader.stop()
        try:
            self._recorder.flush()
            self._reports.sign_off()
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
                self._reports.forget_written()

    def reconcile(self) -> None:
        """One pass.

        Raises:
            SQLAlchemyError: the database did not answer; the next pass does what this one could not.
        """
        self._take_back_faulty()
        wanted = self._wanted = read(self._database_url)
        self._models.pin(wanted.leased)
        self._recorder.configure(wanted.live)
        self._collect_loads(wanted)
        self._start_loads(wanted)
        statuses = {row.id: self._serve(row) for row in wanted.deployments}
        self._models.keep_aliases({f"{row.model_name}:{row.alias}" for row in wanted.deployments})
        self._models.end_probation(self._probation)
        for name, version in self._models.unload_unused(keep=wanted.generations):
            log.info("Unloaded %s version %d", name, version)
        for name, version in self._models.expire():
            log.info("Unloaded %s version %d: nobody asked for it; the next request brings it back", name, version)
        self._reports.write(statuses, first=self._untried is None)
        self._recorder.flush()
        tried = {number for number, status in statuses.items() if status.state != "loading"}
        self._untried = (statuses.keys() if self._untried is None else self._untried & statuses.keys()) - tried

    def index(self) -> list[dict[str, Any]]:
        """Every version that should be here, as the protocol's repository index tells of it, by its addresses."""
        wanted, versions, parked = self._wanted, self._models.versions, self._models.parked
        addresses = [
            (f"{row.model_name}:{row.alias}", (row.model_name, row.model_version)) for row in wanted.deployments
        ]
        addresses += [(name, (name, version)) for name, version in sorted(wanted.leased)]
        rows = []
        for name, key in addresses:
            failure = self._failures.get(key)
            if key in versions:
                state, reason = "READY", ""
            elif failure is not None:
                state, reason = "UNAVAILABLE", failure.message
            elif key in parked:
                state, reason = "UNAVAILABLE", "not in memory: the next request brings it back"
            else:
                state, reason = "LOADING", ""
            rows.append({"name": name, "version": str(key[1]), "state": state, "reason": reason})
        return rows

    def notes(self, name: str, **rules: Any) -> bool:
        """Whether what is noted of a model's requests is as ``rules`` say."""
        known = self._wanted.live.get(name)
        return known is not None and all(getattr(known, rule) == value for rule, value in rules.items())

    def failure_of(self, key: Key) -> str | None:
        """Why a version could not be loaded when it was last tried; None: it could, or was not tried."""
        failure = self._failures.get(key)
        return None if failure is None else failure.message

    def _take_back_faulty(self) -> None:
        """Lead aliases away from versions that err where the one before does not, here at once and then everywhere."""
        for key, loaded in self._models.versions.items():
            if loaded.faults < MIN_FAULTS or loaded.faults < MIN_SHARE * loaded.answered:
                continue
            message = (
                f"{loaded.faults} of {loaded.answered} requests that the version before could answer failed; the last:"
                f" {loaded.last_fault}"
            )
            if moved := self._models.take_back(key):
                self._metrics.rolled_back(loaded.name)
                log.error("Took %s back from %s: %s", ", ".join(moved), f"{key[0]} version {key[1]}", message)
            # It must not take the alias again before somebody asks for it anew, also while the database is away.
            self._failures.erred(key, message, self._wanted.generations.get(key, 0))
        for key, failure in self._failures.all_erred:
            take_back(self._database_url, key, failure.message)

    def _collect_loads(self, wanted: Wanted) -> None:
        generations = wanted.generations
        for key in [key for key, load in self._loads.items() if load.done()]:
            error = self._loads.pop(key).exception()
            if error is None:
                self._failures.forget(key)
                log.info("Loaded %s version %d", *key)
                continue
            message = f"{type(error).__name__}: {error}"
            log.error("Could not load %s version %d: %s", *key, message, exc_info=error)
            self._metrics.load_failed()
            self._failures.not_loaded(key, message, generations.get(key, 0))
        self._failures.keep(generations)

    def _start_loads(self, wanted: Wanted) -> None:
        loaded, parked = self._models.versions, self._models.parked
        for key, generation in wanted.generations.items():
            failure = self._failures.get(key)
            if failure and generation > failure.generation:
                failure = None
                self._failures.forget(key)  # asked for anew: it is loading, not failed
                if key in loaded:
                    self._models.forgive(key)
            if key in loaded or key in self._loads:
                continue
            if key in parked and key not in wanted.leased:
                continue  # it was here, and comes back when somebody asks for it
            if failure and failure.waits:
                continue
            load = self._loader.start(key, fresh=generation > 0 and key not in parked)
            self._loads[key] = load
            load.add_done_callback(lambda _: self.wake())

    def _serve(self, row: Deployment) -> Status:
        """Move the row's alias when its version is loaded. Returns what to report."""
        key = (row.model_name, row.model_version)
        tagged = f"{row.model_name}:{row.alias}"
        served = self._models.targets.get(tagged)
        served_version = served.version if served else None
        if failure := self._refusal(key):
            return Status(row.generation, "failed", served_version, failure)
        if not self._is_here(key):
            return Status(row.generation, "loading", served_version, "")
        if self._models.move_alias(row.model_name, row.alias, row.model_version):
            self._metrics.swapped()
            log.info("%s is now version %d", tagged, row.model_version)
        return self._serve_canary(row)

    def _serve_canary(self, row: Deployment) -> Status:
        """Give the row's canary its share once it is loaded. Returns what to report."""
        ready = Status(row.generation, "ready", row.model_version, "")
        if row.canary_version is None:
            status, canary = ready, None
        elif refusal := self._refusal((row.model_name, row.canary_version)):
            status, canary = replace(ready, state="failed", message=f"canary: {refusal}"), None
        elif self._is_here((row.model_name, row.canary_version)):
            status, canary = ready, row.canary_version
        else:
            status, canary = replace(ready, state="loading"), None
        if self._models.set_canary(row.model_name, row.alias, canary, row.canary_percent / 100):
            share = f"version {canary} answers {row.canary_percent} % of its requests" if canary else "no canary"
            log.info("%s:%s: %s", row.model_name, row.alias, share)
        return status

    def _is_here(self, key: Key) -> bool:
        return key in self._models.versions or key in self._models.parked

    def _refusal(self, key: Key) -> str | None:
        """Why a version may not be served here; None: nothing speaks against it."""
        failure = self._failures.get(key)
        return failure.message if failure and (failure.erred or not self._is_here(key)) else None
