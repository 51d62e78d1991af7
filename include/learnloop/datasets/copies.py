"""Ways to get the bytes of one file to another place, cheapest first."""

from __future__ import annotations

import errno
import fcntl
import hashlib
from typing import BinaryIO, Protocol

CHUNK = 1 << 20
_FICLONE = 0x40049409  # linux/fs.h
NO_LINK = {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP}
_NO_CLONE = {errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM}


def clone(source: BinaryIO, target: BinaryIO) -> bool:
    """Make empty ``target`` share the blocks of ``source`` until one is written (reflink); False where it cannot."""
    try:
        fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
    except OSError as error:
        if error.errno in _NO_CLONE:
            return False
        raise
    return True


class Readable(Protocol):
    """Whatever gives its next bytes, and none at its end."""

    def read(self, amount: int, /) -> bytes: ...


def copy(source: Readable, target: BinaryIO) -> str:
    """Copy the rest of ``source`` and return its md5."""
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def md5_of(file: Readable) -> str:
    """The md5 of the rest of ``file``."""
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
