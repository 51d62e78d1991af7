"""Mounts that are objects behind an fsspec URL such as S3's: fetched into a folder before a run, uploaded after it.

``{url}/{user}/{key}/`` holds ``mount.json`` and ``files/...``. Of a folder, only regular files are objects: links that a job
left are not followed, and empty folders are not kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from learnloop.errors import InvalidInput, Unavailable
from learnloop.jobs.mount_check import FILES, MARKER
from learnloop.mounts.made import Record

FETCHED = "fetched.json"


class Objects:
    """What is below ``url``.

    Args:
        options: fsspec's storage options, such as an S3 client's credentials.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        import fsspec

        given = {"auto_mkdir": True} if url.startswith("file://") else dict(options or {})
        try:
            self._fs, self._root = fsspec.core.url_to_fs(
                url.rstrip("/"), skip_instance_cache=True, use_listings_cache=False, **given
            )
        except (ValueError, ImportError, TypeError) as error:
            raise InvalidInput(f"mounts cannot be kept at {url}: {error}") from error
        self.url = url.rstrip("/")

    def fetch(self, folder: Path) -> None:
        """Put every object below ``files/`` into ``folder/files``, and beside it what was there, to tell changes by."""
        files = folder / FILES
        with self._translated("fetched from"):
            for name, place in sorted(self._names().items()):
                target = files / name
                if not target.resolve().is_relative_to(files.resolve()):
                    raise InvalidInput(f"{self.url} holds an object {name!r}, which leads out of its folder")
                target.parent.mkdir(parents=True, exist_ok=True)
                self._fs.get_file(place, str(target))
        (folder / FETCHED).write_text(json.dumps(_state(files)), encoding="utf-8")

    def upload(self, folder: Path, record: Record) -> int:
        """Make the objects what ``folder/files`` is by now: what is new or changed first, then what is gone; how many."""
        files = folder / FILES
        before = json.loads((folder / FETCHED).read_text(encoding="utf-8"))
        now = _state(files)
        changed = [name for name, state in now.items() if before.get(name) != state]
        with self._translated("uploaded to"):
            for name in changed:
                self._fs.put_file(str(files / name), f"{self._root}/{FILES}/{name}")
            gone = [place for name, place in self._names().items() if name in before and name not in now]
            for place in gone:
                self._fs.rm_file(place)
            self._fs.pipe_file(f"{self._root}/{MARKER}", record.model_dump_json().encode())
        return len(changed) + len(gone)

    def records(self) -> dict[str, Record | None]:
        """The mounts that are kept below this URL, by the address of each."""
        with self._translated("listed at"):
            found = {place: place.removeprefix(f"{self._root}/") for place in self._found(self._root)}
            return {
                f"{self.url}/{path.removesuffix(f'/{MARKER}')}": Record.read(self._fs.cat_file(place).decode())
                for place, path in found.items()
                if path.endswith(f"/{MARKER}") and path.count("/") == 2
            }

    def exists(self) -> bool:
        """Whether there is a mount at this URL."""
        with self._translated("looked for at"):
            return bool(self._fs.exists(f"{self._root}/{MARKER}"))

    def remove(self) -> None:
        """Remove all objects below this URL; the record last, so that what is left is found again."""
        with self._translated("removed at"):
            for place in sorted(self._found(self._root), key=lambda place: place.endswith(f"/{MARKER}")):
                self._fs.rm_file(place)

    def _names(self) -> dict[str, str]:
        start = f"{self._root}/{FILES}/"
        return {place.removeprefix(start): place for place in self._found(f"{self._root}/{FILES}")}

    def _found(self, root: str) -> list[str]:
        try:
            return [str(place) for place in self._fs.find(root)]
        except FileNotFoundError:
            return []

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(f"a mount could not be {what} {self.url}: {error}") from error
        except Exception as error:  # botocore's errors are no OSErrors
            if type(error).__module__.startswith(("botocore", "aiobotocore")):
                raise Unavailable(f"a mount could not be {what} {self.url}: {error}") from error
            raise


def _state(files: Path) -> dict[str, list[int]]:
    """Size and time of change of every regular file below ``files``, by path."""
    found: dict[str, list[int]] = {}
    for folder, _, names in os.walk(files):
        for name in names:
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink():
                status = path.lstat()
                found[path.relative_to(files).as_posix()] = [status.st_size, status.st_mtime_ns]
    return found
