"""Mounts whose run has ended: what the fast paths missed, such as a teardown whose worker was killed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from learnloop.errors import LearnloopError
from learnloop_airflow.mounts.home import Home


@dataclass
class Sweep:
    """``unknown``: among ours, without a record that says whose. ``foreign``: claims that are not ours. Both are left."""

    removed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def sweep(there: Home, run_goes: Callable[[str, str], bool]) -> Sweep:
    """Remove what went with runs that have ended.

    Args:
        run_goes: whether a run, by its DAG's id and its own, is queued or running.
    """
    done = Sweep()
    # First the mounts, then the runs' states: a mount is made while its run goes, so none is too new to be known.
    for held in there.all():
        record = held.record
        if record is None:
            done.unknown.append(held.name)
        elif record.of_run(record.dag_id, record.run_id) and not run_goes(record.dag_id, record.run_id):
            try:
                held.remove()
            except LearnloopError as error:  # what cannot be uploaded now must not keep the others
                done.failed.append(f"{held.name}: {error}")
            else:
                done.removed.append(held.name)
    if there.claims is not None:
        from learnloop_airflow.mounts.check_pod import remove_left

        done.removed += remove_left(there.claims, run_goes)
        done.foreign = there.claims.foreign()
    return done
