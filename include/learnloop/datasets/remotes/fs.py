"""A remote behind an fsspec URL: S3, or whatever else fsspec has a protocol for."""

from __future__ import annotations

import base64
import errno
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from learnloop.datasets import copies
from learnloop.datasets.remotes.base import Listed, damaged, disk_of, object_at, relative_path
from learnloop.errors import InvalidInput, LearnloopError, NotFound, Unavailable
from learnloop.faultpoints import reach

_FEW = 8  # up to so many objects of one folder are asked for by name; for more the folder is listed
_S3 = {"s3", "s3a"}
# s3fs tries five times as it is: with botocore's own five inside each, a dead server costs a minute.
_S3_CONFIG: dict[str, Any] = {"retries": {"mode": "standard", "total_max_attempts": 2}}
# s3fs reads this much at once, so it bounds the memory of one transfer to S3.
_PART = 16 << 20


class FsspecRemote:
    """Objects below an fsspec URL such as ``s3://bucket/prefix``.

    Args:
        address: the URL, without credentials.
        options: fsspec's storage options, among them the credentials; they are kept out of all messages.

    Raises:
        InvalidInput: no such protocol, or options that it does not take.
    """

    def __init__(self, address: str, options: Mapping[str, Any] | None = None) -> None:
        import fsspec

        protocol = address.partition("://")[0]
        self._is_s3 = protocol in _S3
        given = dict(options or {})
        if self._is_s3:
            given["config_kwargs"] = {**_S3_CONFIG, **given.get("config_kwargs", {})}
        try:
            self._fs, root = fsspec.core.url_to_fs(address, skip_instance_cache=True, use_listings_cache=False, **given)
        except (ValueError, ImportError, TypeError) as error:
            raise InvalidInput(
                f"{address} cannot be a remote: {error}; use a folder, s3://bucket/prefix, or another URL that fsspec"
                " knows and whose package is installed"
            ) from error
        self._root = root.rstrip("/")
        self._address = address.rstrip("/")

    @classmethod
    def over(cls, filesystem: Any, root: str, address: str) -> FsspecRemote:
        """The remote at ``root`` of an fsspec filesystem that somebody else has set up, to read from."""
        remote = cls.__new__(cls)
        remote._fs, remote._root, remote._address, remote._is_s3 = filesystem, root, address, False
        return remote

    @property
    def address(self) -> str:
        return self._address

    def check(self, *, writing: bool) -> None:
        bucket = self._root.partition("/")[0] if self._is_s3 else ""
        with self._translated("look at it"):
            if not self._is_s3:
                if writing:
                    self._fs.makedirs(self._root, exist_ok=True)
                elif not self._fs.exists(self._root):
                    raise NotFound(f"there is no remote at {self.address}: push to it first, or correct the address")
                return
            try:
                self._fs.info(bucket)
            except FileNotFoundError as error:
                raise NotFound(
                    f"there is no bucket {bucket!r} for the remote {self.address}:"
                    " create it, or correct the remote's address"
                ) from error

    def held(self, names: Collection[str]) -> dict[str, int]:
        folders: dict[str, list[str]] = defaultdict(list)
        for name in names:
            folders[name[:2]].append(name)
        sizes: dict[str, int] = {}
        with self._translated("list it"):
            for folder, wanted in folders.items():
                found = self._ask(wanted) if len(wanted) <= _FEW else self._list(folder)
                sizes |= {name: found[name] for name in wanted if name in found}
        return sizes

    def put_all(self, objects: Mapping[str, Path]) -> None:
        for name, source in objects.items():
            with source.open("rb") as file:
                md5 = copies.md5_of(file)
            if md5 != name[:32]:
                raise damaged(name, source)
            with self._translated(f"put object {name}"):
                if self._is_s3:
                    self._put_checked(name, source)
                else:
                    self._put_renamed(self._place(name), source)
            reach("push.object-placed")

    def get(self, name: str, target: Path) -> None:
        self._read(self._place(name), target, f"object {name}")

    def listed(self) -> Iterator[Listed]:
        with self._translated("list it"):
            found = self._fs.find(f"{self._root}/files/md5", detail=True)
        for path, entry in found.items():
            if name := object_at(path):
                yield Listed(name, int(entry["size"]), _modified(entry))

    def has(self, paths: Collection[str]) -> set[str]:
        with self._translated("look into it"):
            return {path for path in paths if self._fs.exists(f"{self._root}/{path}")}

    def upload(self, path: str, source: Path) -> None:
        with self._translated(f"put {path}"):
            if self._is_s3:  # what appears there appears whole
                self._fs.put_file(str(source), f"{self._root}/{path}", chunksize=_PART)
            else:
                self._put_renamed(f"{self._root}/{path}", source)

    def download(self, path: str, target: Path) -> None:
        self._read(f"{self._root}/{path}", target, path)

    def files(self, folder: str) -> list[str]:
        with self._translated("list it"):
            return [found.removeprefix(f"{self._root}/") for found in self._fs.find(f"{self._root}/{folder}")]

    def remove(self, path: str) -> None:
        with self._translated(f"remove {path}"), suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{path}")

    def _place(self, name: str) -> str:
        return f"{self._root}/{relative_path(name)}"

    def _read(self, place: str, target: Path, what: str) -> None:
        with self._translated(f"get {what}", str(target.parent)):
            try:
                self._fs.get_file(place, str(target))
            except FileNotFoundError as error:
                raise NotFound(f"{what} is not at the remote {self.address}") from error

    def _ask(self, names: Collection[str]) -> dict[str, int]:
        sizes = {}
        for name in names:
            try:
                sizes[name] = int(self._fs.info(self._place(name))["size"])
            except FileNotFoundError:
                continue
        return sizes

    def _list(self, folder: str) -> dict[str, int]:
        try:
            entries = self._fs.ls(f"{self._root}/files/md5/{folder}", detail=True)
        except FileNotFoundError:
            return {}
        return {
            folder + entry["name"].rpartition("/")[2]: int(entry["size"])
            for entry in entries
            if entry["type"] == "file"
        }

    def _put_checked(self, name: str, source: Path) -> None:
        # S3 compares what arrives with the hash and refuses a difference; the parts of a large one have checksums of
        # their own (botocore), and s3fs does not send the hash with them. An object appears when it is whole.
        digest = base64.b64encode(bytes.fromhex(name[:32])).decode()
        self._fs.put_file(str(source), self._place(name), chunksize=_PART, ContentMD5=digest)

    def _put_renamed(self, place: str, source: Path) -> None:
        temporary = f"{place}.{uuid.uuid4().hex}"
        self._fs.makedirs(place.rpartition("/")[0], exist_ok=True)
        self._fs.put_file(str(source), temporary)
        self._fs.mv(temporary, place)

    @contextmanager
    def _translated(self, doing: str, local: str = "") -> Iterator[None]:
        """Turn what fsspec and the libraries below it raise into our errors, without their arguments."""
        try:
            with disk_of(local or self.address):
                yield
        except LearnloopError:
            raise
        except PermissionError as error:
            raise Unavailable(
                f"{self.address} does not let us {doing} ({error}):"
                " check the credentials it is given and what they permit"
            ) from error
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise Unavailable(f"{self.address} refused to {doing}: {error.strerror}; run it again") from error
            raise self._lost(doing, error) from error
        except Exception as error:
            # Each protocol raises the errors of a library of its own (botocore, aiohttp, paramiko, ...).
            raise self._lost(doing, error) from error

    def _lost(self, doing: str, error: Exception) -> Unavailable:
        return Unavailable(
            f"{self.address} does not answer: could not {doing} ({type(error).__name__}: {error});"
            " run it again when it does: what was transferred so far is kept"
        )


def _modified(entry: Mapping[str, Any]) -> float | None:
    """When a file was written, as far as its protocol tells: each has a word of its own for it."""
    for word in ("LastModified", "last_modified", "mtime", "modified"):
        when = entry.get(word)
        if isinstance(when, datetime):
            return when.timestamp()
        if isinstance(when, int | float):
            return float(when)
    return None
