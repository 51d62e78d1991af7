"""What a remote is, and the errors that all remotes share."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from learnloop.errors import Corrupted, Unavailable

Progress = Callable[[int, int], None]
"""Called with how many objects are done, and how many there are."""

_NAME = re.compile(r"[0-9a-f]{32}(\.dir)?")
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True)
class Listed:
    """An object at a remote: its size, and when it was put there (seconds since 1970; None where nobody says)."""

    name: str
    bytes: int
    modified: float | None


class Source(Protocol):
    """A place to read a ``Store``'s objects from, by name. Its methods may be called from several threads.

    Each raises Unavailable when the place does not answer, or refuses the credentials.
    """

    @property
    def address(self) -> str:
        """Where it is, for people; without credentials."""
        ...

    def check(self, *, writing: bool) -> None:
        """See that the place is there and answers.

        Raises:
            NotFound: there is no such place.
        """
        ...

    def held(self, names: Collection[str]) -> dict[str, int]:
        """Which of ``names`` it has, with their sizes in bytes."""
        ...

    def get(self, name: str, target: Path) -> None:
        """Write an object's bytes to ``target``. The caller checks them.

        Raises:
            NotFound: it has no such object.
        """
        ...


class Remote(Source, Protocol):
    """A store's objects at another place; beside them other files (archives), by their path below its address.

    What is written appears whole or not at all, and takes the place of what was there. Unavailable also means: it is full.
    """

    def put_all(self, objects: Mapping[str, Path]) -> None:
        """Store copies of local files as objects.

        Raises:
            Corrupted: a file does not hold the bytes of its name; the remote keeps what it has.
        """
        ...

    def listed(self) -> Iterator[Listed]:
        """All objects there, in no order; files that have no object's name are left out."""
        ...

    def has(self, paths: Collection[str]) -> set[str]:
        """Those of ``paths`` at which there is a file."""
        ...

    def upload(self, path: str, source: Path) -> None:
        """Put a copy of a local file there, whatever it holds."""
        ...

    def download(self, path: str, target: Path) -> None:
        """Write a file's bytes to ``target``. The caller checks them.

        Raises:
            NotFound: the remote has no such file.
        """
        ...

    def files(self, folder: str) -> list[str]:
        """The paths of the files below ``folder``."""
        ...

    def remove(self, path: str) -> None:
        """Take a file away, if it is there."""
        ...


def relative_path(name: str) -> str:
    """Where DVC keeps an object below a remote's address."""
    return f"files/md5/{name[:2]}/{name[2:]}"


def object_at(path: str) -> str | None:
    """The name of the object at a path that ends as ``relative_path`` does; None for another file."""
    *_, folder, rest = path.split("/")
    return folder + rest if _NAME.fullmatch(folder + rest) and len(folder) == 2 else None


def damaged(name: str, path: Path) -> Corrupted:
    """The error about a local object that was to be sent."""
    return Corrupted(
        f"object {name} ({path}) does not hold the bytes it is named by, and was not sent: verify and repair the store"
    )


@contextmanager
def disk_of(place: str) -> Iterator[None]:
    """Say which disk is full or may not be used, if one is."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise Unavailable(
                f"no space is left at {place}: make room and run it again; what was transferred so far is kept"
            ) from error
        if error.errno in _NO_ACCESS:
            raise Unavailable(
                f"{place} may not be used ({error.strerror}: {error.filename}): give the service the right to,"
                " or name a place where it has it"
            ) from error
        raise
