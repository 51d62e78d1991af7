"""A platform in use, by the product's own functions: jobs in line, mounts that were planned, a version in the remote."""

from __future__ import annotations

from pathlib import Path

from dataset_folders import write_dataset
from sqlalchemy.orm import Session

from learnloop.capacity.amounts import Amounts
from learnloop.capacity.machine import RUNNER, machine
from learnloop.capacity.reservations import Holder, Wanted
from learnloop.capacity.turn import Turn
from learnloop.database import DatasetVersion
from learnloop.datasets.remotes import FolderRemote
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.datasets.tiers import move_to
from learnloop.events.progress import TaskName
from learnloop.mounts.costs import MONTH_DAYS
from learnloop.mounts.made import Scope
from learnloop.mounts.plan import choose, parse_mounts
from learnloop.mounts.plans import store
from learnloop.mounts.table import parse_table

MACHINE = "cpu=4,memory=8Gi,gpu=1"


def jobs_in_line() -> None:
    """On `MACHINE` one job has three cores and the GPU, and another, of low priority, waits for two cores."""
    for name, amounts, priority in (("runs", Amounts(3000, 2**30, 1), 0), ("waits", Amounts(2000, 2**30, 0), -5)):
        holder = Holder("incremental_training", f"round-{name}", "train", -1, 1)
        turn = Turn(Wanted(RUNNER, "ann", name, amounts, 3600, priority, None, holder))
        turn.ask()
        turn.is_to_decide()  # it is not for another two seconds, after the first
        turn.decide(machine(MACHINE))
        standing = turn.ask()
        assert turn.begin(standing) == (name == "runs"), standing


def planned_mount(db: Session, run_id: str) -> None:
    """Ten GiB for a month, in the only storage there is: 1 USD."""
    only = {
        "provider": "local_disk",
        "price": {"gib_month": 0.1},
        "latency_ms": 1,
        "iops": 5000,
        "mib_per_s": 500,
    }
    table = parse_table({"currency": "USD", "classes": {"only": only}}, "a test", "local")
    mount = {"name": "scratch", "path": "/mnt/scratch", "size": "10Gi", "days": MONTH_DAYS}
    scope = Scope(user="ann", dag_id="d", run_id=run_id, pipeline="d")
    store(db, choose(parse_mounts([mount]), table), scope, TaskName("d", run_id, "mounts", -1))


def two_versions(db: Session, place: Store, folder: Path) -> tuple[DatasetVersion, DatasetVersion]:
    """The first in the remote, as the warm tier has it, and the second, which has more samples, here."""
    versions = [snapshot(db, place, write_dataset(folder / "data", samples), owner="ada") for samples in (6, 8)]
    move_to(db, place, versions[0], "warm", remote=FolderRemote(folder / "remote"))
    return versions[0], versions[1]
