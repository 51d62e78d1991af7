"""The second place: pieces by name, heads of complete backups, and what says how the place is sealed.

learnloop-backup.json      format, whether it is sealed, a check of the key
pieces/xx/{64 hex}         bytes of objects, files, dumps and lists, named by what they are
backups/{name}.head        that a backup is complete; written after all it needs, removed before any of it
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from learnloop.backup.contents import FORMAT, NAME, Contents, File, Head
from learnloop.backup.sealing import Sealer
from learnloop.datasets.remotes import Remote
from learnloop.errors import Corrupted, InvalidInput, NotFound

PART = 1 << 30
"""Larger things are kept in pieces of so many bytes."""
_ABOUT = "learnloop-backup.json"
_PIECE = re.compile(r"pieces/[0-9a-f]{2}/([0-9a-f]{64})")
_HEAD = re.compile(rf"backups/({NAME.pattern})\.head")


class Place:
    """Backups at ``remote``, read and written by ``sealer``; ``scratch`` is a folder with room for one piece a thread."""

    def __init__(self, remote: Remote, sealer: Sealer, scratch: Path) -> None:
        self.remote = remote
        self._sealer = sealer
        self._scratch = scratch
        self._there: set[str] | None = None

    @property
    def sealed(self) -> bool:
        return self._sealer.sealed

    def open(self, *, writing: bool) -> None:
        """See that the place is there and is sealed with our key; a new one is begun when ``writing``.

        Raises:
            NotFound: there is no place of backups.
            InvalidInput: it is sealed and we have no key or another, or it is not and we have one.
            Unavailable: it does not answer, or refuses us.
        """
        self.remote.check(writing=writing)
        check = self._sealer.name("check of the key")
        with self._temporary() as path:
            try:
                self.remote.download(_ABOUT, path)
            except NotFound as error:
                if not writing:
                    raise NotFound(
                        f"there are no backups at {self.remote.address}: `learnloop backup` takes one"
                    ) from error
                path.write_text(json.dumps({"format": FORMAT, "sealed": self.sealed, "check": check}))
                self.remote.upload(_ABOUT, path)
                return
            about = json.loads(path.read_text())
        if about["format"] != FORMAT:
            raise InvalidInput(f"the backups at {self.remote.address} have format {about['format']}, not {FORMAT}")
        if about["sealed"] and not self.sealed:
            raise InvalidInput(
                f"the backups at {self.remote.address} are encrypted: LEARNLOOP_BACKUP_KEY_FILE must name the key's file"
            )
        if not about["sealed"] and self.sealed:
            raise InvalidInput(
                f"the backups at {self.remote.address} are not encrypted, and a key is configured:"
                " begin a new place for encrypted ones, or leave the key out to read these"
            )
        if about["check"] != check:
            raise InvalidInput(f"the backups at {self.remote.address} were made with another key than the one given")

    # --- pieces ---

    def holds(self, size: int, checksum: str) -> bool:
        """Whether all pieces of these bytes (an md5, or a sha256) are there."""
        return all(name in self._pieces() for name, _ in self._parts(size, checksum))

    def put(self, path: Path, size: int, checksum: str) -> int:
        """Copy what is missing of a file's bytes; how many that were.

        Raises:
            Corrupted: the file does not hold the bytes of that checksum; it does not count as being there.
        """
        copied, digest = 0, _digest_of(checksum)
        fresh: list[tuple[str, Path]] = []
        try:
            with path.open("rb") as file:
                for name, part in self._parts(size, checksum):
                    temporary = self._new_temporary()
                    fresh.append((name, temporary))
                    self._sealer.seal(name, _Hashing(file, digest), part, temporary)
                if file.read(1) or digest.hexdigest() != _plain(checksum):
                    raise Corrupted(f"{path} does not hold the bytes it is known by ({checksum})")
            for name, temporary in fresh:
                if name not in self._pieces():
                    copied += temporary.stat().st_size
                    self.remote.upload(f"pieces/{name[:2]}/{name}", temporary)
                    self._pieces().add(name)
        finally:
            for _, temporary in fresh:
                temporary.unlink(missing_ok=True)
        return copied

    def get(self, size: int, checksum: str, target: Path) -> None:
        """Write the bytes to the new file ``target``.

        Raises:
            NotFound: a piece is missing.
            Corrupted: a piece is damaged; ``target`` is not to be used.
        """
        digest, written = _digest_of(checksum), 0
        with target.open("xb") as file:

            def write(chunk: bytes) -> None:
                nonlocal written
                digest.update(chunk)
                written += file.write(chunk)

            for name, _ in self._parts(size, checksum):
                with self._temporary() as piece:
                    self.remote.download(f"pieces/{name[:2]}/{name}", piece)
                    self._sealer.unseal(name, piece, write)
        if written != size or digest.hexdigest() != _plain(checksum):
            raise Corrupted(f"the backup's copy of {checksum} is damaged: its bytes are not those of that checksum")

    def names_of(self, size: int, checksum: str) -> list[str]:
        """The names of the pieces of these bytes."""
        return [name for name, _ in self._parts(size, checksum)]

    def all_pieces(self) -> set[str]:
        """The names of all pieces, by a new look."""
        self._there = None
        return set(self._pieces())

    def remove_piece(self, name: str) -> None:
        self.remote.remove(f"pieces/{name[:2]}/{name}")
        self._pieces().discard(name)

    # --- backups ---

    def names(self) -> list[str]:
        """Complete backups, the oldest first."""
        found = (_HEAD.fullmatch(path) for path in self.remote.files("backups"))
        return sorted(match[1] for match in found if match)

    def head(self, name: str) -> Head:
        """One backup's head.

        Raises:
            NotFound: there is no complete backup of that name.
            Corrupted: its head is damaged or was tampered with.
        """
        if not NAME.fullmatch(name):
            raise InvalidInput(f"{name!r} is no backup's name: they look like 20261126T160500Z-1a2b3c4d")
        read = io.BytesIO()
        with self._temporary() as path:
            try:
                self.remote.download(f"backups/{name}.head", path)
            except NotFound as error:
                raise NotFound(
                    f"there is no complete backup {name} at {self.remote.address}: `learnloop backup list` shows them"
                ) from error
            self._sealer.unseal(f"head of {name}", path, read.write)
        return Head.loaded(name, read.getvalue())

    def contents(self, head: Head) -> Contents:
        """What a backup holds; raises as ``get`` does."""
        with self._temporary() as path:
            self.get(head.contents.size, head.contents.sha256, path)
            return Contents.loaded(path.read_bytes())

    def put_head(self, head: Head) -> None:
        """Make a backup complete."""
        data = head.dumped()
        path = self._new_temporary()
        try:
            self._sealer.seal(f"head of {head.name}", io.BytesIO(data), len(data), path)
            self.remote.upload(f"backups/{head.name}.head", path)
        finally:
            path.unlink(missing_ok=True)

    def remove_head(self, name: str) -> None:
        """From here on the backup is not there."""
        self.remote.remove(f"backups/{name}.head")

    def put_contents(self, contents: Contents) -> File:
        data = contents.dumped()
        made = File("", "contents", len(data), hashlib.sha256(data).hexdigest())
        with self._temporary() as path:
            path.write_bytes(data)
            self.put(path, made.size, made.sha256)
        return made

    # --- parts ---

    def _parts(self, size: int, checksum: str) -> Iterator[tuple[str, int]]:
        for number in range(max(1, -(-size // PART))):
            yield self._sealer.name(f"{checksum}:{size}:{number}"), min(PART, size - number * PART)

    def _pieces(self) -> set[str]:
        if self._there is None:
            found = (_PIECE.fullmatch(path) for path in self.remote.files("pieces"))
            self._there = {match[1] for match in found if match}
        return self._there

    def _new_temporary(self) -> Path:
        self._scratch.mkdir(parents=True, exist_ok=True)
        return self._scratch / f"backup-{uuid.uuid4().hex}"

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        path = self._new_temporary()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


class _Hashing:
    """Reads on, and keeps the digest of what was read."""

    def __init__(self, file: io.BufferedReader, digest: hashlib._Hash) -> None:
        self._file, self._digest = file, digest

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        return data


def _digest_of(checksum: str) -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False) if len(_plain(checksum)) == 32 else hashlib.sha256()


def _plain(checksum: str) -> str:
    """Without the suffix that a tree's name has."""
    return checksum.removesuffix(".dir")
