"""Stands between a runner and its job, so that no job outlives its runner: ``guardian.py CONTROL PARENT GRACE COMMAND...``

Standard library only, and started with ``-I -S``: it must be quick and small. It runs the command as its child, in its
own process group, and ends with the command's exit code (128 + n when signal n ended it). The end of file on the
descriptor CONTROL, the death of PARENT, or SIGTERM mean: stop. Then the group gets SIGTERM, and after GRACE seconds
SIGKILL. However the command ends, all its descendants are killed before the guardian ends, also those that left the
group: they are reparented to the guardian, which is a subreaper. Should the guardian itself be killed, the
command dies with it (PR_SET_PDEATHSIG) and the runner kills what is left of the group.
"""

import ctypes
import os
import select
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    control, parent, grace, command = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]
    os.set_inheritable(control, False)
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        return 128 + signal.SIGTERM  # the runner died before it could be watched
    return guard(lambda: _execute(command), control, grace)


def guard(become_the_job: Callable[[], None], control: int, grace: float) -> int:
    """Fork a child that calls ``become_the_job`` (which never returns), and see to its end; returns its exit code."""
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _note)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)

    job = _start(become_the_job)
    ended = os.pidfd_open(job)
    events = select.poll()
    for descriptor in (control, wake, ended):
        events.register(descriptor, select.POLLIN)
    if ended not in dict(events.poll()):
        os.killpg(0, signal.SIGTERM)
        patience = select.poll()
        patience.register(ended, select.POLLIN)
        patience.poll(grace * 1000)
    return _kill_descendants(job)


def _start(become_the_job: Callable[[], None]) -> int:
    guardian = os.getpid()
    job = os.fork()
    if job:
        return job
    try:
        signal.set_wakeup_fd(-1)
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guardian:
            os._exit(128 + signal.SIGTERM)
        # Python ignores SIGPIPE and SIGXFSZ, and an ignored signal stays ignored across exec.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        become_the_job()
    finally:
        os._exit(127)


def _execute(command: list[str]) -> None:
    try:
        os.execvp(command[0], command)  # noqa: S606 - the job, without a shell
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error.strerror}\n".encode())


def _kill_descendants(job: int) -> int:
    """Kill and reap everything below this process; returns the exit code of ``job``."""
    code = 1
    while True:
        for pid in _descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            # Whatever loses its parent becomes a child of this process, so this ends when all are gone.
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return code
        if pid == job:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208  (as below)
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:  # noqa: PTH123  (pathlib would double the start time)
                fields = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(fields[1]), []).append(int(entry))
    found: list[int] = []
    waiting = list(children.get(root, []))
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting.extend(children.get(pid, []))
    return found


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def _note(number: int, frame: object) -> None:
    """A signal wakes the poll through the wakeup descriptor; there is nothing to do here."""


if __name__ == "__main__":
    sys.exit(main())
