"""The runner for one machine: a job is a process, killed as a group with whoever started it."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from math import ceil
from pathlib import Path

from learnloop.errors import InvalidInput, JobFailed, JobKilled
from learnloop.jobs import forkserver
from learnloop.jobs.attempt import LAST_LINES, accept, environment_of, finished, reject, with_log
from learnloop.jobs.contract import LOCK, JobResult, Places, prepare
from learnloop.jobs.process import ForkedProcess, GuardedProcess
from learnloop.jobs.spec import JobSpec
from learnloop.jobs.usage import Usage, measured
from learnloop.traces.context import TraceContext


class LocalRunner:
    """Runs jobs as processes below ``namespaces``.

    Args:
        fork_server: the name of a running fork server, which starts jobs of ours sooner; where it does not answer they
            are started as others are.
    """

    def __init__(self, namespaces: Path, *, grace_seconds: float = 5.0, fork_server: str = "") -> None:
        self.namespaces = namespaces
        self.grace_seconds = grace_seconds
        self.fork_server = fork_server
        self._killed = threading.Event()
        self._processes: set[GuardedProcess] = set()

    def run(
        self,
        spec: JobSpec,
        *,
        stage: Callable[[Path], None],
        log: Callable[[str], None],
        mounts: Mapping[str, Path] | None = None,
        trace: TraceContext | None = None,
        used: Callable[[Usage], None] | None = None,
    ) -> JobResult:
        """Run ``spec`` unless it has run, and return its checked result.

        Two calls with one key, at once or one after the other, train once and return the same result. A
        failed attempt may be repeated; it finds its checkpoint again.

        Args:
            stage: fills the empty ``DATA_DIR`` it is given with the spec's inputs.
            log: gets each line the job prints.
            mounts: the folder of each of the spec's mounts, by its name.
            trace: the job's span, where it is traced.
            used: is told what the attempt used, however it ended; not what an earlier one did, whose result is there.

        Raises:
            JobFailed: it ended without a valid result, ran out of time, or was killed.
            Conflict: this key already has the result of other work.
            InvalidInput: the spec asks for what this runner does not have.
        """
        if spec.secrets:
            raise InvalidInput(
                f"the local runner holds no secrets, but the job asks for {', '.join(sorted(spec.secrets))};"
                " run it on Kubernetes or take the secrets out of the spec"
            )
        folders = mounts or {}
        missing = [mount.name for mount in spec.mounts if mount.name not in folders]
        if missing:
            raise InvalidInput(
                f"the job has mounts that nobody has made: {', '.join(missing)}; a MountsOperator before it makes them"
            )
        found_at = {mount.variable: str(folders[mount.name]) for mount in spec.mounts}
        places = Places.of(self.namespaces, spec)
        with self._only_run_of(places, log):
            found = finished(spec, places, log)
            if found is not None:
                return found
            prepare(places, spec)
            try:
                stage(places.data)
                self._execute(spec, places, environment_of(spec, places, found_at, trace), log, used)
                return accept(spec, places)
            finally:
                # What only the run needed; results and models stay.
                shutil.rmtree(places.data)
                shutil.rmtree(places.cache)

    def kill(self) -> None:
        """End every job of this runner, now and for good; safe in a signal handler. Their ``run`` raises JobFailed."""
        self._killed.set()
        for process in list(self._processes):
            process.stop()

    @contextmanager
    def _only_run_of(self, places: Places, log: Callable[[str], None]) -> Iterator[None]:
        """Hold the lock of this key. The kernel lets go of it when this process dies."""
        places.results.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(places.results / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            waiting = False
            while not _try_lock(descriptor):
                if not waiting:
                    log("another run of the same job is in progress; waiting for its result")
                waiting = True
                if self._killed.wait(0.1):
                    raise JobFailed("the job was killed while it waited for another run with the same key")
            yield
        finally:
            os.close(descriptor)

    def _execute(
        self,
        spec: JobSpec,
        places: Places,
        environment: Mapping[str, str],
        log: Callable[[str], None],
        used: Callable[[Usage], None] | None,
    ) -> None:
        last: deque[str] = deque(maxlen=LAST_LINES)
        with (
            (places.results / "job.log").open("wb", buffering=0) as job_log,
            self._start(spec, places, environment, log) as process,
        ):
            self._processes.add(process)
            try:
                if self._killed.is_set():
                    process.stop()
                with measured(process.pid, used, gpu=bool(spec.resources.gpu)) if used else nullcontext():
                    for line in process.lines(spec.timeout_seconds):
                        job_log.write(line + b"\n")
                        text = line.decode(errors="replace").rstrip("\r")
                        last.append(text)
                        log(text)
                code = process.wait()
            except TimeoutError:
                raise JobFailed(
                    with_log(f"the job ran longer than its timeout of {spec.timeout_seconds:g} s and was killed", last)
                ) from None
            finally:
                self._processes.discard(process)
        if self._killed.is_set():
            raise JobFailed(with_log("the job was killed", last))
        if code != 0:
            reject(places)
            if code > 128:
                raise JobKilled(with_log(f"the job was ended by signal {code - 128}", last))
            raise JobFailed(with_log(f"the job ended with exit code {code}", last))

    def _start(
        self, spec: JobSpec, places: Places, environment: Mapping[str, str], log: Callable[[str], None]
    ) -> GuardedProcess:
        environment = {"PATH": os.environ.get("PATH", os.defpath), **environment}
        if self.fork_server and spec.module and spec.module.startswith(forkserver.JOBS):
            try:
                return ForkedProcess(
                    spec.module,
                    server=self.fork_server,
                    environment=environment,
                    threads=ceil(spec.resources.cpu),
                    cwd=places.cache,
                    grace_seconds=self.grace_seconds,
                )
            except OSError as error:
                log(f"the fork server does not answer ({error}): starting the job without it, which takes seconds more")
        command = list(spec.command) or [sys.executable, "-m", str(spec.module)]
        return GuardedProcess(command, environment=environment, cwd=places.cache, grace_seconds=self.grace_seconds)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
