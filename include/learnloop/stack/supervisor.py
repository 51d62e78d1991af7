"""The process that keeps one stack running: starts the components, restarts what ends, stops what it started."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import FrameType
from typing import IO

import psutil

from learnloop.errors import Conflict
from learnloop.settings import Settings, load
from learnloop.stack import postgres
from learnloop.stack.components import Component, components, environment
from learnloop.stack.initialise import initialise
from learnloop.stack.places import Places, read_json, write_json
from learnloop.stack.ports import Ports

STOP_SECONDS = 15
MARK = "LEARNLOOP_STACK"
"""An environment variable that every process of a stack bears: what is ours can be told from what is not."""


@dataclass
class Child:
    component: Component
    process: subprocess.Popen[bytes]
    started: float
    restarts: int = 0
    healthy: bool = False
    not_before: float = 0.0


class Supervisor:
    """Runs in the foreground until it is told to stop (SIGTERM, SIGINT)."""

    def __init__(self, home: Path) -> None:
        self.places = Places(home)
        self.stopping = threading.Event()
        self.children: dict[str, Child] = {}
        self.ports: Ports | None = None

    def run(self) -> None:
        """Start everything, then watch.

        Raises:
            Conflict: another supervisor runs this stack.
        """
        self.places.prepare()
        lock = self._lock()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        try:
            self._start()
            while not self.stopping.wait(0.5):
                self.watch()
        except BaseException as error:
            self._report("failed", f"{error}")
            raise
        else:
            self._report("stopping")
        finally:
            self._stop_all()
            if self.ports is not None:
                self.ports.close()
            if not self._failed():
                self._report("stopped")
            lock.close()

    def _start(self) -> None:
        self._report("starting", "starting PostgreSQL")
        remove_strays(self.places.home)
        handle = postgres.start(self.places.postgres)
        postgres.create_databases(handle)
        self.settings, ports = self._settle(handle)
        self.environment = {
            **environment(self.settings, self.places, ports, postgres.url(handle, "airflow", "psycopg2")),
            MARK: str(self.places.home),
        }
        if not (self.places.home / "initialised").exists():
            self._report("starting", "creating schemas, roles and users (once)")
        initialise(self.settings, self.places, self.environment)
        for component in components(self.settings, ports):
            if self.stopping.is_set():
                return
            self.children[component.name] = self._spawn(component)
        self._report("starting")

    def _settle(self, handle: object) -> tuple[Settings, dict[str, int]]:
        """Choose ports, and write down where everything is for whoever looks for this stack."""
        remembered = read_json(self.places.home / "ports.json")
        self.ports = Ports({name: int(str(port)) for name, port in remembered.items()})
        ports = self.ports.chosen
        write_json(self.places.home / "ports.json", ports)
        # What the stack was started with holds for it, and for whoever finds it; what an earlier start had does not.
        self.places.stack_file.unlink(missing_ok=True)
        loaded = load({**os.environ, "LEARNLOOP_HOME": str(self.places.home)})
        settings = replace(
            loaded,
            database_url=postgres.url(handle, "learnloop"),
            # Somebody's MLflow server, where one is named; else a database of our own.
            mlflow_url=loaded.mlflow_url if loaded.mlflow_url.startswith("http") else postgres.url(handle, "mlflow"),
            airflow_database_url=postgres.url(handle, "airflow"),
            api_url=f"http://127.0.0.1:{ports['gateway']}",
            serving_url=f"http://127.0.0.1:{ports['serving']}",
            fork_server=f"learnloop-jobs-{hashlib.sha256(str(self.places.home).encode()).hexdigest()[:16]}",
        )
        found = {"database_url", "mlflow_url", "airflow_database_url", "api_url", "serving_url", "fork_server"}
        asked = {field.name for field in fields(settings) if f"LEARNLOOP_{field.name.upper()}" in os.environ}
        names = found | asked - {"home", "webhook_secret", "metrics_token"}
        write_json(self.places.stack_file, {name: str(getattr(settings, name)) for name in sorted(names)})
        return settings, ports

    def _spawn(self, component: Component, restarts: int = 0) -> Child:
        log = (self.places.logs / f"{component.name}.log").open("ab")
        shared = self.environment
        if component.bare:
            shared = {name: shared[name] for name in ("PATH", "HOME", "LANG", MARK) if name in shared}
        process = subprocess.Popen(
            component.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**shared, **component.environment},
            cwd=self.places.home,
            start_new_session=True,  # a group of its own, so that it can be stopped with all its children
        )
        log.close()
        return Child(component, process, time.monotonic(), restarts)

    def watch(self) -> None:
        """Look once at everything. A full disk ends nothing: the next look after there is room does what is to do."""
        try:
            self._look()
        except OSError as error:
            self._note(f"could not look after the stack ({error}); trying again")

    def _look(self) -> None:
        if not postgres.running(self.places.postgres):
            self._note("PostgreSQL has ended; starting it again")
            try:
                postgres.start(self.places.postgres)
            except (subprocess.SubprocessError, OSError) as error:
                # What the old one left is not gone yet, it recovers for long, or its disk is full: the others are looked at.
                self._note(f"PostgreSQL did not start ({error}); trying again")
        for name, child in list(self.children.items()):
            code = child.process.poll()
            if code is not None:
                self._restart(name, child, code)
            elif child.component.health is not None and not child.healthy:
                child.healthy = child.component.health()
        state = "running" if all(child.healthy for child in self.children.values()) else "starting"
        self._report(state)

    def _restart(self, name: str, child: Child, code: int) -> None:
        now = time.monotonic()
        if child.not_before == 0.0:
            stayed_up = now - child.started > 60
            restarts = 0 if stayed_up else child.restarts + 1
            child.restarts, child.healthy = restarts, False
            child.not_before = now + min(2.0**restarts - 1, 30)
            _end_group(child.process.pid, signal.SIGKILL)  # what it left behind, such as workers of its own
            self._note(f"{name} has ended (exit {code}); starting it again")
        if now >= child.not_before:
            self.children[name] = self._spawn(child.component, child.restarts)

    def _stop_all(self) -> None:
        """Stop the components in reverse order, then PostgreSQL, which they need to end well."""
        running = [child.process for child in reversed(self.children.values()) if child.process.poll() is None]
        for process in running:
            _end_group(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._note(f"process {process.pid} did not stop in {STOP_SECONDS} s; killing it")
            _end_group(process.pid, signal.SIGKILL)
        remove_strays(self.places.home)
        postgres.stop(self.places.postgres)

    def _lock(self) -> IO[str]:
        file = (self.places.home / "supervisor.lock").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise Conflict(f"a supervisor already runs the stack in {self.places.home}") from None
        self.places.pid_file.write_text(str(os.getpid()))
        return file

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        if not self.stopping.is_set() and not self.children:
            # Still setting up, in a call that does not look at the event.
            self.stopping.set()
            raise SystemExit(128 + number)
        self.stopping.set()

    def _report(self, state: str, message: str = "") -> None:
        parts = {
            name: {"pid": child.process.pid, "healthy": child.healthy, "restarts": child.restarts}
            for name, child in self.children.items()
        }
        write_json(
            self.places.status_file, {"state": state, "message": message, "pid": os.getpid(), "components": parts}
        )

    def _failed(self) -> bool:
        return read_json(self.places.status_file).get("state") == "failed"

    def _note(self, text: str) -> None:
        # Its log may be on the very disk that is full: what is then not said is no reason to end.
        with suppress(OSError):
            print(time.strftime("%H:%M:%S"), text, flush=True)


def remove_strays(home: Path) -> None:
    """Kill what an earlier supervisor of this stack left when it was killed itself (told by the mark they bear)."""
    strays = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == str(home):
                strays.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess, OSError):
            continue  # not ours: ours run as the same user
    strays = [stray for stray in strays if "postgres" not in stray.name()]
    for stray in strays:
        stray.terminate()
    _, alive = psutil.wait_procs(strays, timeout=5)
    for stray in alive:
        stray.kill()
    psutil.wait_procs(alive, timeout=5)


def _end_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return  # already gone, which is what was wanted
