"""A process that has loaded what our jobs import, and forks them: ``python -m learnloop.jobs.forkserver NAME``.

scikit-learn, skops and MLflow take seconds to import, more than a small training takes. The local runner asks the fork
server (one per stack) for jobs of ours, and gets a process that starts at once. In all else it is the process that the
runner would have started itself: its own session under a guardian, an environment of the spec's alone, output by pipe,
dead when its runner is. The server is started without secrets and makes no thread or connection, so there is none to
inherit.

The server listens on the abstract unix socket NAME and talks only to its own user. One connection is one job: the
runner sends a JSON request with two descriptors (output, control), the server answers with the guardian's process id,
and the guardian with the job's exit code. The server reaps a guardian when its runner has hung up: until then its
process id cannot be another's.
"""

from __future__ import annotations

import json
import os
import runpy
import select
import socket
import struct
import sys
import tempfile
import traceback
from importlib import import_module
from itertools import pairwise
from typing import Any

from learnloop.jobs import guardian

# Not the job modules themselves, which run as __main__, but all that they import.
PRELOADED = (
    "learnloop.training.data",
    "learnloop.training.models",
    "learnloop.training.trainers",
    "learnloop.training.saving",
    "mlflow.sklearn",
    "sklearn.model_selection",
    "skops.io",
    "threadpoolctl",
)
JOBS = "learnloop."
"""Only modules of this package are run: a command, or somebody else's module, is executed as ever."""
MAX_REQUEST = 1 << 20
_INT = struct.Struct("!i")


def address(name: str) -> str:
    """The abstract socket called ``name``: no file, so no limit to the length of a state directory's path."""
    return f"\0{name}"


def is_own(connection: socket.socket) -> bool:
    """Whether the process at the other end is of this process's user."""
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return bool(user == os.getuid())


def send_number(connection: socket.socket, number: int) -> None:
    connection.sendall(_INT.pack(number))


def answers(name: str) -> bool:
    """Whether a fork server called ``name`` listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        try:
            connection.connect(address(name))
        except OSError:
            return False
        return is_own(connection)


def receive_number(connection: socket.socket) -> int | None:
    """The next number; None when the other end has gone."""
    try:
        data = connection.recv(_INT.size, socket.MSG_WAITALL)
    except ConnectionResetError:
        return None
    return int(_INT.unpack(data)[0]) if len(data) == _INT.size else None


def serve(name: str) -> None:
    """Fork jobs until SIGTERM."""
    from learnloop.training.quiet import quieten_mlflow

    quieten_mlflow()
    for module in PRELOADED:
        import_module(module)
    quieten_mlflow()  # again: importing MLflow sets its own log level
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(address(name))
        listening.listen(64)
        print(f"forks jobs asked for at {name}", flush=True)  # noqa: T201 - the component's log
        guardians: dict[int, tuple[socket.socket, int]] = {}
        events = select.poll()
        events.register(listening, select.POLLIN)
        while True:
            for descriptor, _ in events.poll():
                if descriptor == listening.fileno():
                    connection, _ = listening.accept()
                    started = _fork(connection)
                    if started is None:
                        connection.close()
                        continue
                    guardians[connection.fileno()] = (connection, started)
                    events.register(connection, select.POLLIN)
                else:
                    # The runner says nothing more: that it can be read from means that the runner has hung up.
                    connection, started = guardians.pop(descriptor)
                    events.unregister(connection)
                    connection.close()
                    os.waitpid(started, 0)


def _fork(connection: socket.socket) -> int | None:
    """Read a request and fork its guardian; None when it is no request of ours."""
    connection.settimeout(10)
    try:
        data, descriptors, _, _ = socket.recv_fds(connection, MAX_REQUEST, 2)
    except TimeoutError:
        return None
    connection.settimeout(None)
    try:
        # No descriptors: somebody asks only whether the server is there.
        if not is_own(connection) or len(descriptors) != 2:
            return None
        request = json.loads(data)
        guard = os.fork()
        if guard == 0:
            _be_guardian(connection, request, *descriptors)
        return guard
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _be_guardian(connection: socket.socket, request: dict[str, Any], output: int, control: int) -> None:
    code = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        _close_all_but(connection.fileno(), control)  # other jobs' connections among them
        os.chdir(request["cwd"])
        send_number(connection, os.getpid())
        code = guardian.guard(lambda: _be_job(request), control, float(request["grace"]))
        send_number(connection, code)
    except BaseException:  # noqa: BLE001 - printed, and this process ends here
        traceback.print_exc()
    finally:
        os._exit(code)


def _be_job(request: dict[str, Any]) -> None:
    """Become what ``python -m module`` would be."""
    _close_all_but()
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # it may have been asked for under another TMPDIR
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # type: ignore[union-attr]
    sys.argv = [request["module"]]
    code: Any = 0
    try:
        from threadpoolctl import threadpool_limits

        threadpool_limits(int(request["threads"]))  # OMP_NUM_THREADS is read at import, which was long ago
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)  # noqa: T201 - as Python does
            code = 1
    except BaseException:  # noqa: BLE001 - printed, and this process ends here
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code or 0)


def _close_all_but(*kept: int) -> None:
    """Close every descriptor but the standard three and ``kept``."""
    bounds = [2, *sorted(kept), os.sysconf("SC_OPEN_MAX")]
    for below, above in pairwise(bounds):
        os.closerange(below + 1, above)


if __name__ == "__main__":
    serve(sys.argv[1])
