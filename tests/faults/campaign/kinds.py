"""Each kind of fault: puts it in, keeps it as long as it says, takes it away."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from .clock import Clock
from .disks import filled
from .seen import Seen
from .world import World

COMPONENTS = (
    "api-server", "scheduler", "dag-processor", "triggerer", "fork-server", "model-server", "annotation-page", "gateway",
)  # fmt: skip
SHORT = ("kill api-server", "kill scheduler", "kill model-server", "restart PostgreSQL", "S3 away")
"""What a short campaign puts in: one of each part that holds something. Hangs, disks and clocks take a long one."""
Fault = Callable[[World, Seen, random.Random], str]
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
        "stop S3": stop_s3,
        "S3 slow": s3_slow,
    }
    if world.small_disk:
        found["disk full"] = disk_full
    if world.s3.small_disk:
        found["S3 full"] = s3_full
    if world.clock is not None:
        found["clock set"] = clock_set
    return found


def _killer(name: str) -> Fault:
    def kill(world: World, seen: Seen, chance: random.Random) -> str:
        pid = world.pid(name)
        os.kill(pid, signal.SIGKILL)
        return f"SIGKILL to {name} ({pid})"

    return kill


def _stopper(name: str) -> Fault:
    def stop(world: World, seen: Seen, chance: random.Random) -> str:
        seconds = chance.uniform(3, 20)
        return f"SIGSTOP of {name} for {seconds:.0f} s ({frozen(world.pid(name), seconds)} processes)"

    return stop


def kill_a_task(world: World, seen: Seen, chance: random.Random) -> str:
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
    raise TimeoutError("no task ran within a minute: nothing was killed")


def kill_the_supervisor(world: World, seen: Seen, chance: random.Random) -> str:
    pid = int((world.home / "supervisor.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    time.sleep(chance.uniform(0, 5))
    world.up()
    return f"SIGKILL to the supervisor ({pid}), then `up`"


def kill_postgres(world: World, seen: Seen, chance: random.Random) -> str:
    pid = world.postmaster()
    os.kill(pid, signal.SIGKILL)
    return f"SIGKILL to PostgreSQL's first process ({pid})"


def crash_postgres(world: World, seen: Seen, chance: random.Random) -> str:
    return crash_one_of(psutil.Process(world.postmaster()), chance)


def crash_one_of(postmaster: psutil.Process, chance: random.Random) -> str:
    """It ends and begins processes all the time: one that has just ended is none."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(psutil.NoSuchProcess):
            victim = chance.choice(sorted(postmaster.children(), key=lambda process: process.pid))
            victim.kill()
            return f"SIGKILL to PostgreSQL's process {victim.pid}: it ends all its others and recovers"
    raise TimeoutError("each of PostgreSQL's processes had ended before it could be killed")


def restart_postgres(world: World, seen: Seen, chance: random.Random) -> str:
    os.kill(world.postmaster(), signal.SIGINT)
    return "PostgreSQL was stopped (fast), which ends all connections; the supervisor starts it"


def stop_postgres(world: World, seen: Seen, chance: random.Random) -> str:
    seconds = chance.uniform(3, 12)
    return f"SIGSTOP of PostgreSQL for {seconds:.0f} s ({frozen(world.postmaster(), seconds)} processes)"


def s3_away(world: World, seen: Seen, chance: random.Random) -> str:
    seconds = chance.uniform(5, 20)
    world.s3.kill()
    try:
        time.sleep(seconds)
    finally:
        world.s3.start()
    return f"the S3 server was killed, and away for {seconds:.0f} s"


def stop_s3(world: World, seen: Seen, chance: random.Random) -> str:
    seconds = chance.uniform(5, 20)
    return f"SIGSTOP of the S3 server for {seconds:.0f} s ({frozen(world.s3.process.pid, seconds)} processes)"


def s3_slow(world: World, seen: Seen, chance: random.Random) -> str:
    return s3_slow_for_a_while(world.s3.process.pid, chance)


def s3_full(world: World, seen: Seen, chance: random.Random) -> str:
    """Its filer's journal stays failed when there is room again: it is restarted, as docs/operations.md has operators do."""
    seconds = chance.uniform(15, 40)
    left = filled(world.s3.folder / "data", seconds)
    world.s3.kill()
    world.s3.start()
    return f"the S3 server's disk was full ({left} bytes left) for {seconds:.0f} s; then it was restarted"


def disk_full(world: World, seen: Seen, chance: random.Random) -> str:
    return store_full_for_a_while(world.store, chance)


def clock_set(world: World, seen: Seen, chance: random.Random) -> str:
    """Of the whole machine, PostgreSQL too, by minutes, and set right again."""
    return set_for_a_while([world.clock], seen, chance, leases_go_by_it=True)


def set_for_a_while(clocks: list[Clock], seen: Seen, chance: random.Random, *, leases_go_by_it: bool) -> str:
    away = chance.choice((-1, 1)) * chance.uniform(60, 300)
    seconds = chance.uniform(15, 45)

    def set_all(offset: float) -> None:
        if leases_go_by_it:
            seen.clock = offset
        seen.clock_set.append(time.time())
        for clock in clocks:
            clock.set(offset)

    try:
        set_all(away)
        time.sleep(seconds)
    finally:
        set_all(0.0)
    return f"the clock was set {away:+.0f} s, and right again after {seconds:.0f} s"


def s3_slow_for_a_while(pid: int, chance: random.Random) -> str:
    seconds = chance.uniform(15, 40)
    return f"the S3 server ran for a twentieth of {slowed(pid, seconds)} s"


def store_full_for_a_while(store: Path, chance: random.Random) -> str:
    seconds = chance.uniform(10, 30)
    return f"the store's disk was full ({filled(store, seconds)} bytes left) for {seconds:.0f} s"


def slowed(pid: int, seconds: float) -> int:
    """Have a process, with all below it, run for a twentieth of the time: each answer takes as much longer. For how long."""
    deadline = time.monotonic() + seconds
    pauses = 0
    while time.monotonic() < deadline:
        frozen(pid, 0.95)
        time.sleep(0.05)
        pauses += 1
    return pauses


def frozen(pid: int, seconds: float) -> int:
    """Stop a process with all below it for a while; how many those were."""
    process = psutil.Process(pid)
    stopped = [process, *process.children(recursive=True)]
    try:
        for one in stopped:
            with suppress(psutil.NoSuchProcess):
                one.suspend()
        time.sleep(seconds)
    finally:
        for one in stopped:
            with suppress(psutil.NoSuchProcess):
                one.resume()
    return len(stopped)
