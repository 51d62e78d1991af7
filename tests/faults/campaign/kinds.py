"""Each kind of fault: puts it in, keeps it as long as it says, takes it away."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from .world import World

COMPONENTS = (
    "api-server", "scheduler", "dag-processor", "triggerer", "fork-server", "model-server", "annotation-page", "gateway",
)  # fmt: skip
Fault = Callable[[World, random.Random], str]
"""Returns what it did, in words. When it returns the fault is over, but not what came of it."""


def kinds(world: World) -> dict[str, Fault]:
    """All that can be done here, by name."""
    found: dict[str, Fault] = {}
    for name in COMPONENTS:
        found[f"kill {name}"] = _killer(name)
        found[f"stop {name}"] = _stopper(name)
    found |= {
        "kill a task or a job": kill_a_task,
        "kill the supervisor": kill_the_supervisor,
        "kill PostgreSQL": kill_postgres,
        "crash PostgreSQL": crash_postgres,
        "restart PostgreSQL": restart_postgres,
        "stop PostgreSQL": stop_postgres,
        "S3 away": s3_away,
        "S3 slow": s3_slow,
    }
    if world.small_disk:
        found["disk full"] = disk_full
    return found


def _killer(name: str) -> Fault:
    def kill(world: World, chance: random.Random) -> str:
        pid = world.pid(name)
        os.kill(pid, signal.SIGKILL)
        return f"SIGKILL to {name} ({pid})"

    return kill


def _stopper(name: str) -> Fault:
    def stop(world: World, chance: random.Random) -> str:
        seconds = chance.uniform(3, 20)
        return f"SIGSTOP of {name} for {seconds:.0f} s ({_frozen(world.pid(name), seconds)} processes)"

    return stop


def kill_a_task(world: World, chance: random.Random) -> str:
    """A process below the scheduler or the fork server: a task's, or a job's."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(psutil.NoSuchProcess):
            # The executor's workers wait for tasks; what runs a task is below one of them.
            workers = psutil.Process(world.pid("scheduler")).children()
            busy = [process for worker in workers for process in worker.children(recursive=True)]
            busy += psutil.Process(world.pid("fork-server")).children(recursive=True)
            if busy:
                victim = chance.choice(sorted(busy, key=lambda process: process.pid))
                victim.kill()
                return f"SIGKILL to {victim.pid}, a process of a task or a job"
        time.sleep(0.1)
    return "no task ran within a minute: nothing was killed"


def kill_the_supervisor(world: World, chance: random.Random) -> str:
    pid = int((world.home / "supervisor.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    time.sleep(chance.uniform(0, 5))
    world.up()
    return f"SIGKILL to the supervisor ({pid}), then `up`"


def kill_postgres(world: World, chance: random.Random) -> str:
    pid = world.postmaster()
    os.kill(pid, signal.SIGKILL)
    return f"SIGKILL to PostgreSQL's first process ({pid})"


def crash_postgres(world: World, chance: random.Random) -> str:
    backends = psutil.Process(world.postmaster()).children()
    victim = chance.choice(sorted(backends, key=lambda process: process.pid))
    victim.kill()
    return f"SIGKILL to PostgreSQL's process {victim.pid}: it ends all its others and recovers"


def restart_postgres(world: World, chance: random.Random) -> str:
    os.kill(world.postmaster(), signal.SIGINT)
    return "PostgreSQL was stopped (fast), which ends all connections; the supervisor starts it"


def stop_postgres(world: World, chance: random.Random) -> str:
    seconds = chance.uniform(3, 12)
    return f"SIGSTOP of PostgreSQL for {seconds:.0f} s ({_frozen(world.postmaster(), seconds)} processes)"


def s3_away(world: World, chance: random.Random) -> str:
    seconds = chance.uniform(5, 20)
    world.s3.kill()
    time.sleep(seconds)
    world.s3.start()
    return f"the S3 server was killed, and away for {seconds:.0f} s"


def s3_slow(world: World, chance: random.Random) -> str:
    seconds = chance.uniform(5, 20)
    return f"SIGSTOP of the S3 server for {seconds:.0f} s ({_frozen(world.s3.process.pid, seconds)} processes)"


def disk_full(world: World, chance: random.Random) -> str:
    """The store's disk, by another's file."""
    seconds = chance.uniform(10, 30)
    filler = world.store / "somebody-elses-file"
    try:
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 65536)
        left = shutil.disk_usage(world.store).free
        time.sleep(seconds)
    finally:
        filler.unlink(missing_ok=True)
    return f"the store's disk was full ({left} bytes left) for {seconds:.0f} s"


def _frozen(pid: int, seconds: float) -> int:
    """Stop a process with all below it for a while; how many those were."""
    process = psutil.Process(pid)
    stopped = [process, *process.children(recursive=True)]
    for one in stopped:
        with suppress(psutil.NoSuchProcess):
            one.suspend()
    time.sleep(seconds)
    for one in stopped:
        with suppress(psutil.NoSuchProcess):
            one.resume()
    return len(stopped)


def small_disk(folder: Path, mebibytes: int) -> bool:
    """Mount a disk of that size at ``folder``; False where that cannot be done."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
