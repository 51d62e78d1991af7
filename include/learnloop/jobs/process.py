"""One guarded process: its output line by line, and its certain end."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from learnloop.jobs import forkserver

GUARDIAN = Path(__file__).with_name("guardian.py")
LONGEST_LINE = 64 * 1024


class GuardedProcess:
    """Runs ``command`` under a guardian (see ``guardian.py``). At the end of its ``with`` block nothing of it is alive."""

    _control: int
    _output: int
    _ended: int
    """A descriptor that can be read once the guardian has ended."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], cwd: Path, grace_seconds: float = 5.0
    ) -> None:
        control, self._control = os.pipe()
        try:
            guardian = [sys.executable, "-I", "-S", str(GUARDIAN), str(control), str(os.getpid()), str(grace_seconds)]
            self._guardian = subprocess.Popen(
                [*guardian, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(control,),
                env=dict(environment),
                cwd=cwd,
                start_new_session=True,
            )
        except BaseException:
            self.stop()
            raise
        finally:
            os.close(control)
        assert self._guardian.stdout is not None  # noqa: S101 - it was asked for above
        self._output = self._guardian.stdout.fileno()
        self._ended = os.pidfd_open(self._guardian.pid)

    @property
    def pid(self) -> int:
        """The guardian's; it is there, dead or alive, until somebody waits for it."""
        return self._guardian.pid

    def stop(self) -> None:
        """Ask for the end: TERM, then KILL after the grace. Returns at once; may be called from a signal handler."""
        control, self._control = self._control, -1
        if control >= 0:
            os.close(control)

    def lines(self, timeout_seconds: float) -> Iterator[bytes]:
        """Its output (stdout and stderr) line by line, until it has ended.

        Raises:
            TimeoutError: it was still running after ``timeout_seconds``; it has been told to stop.
        """
        deadline = time.monotonic() + timeout_seconds
        output = self._output
        events = select.poll()
        events.register(output, select.POLLIN)
        events.register(self._ended, select.POLLIN)
        open_descriptors = {output, self._ended}
        partial = b""
        while open_descriptors:
            remaining = deadline - time.monotonic()
            ready = dict(events.poll(max(0.0, remaining) * 1000))
            if not ready and remaining <= 0:
                self.stop()
                raise TimeoutError
            if output in ready:
                read = os.read(output, LONGEST_LINE)
                if not read:
                    events.unregister(output)
                    open_descriptors.remove(output)
                *complete, partial = (partial + read).split(b"\n")
                yield from complete
                if len(partial) >= LONGEST_LINE or (partial and not read):
                    yield partial
                    partial = b""
            elif self._ended in ready:
                # All that it wrote has been read: whoever still holds the pipe escaped, and is not waited for.
                break
        if partial:
            yield partial

    def wait(self) -> int:
        """The command's exit code (128 + n when signal n ended it), once all of its group is gone."""
        if self._guardian.returncode is None:
            # WNOWAIT keeps the guardian's id, and so its group's, from being reused until the group is killed.
            os.waitid(os.P_PID, self._guardian.pid, os.WEXITED | os.WNOWAIT)
            with suppress(ProcessLookupError):
                os.killpg(self._guardian.pid, signal.SIGKILL)
        code = self._guardian.wait()
        return code if code >= 0 else 128 - code

    def __enter__(self) -> GuardedProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self.wait()
        self._close()

    def _close(self) -> None:
        os.close(self._ended)
        if self._guardian.stdout is not None:
            self._guardian.stdout.close()


class ForkedProcess(GuardedProcess):
    """A job of ours, forked by the fork server called ``server`` (see ``forkserver.py``) instead of started anew.

    Raises:
        OSError: the server does not answer; nothing was started.
    """

    def __init__(
        self,
        module: str,
        *,
        server: str,
        environment: Mapping[str, str],
        threads: int,
        cwd: Path,
        grace_seconds: float = 5.0,
    ) -> None:
        request = {
            "module": module,
            "environment": dict(environment),
            "threads": threads,
            "cwd": str(cwd),
            "grace": grace_seconds,
        }
        self._code: int | None = None
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control = output = self._control = self._output = -1
        try:
            self._connection.settimeout(10)
            self._connection.connect(forkserver.address(server))
            if not forkserver.is_own(self._connection):
                raise PermissionError(f"the fork server {server} is another user's")
            control, self._control = os.pipe()
            self._output, output = os.pipe()
            socket.send_fds(self._connection, [json.dumps(request).encode()], [output, control])
            guardian = forkserver.receive_number(self._connection)
            if guardian is None:
                raise ConnectionError(f"the fork server {server} did not start {module}")
            self._connection.settimeout(None)
            self._guardian_id = guardian
            self._ended = os.pidfd_open(guardian)
        except BaseException:
            self.stop()
            self._connection.close()
            if self._output >= 0:
                os.close(self._output)
            raise
        finally:
            for descriptor in (control, output):
                if descriptor >= 0:
                    os.close(descriptor)

    @property
    def pid(self) -> int:
        return self._guardian_id

    def wait(self) -> int:
        """The job's exit code (128 + n when signal n ended it), once all of its group is gone."""
        if self._code is None:
            ended = select.poll()
            ended.register(self._ended, select.POLLIN)
            ended.poll()
            # The guardian's last act is to say the code. The server holds the other end too, so there is no end of file.
            self._connection.setblocking(False)
            with suppress(BlockingIOError):
                self._code = forkserver.receive_number(self._connection)
            if (
                self._code is None
            ):  # the guardian was killed; the server keeps its id from being reused until we hang up
                self._code = 128 + signal.SIGKILL
                with suppress(ProcessLookupError):
                    os.killpg(self._guardian_id, signal.SIGKILL)
        return self._code

    def _close(self) -> None:
        os.close(self._ended)
        os.close(self._output)
        self._connection.close()
