"""A prefix of an object storage (S3, or whatever fsspec knows) as the source of a snapshot."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from learnloop.datasets.files import NEVER_TRACKED_FILES, NEVER_TRACKED_FOLDERS, REFUSED_FILE
from learnloop.datasets.index import Seen, size_in
from learnloop.datasets.writing import IN_MEMORY, Group, md5_of_bytes
from learnloop.errors import Conflict, Corrupted, InvalidDataset, InvalidInput, NotFound, PermissionDenied, Unavailable

_MD5 = re.compile(r"[0-9a-f]{32}")
_WORKERS = 8  # a download mostly waits; more hardly helps, and each may hold a file of up to IN_MEMORY


def is_url(source: object) -> bool:
    """Whether a snapshot's source is an fsspec URL and not a path."""
    return "://" in str(source)


class RemoteSource:
    """All objects below a URL such as ``s3://bucket/prefix``. The rules for what is tracked are those of a folder.

    An object counts as unchanged while its ETag, size and time do; one without an ETag is always read.
    """

    workers = _WORKERS
    processes = False  # a download waits for the network, and its connections cannot be shared

    def __init__(self, url: str, storage_options: Mapping[str, Any]) -> None:
        import fsspec

        self.name = url.rstrip("/")
        try:
            # Not cached: a listing must be of now, and credentials should not outlive the snapshot.
            self._filesystem = fsspec.filesystem(
                url.partition("://")[0], **{**storage_options, "skip_instance_cache": True, "use_listings_cache": False}
            )
        except (ValueError, ImportError) as error:
            raise InvalidInput(f"{url} is of a storage that is not known here: {error}") from error
        self._root = self._filesystem._strip_protocol(self.name).rstrip("/")

    def scan(self, expected: int = 0) -> Seen:
        found: Seen = {}
        objects = self._asking("", lambda: self._filesystem.find(self._root, detail=True, refresh=True))
        for place, details in objects.items():
            path = place[len(self._root) + 1 :]
            if not path or path.endswith("/"):
                continue  # what a web console puts in place of a folder
            *folders, name = path.split("/")
            if name in NEVER_TRACKED_FILES or not set(folders).isdisjoint(NEVER_TRACKED_FOLDERS):
                continue
            if name == REFUSED_FILE:
                raise InvalidDataset(
                    f"{self.describe(path)}: a tracked folder must not hold a {REFUSED_FILE}; take it out"
                )
            size, etag = int(details["size"]), str(details.get("ETag") or details.get("etag") or "").strip('"')
            time = details.get("LastModified") or details.get("mtime") or ""
            found[path] = f"{size} {etag} {time}"
        if not found:
            raise NotFound(f"{self.name}: there is no object below it")
        return found

    def read(self, path: str) -> bytes:
        """The content of one object, unchecked.

        Raises:
            NotFound: there is none.
        """
        try:
            data: bytes = self._asking(path, lambda: self._filesystem.cat_file(f"{self._root}/{path}"))
        except Conflict as error:
            raise NotFound(f"{self.describe(path)} does not exist") from error
        return data

    def is_settled(self, stamp: str, started: int) -> bool:
        return stamp.split(" ")[1] != ""  # an ETag is made of the content

    def worth_a_thread(self, stamp: str) -> bool:
        return True

    def take(self, path: str, stamp: str, group: Group) -> str:
        place = f"{self._root}/{path}"
        if size_in(stamp) <= IN_MEMORY:
            data = self._asking(path, lambda: self._filesystem.cat_file(place))
            md5, size = md5_of_bytes(data), len(data)
            self._check(path, stamp, md5, size)
            if not group.has(md5, size):
                group.put_bytes(md5, data)
            return md5
        with self._asking(path, lambda: self._filesystem.open(place, "rb")) as file:
            md5 = group.put_file(_Reader(lambda amount: self._asking(path, lambda: file.read(amount))))
            self._check(path, stamp, md5, file.tell())
        return md5

    def describe(self, path: str) -> str:
        return f"{self.name}/{path}"

    def _check(self, path: str, stamp: str, md5: str, size: int) -> None:
        if size != size_in(stamp):
            raise Conflict(f"{self.describe(path)} changed while it was read; run it again when nobody writes to it")
        etag = stamp.split(" ")[1]
        # The ETag of an object that came in one part is its md5, unless it is encrypted with a key of its own.
        if _MD5.fullmatch(etag) and etag != md5 and not self._has_own_key(path):
            raise Corrupted(f"{self.describe(path)}: what arrived has the md5 {md5}, the storage says {etag}")

    def _has_own_key(self, path: str) -> bool:
        if not hasattr(self._filesystem, "call_s3"):
            return True  # not S3: its ETag may be anything
        bucket, key, _ = self._filesystem.split_path(f"{self._root}/{path}")
        head = self._asking(path, lambda: self._filesystem.call_s3("head_object", Bucket=bucket, Key=key))
        return str(head.get("ServerSideEncryption", "")).startswith("aws:kms") or "SSECustomerAlgorithm" in head

    def _asking(self, path: str, question: Callable[[], Any]) -> Any:
        from botocore.exceptions import BotoCoreError

        place = self.describe(path) if path else self.name
        try:
            return question()
        except FileNotFoundError as error:
            if not path:
                raise NotFound(f"{place} does not exist") from error
            raise Conflict(f"{place} is not there (any more)") from error
        except PermissionError as error:
            raise PermissionDenied(f"{place}: the storage refuses these credentials: {error}") from error
        except (OSError, BotoCoreError) as error:
            raise Unavailable(f"{place}: the storage does not answer: {error}") from error


class _Reader:
    """The reading half of a file, for what only reads."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read
