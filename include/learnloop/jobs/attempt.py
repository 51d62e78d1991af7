"""One attempt at a job, as every runner makes it: what it is given, and when what it left counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import ceil

from learnloop.errors import Conflict, Corrupted, JobFailed
from learnloop.jobs.contract import RESULT, JobResult, Places, done_by, read_result
from learnloop.jobs.spec import JobSpec
from learnloop.traces.context import VARIABLE, TraceContext

LAST_LINES = 20
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def finished(spec: JobSpec, places: Places, log: Callable[[str], None]) -> JobResult | None:
    """The result of an earlier run of ``spec``; None when it has to run (again).

    Raises:
        Conflict: this key already has the result of other work.
    """
    try:
        found = read_result(places)
    except Corrupted as error:
        log(f"an earlier run finished, but {error}; running the job again")
        return None
    if found is None:
        return None
    if done_by(places) != spec.default_key():
        raise Conflict(
            f"job key {spec.key!r} already holds the result of other work ({places.results / 'job.json'} has its spec);"
            " use a new key"
        )
    log(f"this job finished at {found.finished_at:%Y-%m-%d %H:%M:%S} UTC; using its result")
    return found


def accept(spec: JobSpec, places: Places) -> JobResult:
    """The result of a run that has ended well.

    Raises:
        JobFailed: it left none, or not what the spec promises; its commit marker is taken away.
    """
    try:
        found = read_result(places)
        if found is None:
            raise Corrupted(f"it wrote no {RESULT}; job code ends with Job.finish(...)")
        missing = [
            promised
            for promised in spec.outputs
            if not any(name == promised or name.startswith(f"{promised}/") for name in found.outputs)
        ]
        if missing:
            raise Corrupted(f"it did not declare the outputs its spec promises: {', '.join(missing)}")
    except Corrupted as error:
        reject(places)
        raise JobFailed(f"the job ended without a valid result: {error}") from error
    return found


def reject(places: Places) -> None:
    """Take the commit marker away: it counts only with a clean end, and a retry must not take it for one."""
    (places.results / RESULT).unlink(missing_ok=True)


def with_log(message: str, last: Iterable[str]) -> str:
    """A failure's message with the last lines that the job printed."""
    lines = [f"  {line}" for line in last]
    return "\n".join([f"{message}; its last lines:", *lines]) if lines else f"{message}; it printed nothing"


def environment_of(
    spec: JobSpec, places: Places, mounts: Mapping[str, str], trace: TraceContext | None = None
) -> dict[str, str]:
    """All of a job's environment but PATH. Nothing is inherited, so no database address or credential leaks in.

    Args:
        mounts: where the job finds each of its mounts, by its variable.
        trace: the job's span; None when it is not traced.
    """
    return {
        "HOME": str(places.cache),
        "TMPDIR": str(places.cache),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        **dict.fromkeys(_THREADS, str(ceil(spec.resources.cpu))),
        **spec.env,
        **places.environment(),
        **mounts,
        **({} if trace is None else {VARIABLE: str(trace)}),
    }
