"""Making what was written survive a power cut."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_FEW = 16


def sync(paths: Collection[Path]) -> None:
    """Make files, or renames into folders, durable. All ``paths`` are on one filesystem."""
    if len(paths) > _FEW:
        sync_filesystem(next(iter(paths)))  # for some thousand files, ten times faster than one by one
        return
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_filesystem(path: Path) -> None:
    """Make everything that was written to the filesystem of ``path`` durable."""
    if not hasattr(_libc, "syncfs"):
        os.sync()
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)
