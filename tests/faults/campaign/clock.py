"""A clock of the day that can be set for some processes and not for the machine.

Linux has no namespace for it (a time namespace shifts the monotonic clocks only), and libfaketime 0.9.10 cannot leave the
monotonic clock alone without breaking ``time.sleep``. So a library of our own is preloaded (``clock.c``). What does not ask
libc for the time, such as programs in Go (the gateway, the S3 server), keeps the true one.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

POSSIBLE = shutil.which("cc") is not None


class Clock:
    """The clock of all processes that have `environment`. ``seen_as``: where they see ``folder``."""

    def __init__(self, folder: Path, seen_as: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        library, self._file = folder / "clock.so", folder / "offset"
        source = Path(__file__).with_suffix(".c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
        self.set(0)
        for path, mode in ((folder, 0o755), (library, 0o644), (self._file, 0o644)):
            path.chmod(mode)  # PostgreSQL is another user's
        inside = seen_as or folder
        self.environment = {"LD_PRELOAD": str(inside / "clock.so"), "FAULT_CLOCK": str(inside / "offset")}

    def set(self, seconds: float) -> None:
        """So far from the true time, at once in all processes: they have mapped the file."""
        mode = "r+b" if self._file.exists() else "wb"
        with self._file.open(mode, buffering=0) as file:
            file.write(round(seconds * 1e9).to_bytes(8, "little", signed=True))
