"""Each kind of fault for the services of docker-compose.yaml, each of which is a host of its own."""

from __future__ import annotations

import random
from collections.abc import Callable

from .compose import SERVICES, ComposeWorld
from .disks import filled
from .kinds import crash_one_of, frozen, s3_slow_for_a_while, set_for_a_while, store_full_for_a_while
from .seen import Seen

Fault = Callable[[ComposeWorld, Seen, random.Random], str]
PAIRS = (
    ("airflow-worker", "redis"), ("airflow-worker", "postgres"), ("airflow-worker", "nginx"), ("airflow-worker", "s3"),
    ("airflow-scheduler-1", "redis"), ("airflow-scheduler-2", "postgres"), ("airflow-triggerer", "postgres"),
    ("airflow-triggerer", "nginx"), ("airflow-dag-processor", "postgres"), ("airflow-api-1", "postgres"),
    ("airflow-api-2", "nginx"), ("airflow-api-2", "s3"), ("model-server-1", "nginx"), ("model-server-2", "postgres"),
    ("annotation-page", "nginx"),
)  # fmt: skip
"""Who needs whom."""
RUN = tuple(name for name in SERVICES if name != "airflow-init")


def kinds(world: ComposeWorld) -> dict[str, Fault]:
    """All that can be done here, by name."""
    found: dict[str, Fault] = {}
    for name in RUN:
        found[f"kill {name}"] = _killer(name)
        found[f"stop {name}"] = _stopper(name)
    found |= {
        "kill a task or a job": kill_a_task,
        "crash PostgreSQL": crash_postgres,
        "Redis gone": _absence("redis", 5, 30),
        "S3 away": _absence("s3", 5, 20),
        "S3 slow": s3_slow,
        "PostgreSQL gone": _absence("postgres", 5, 20),
        "cut the network": cut_the_network,
    }
    if world.small_disk:
        found["S3 full"] = s3_full
    if world.small_store:
        found["disk full"] = disk_full
    if world.clocks:
        found["one clock set"] = one_clock_set
        found["all clocks set"] = all_clocks_set
    return found


def _killer(name: str) -> Fault:
    def kill(world: ComposeWorld, seen: Seen, chance: random.Random) -> str:
        world.native.containers[name].kill()
        return f"SIGKILL to {name}"

    return kill


def _stopper(name: str) -> Fault:
    def stop(world: ComposeWorld, seen: Seen, chance: random.Random) -> str:
        seconds = chance.uniform(3, 20)
        return f"SIGSTOP of {name} for {seconds:.0f} s ({frozen(world.inside(name).pid, seconds)} processes)"

    return stop


def _absence(name: str, least: float, most: float) -> Fault:
    def gone(world: ComposeWorld, seen: Seen, chance: random.Random) -> str:
        seconds = chance.uniform(least, most)
        world.gone(name, seconds)
        return f"{name} was killed, and away for {seconds:.0f} s"

    return gone


def kill_a_task(world: ComposeWorld, seen: Seen, chance: random.Random) -> str:
    """A process of the worker's, but not its first: one of its pool, a task's, or a job's."""
    below = [one for main in world.inside("airflow-worker").children() for one in main.children(recursive=True)]
    if not below:
        raise LookupError("the worker has no processes below its first")
    victim = chance.choice(sorted(below, key=lambda process: process.pid))
    victim.kill()
    return f"SIGKILL to {victim.pid}, one of {len(below)} processes of the worker's pool, its tasks and jobs"


def crash_postgres(world: ComposeWorld, seen: Seen, chance: random.Random) -> str:
    postmasters = world.inside("postgres").children()
    if not postmasters:
        raise LookupError("there is no postmaster")
    return crash_one_of(postmasters[0], chance)


def cut_the_network(world: ComposeWorld, seen: Seen, chance: random.Random) -> str:
    one, other = chance.choice(PAIRS)
    seconds = chance.uniform(5, 40)
    world.cut(one, other, seconds)
    return f"nothing got from {one} to {other} and back for {seconds:.0f} s"


def s3_slow(world: ComposeWorld, seen: Seen, chance: random.Random) -> str:
    return s3_slow_for_a_while(world.inside("s3").pid, chance)


def disk_full(world: ComposeWorld, seen: Seen, chance: random.Random) -> str:
    return store_full_for_a_while(world.store, chance)


def s3_full(world: ComposeWorld, seen: Seen, chance: random.Random) -> str:
    """Its filer's journal stays failed when there is room again: it is restarted, as docs/operations.md has operators do."""
    seconds = chance.uniform(15, 40)
    left = filled(world.s3_disk, seconds)
    world.gone("s3", 1)
    return f"the S3 server's disk was full ({left} bytes left) for {seconds:.0f} s; then it was restarted"


def one_clock_set(world: ComposeWorld, seen: Seen, chance: random.Random) -> str:
    """Of one host, which is by minutes from the others'. Leases go by PostgreSQL's."""
    name = chance.choice([name for name in RUN if name not in ("nginx", "s3", "redis")])
    told = set_for_a_while([world.clocks[name]], seen, chance, leases_go_by_it=name == "postgres")
    return f"{name}: {told}"


def all_clocks_set(world: ComposeWorld, seen: Seen, chance: random.Random) -> str:
    return set_for_a_while(list(world.clocks.values()), seen, chance, leases_go_by_it=True)
