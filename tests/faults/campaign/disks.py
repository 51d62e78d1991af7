"""Small disks, and files of somebody else's that fill them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def small_disk(folder: Path, mebibytes: int) -> bool:
    """Mount a disk of that size at ``folder``; False where that cannot be done."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[Callable[[], int]]:
    """Keep the disk of ``folder`` full; how many bytes are left is asked with what it gives."""
    filler = folder / "somebody-elses-file"
    try:
        with filler.open("wb", buffering=0) as file:
            for size in (65536, 512):  # to the last page
                with suppress(OSError):
                    while file.write(b"x" * size):
                        pass
        yield lambda: shutil.disk_usage(folder).free
    finally:
        filler.unlink(missing_ok=True)


def filled(folder: Path, seconds: float) -> int:
    """Fill the disk of ``folder`` for a while; how many bytes were left."""
    with full(folder) as left:
        bytes_left = left()
        time.sleep(seconds)
    return bytes_left
