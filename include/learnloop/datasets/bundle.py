"""A version as one file: a ``.tar.zst`` whose members are the version's objects, as the store has them.

``tar --zstd -xf`` unpacks it into an empty folder that is then a DVC cache with this one version. A bundle needs no
other: deleting one version never makes another unreadable.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from learnloop.datasets import durable
from learnloop.datasets.remotes.base import relative_path
from learnloop.datasets.store import Store
from learnloop.errors import Corrupted

_GROUP = 500
Progress = Callable[[int, int], None]


def write_bundle(
    target: Path, names: Sequence[str], at: Callable[[str], Path], progress: Progress | None = None
) -> str:
    """Write the objects ``names``, each read from ``at(name)``, to the new file ``target``; return its sha256.

    The same objects give the same bytes.

    Raises:
        Corrupted: an object does not hold the bytes it is named by.
    """
    with pa.output_stream(str(target), compression="zstd") as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
        for done, name in enumerate(names, 1):
            path = at(name)
            member = tarfile.TarInfo(relative_path(name))
            member.size, member.mode = path.stat().st_size, 0o444
            with path.open("rb") as file:
                reader = _Hashing(file.read)
                tar.addfile(member, reader)
            if reader.digest.hexdigest() != name[:32]:
                raise Corrupted(f"object {name} ({path}) does not hold the bytes it is named by: nothing was archived")
            if progress is not None:
                progress(done, len(names))
    durable.sync([target])
    return sha256_of(target)


def read_bundle(
    bundle: Path, sha256: str, store: Store, wanted: set[str], place: str, progress: Progress | None = None
) -> None:
    """Put the objects ``wanted`` from a bundle into the store.

    Raises:
        Corrupted: the bundle, which came from ``place``, is cut short or is not the one that was written, or lacks
            an object; nothing was put into the store in the first case.
    """
    if (found := sha256_of(bundle)) != sha256:
        raise Corrupted(
            f"the bundle {place} ({bundle.stat().st_size} bytes) is cut short or was tampered with: its sha256 is"
            f" {found}, and was {sha256} when it was written. Nothing was taken from it"
        )
    total, left, group = len(wanted), set(wanted), dict[str, Path]()
    with _discarding(group), pa.input_stream(str(bundle), compression="zstd") as stream:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for name, member in _objects(tar):
                if name not in left:
                    continue
                group[name] = store.new_temporary()
                source = tar.extractfile(member)
                if source is None:
                    raise Corrupted(f"{member.name} of the bundle {place} is not a file")
                with source, group[name].open("xb") as target:
                    while chunk := source.read(1 << 20):
                        target.write(chunk)
                left.discard(name)
                if len(group) == _GROUP:
                    store.adopt(group, place)
                    group.clear()
                if progress is not None:
                    progress(total - len(left), total)
        store.adopt(group, place)
        group.clear()
    if left:
        raise Corrupted(f"the bundle {place} lacks {len(left)} objects, such as {min(left)}")


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Hashing:
    """Reads on, and keeps the md5 of what was read."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.digest = hashlib.md5(usedforsecurity=False)

    def read(self, size: int = -1) -> bytes:
        data = self._read(size)
        self.digest.update(data)
        return data


def _objects(tar: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
    for member in tar:
        yield "".join(member.name.split("/")[-2:]), member


@contextmanager
def _discarding(files: dict[str, Path]) -> Iterator[None]:
    try:
        yield
    finally:
        for path in files.values():
            path.unlink(missing_ok=True)
