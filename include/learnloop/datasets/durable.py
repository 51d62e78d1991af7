"""Making what was written survive a power cut, and saying so when it cannot be written."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from learnloop.errors import OutOfSpace

_libc = ctypes.CDLL(None, use_errno=True)
_FEW = 16
_FULL = {errno.ENOSPC, errno.EDQUOT}


def sync(paths: Collection[str | Path]) -> None:
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


def sync_filesystem(path: str | Path) -> None:
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


@contextmanager
def telling_of_a_full_disk(place: Path) -> Iterator[None]:
    """Raise OutOfSpace, which names ``place``, for the operating system's word of a full disk or quota."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise OutOfSpace(f"{place}: {error.strerror}; free some space, then run it again") from error
