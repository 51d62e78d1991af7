"""One guarded process: its output line by line, and its certain end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

GUARDIAN = Path(__file__).with_name("guardian.py")
LONGEST_LINE = 64 * 1024


class GuardedProcess:
    """Runs ``command`` under a guardian (see ``guardian.py``). At the end of its ``with`` block nothing of it is alive."""

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
        self._ended = os.pidfd_open(self._guardian.pid)

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
        assert self._guardian.stdout is not None  # noqa: S101
        deadline = time.monotonic() + timeout_seconds
        output = self._guardian.stdout.fileno()
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
        os.close(self._ended)
        if self._guardian.stdout is not None:
            self._guardian.stdout.close()
