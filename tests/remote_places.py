"""Places where a remote can be, for the contract suite: a new kind of remote gets its tests by joining ``PLACES``."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from s3_server import S3, CutProxy, client

from learnloop.datasets.remotes import Remote, open_remote
from learnloop.datasets.remotes.base import relative_path


class Place(Protocol):
    """A remote, and a way around it to see and change what it holds."""

    address: str
    options: dict[str, Any]

    def objects(self) -> dict[str, bytes]: ...
    def overwrite(self, name: str, data: bytes) -> None: ...
    def remove(self, name: str) -> None: ...

    def absent(self) -> Remote:
        """A remote of this kind at a place that is not there."""
        ...

    def refused(self) -> contextlib.AbstractContextManager[tuple[Remote, list[str]]]:
        """The remote as somebody without the right to write has it, and the secrets that nobody may be told."""
        ...

    def cut_after(self, size: int) -> Remote:
        """The remote behind a connection that breaks when so many bytes have passed."""
        ...


def remote_of(place: Place) -> Remote:
    return open_remote(place.address, place.options)


@dataclass
class FolderPlace:
    root: Path

    @property
    def address(self) -> str:
        return str(self.root)

    @property
    def options(self) -> dict[str, Any]:
        return {}

    def objects(self) -> dict[str, bytes]:
        paths = [path for path in (self.root / "files").rglob("*") if path.is_file()]
        return {path.parent.name + path.name: path.read_bytes() for path in paths}

    def overwrite(self, name: str, data: bytes) -> None:
        path = self.root / relative_path(name)
        path.chmod(0o644)
        path.write_bytes(data)

    def remove(self, name: str) -> None:
        (self.root / relative_path(name)).unlink()

    def absent(self) -> Remote:
        return open_remote(str(self.root.parent / "no" / "mount"))

    @contextlib.contextmanager
    def refused(self) -> Iterator[tuple[Remote, list[str]]]:
        mounted = self.root.parent / "read-only"
        with tmpfs(mounted, "1m"):
            (mounted / "tmp").mkdir()
            run_as_root("mount", "-o", "remount,ro", str(mounted))
            yield open_remote(str(mounted)), []

    def cut_after(self, size: int) -> Remote:
        pytest.skip("a folder has no connection that could be cut")


@dataclass
class S3Place:
    s3: S3

    @property
    def address(self) -> str:
        return self.s3.address

    @property
    def options(self) -> dict[str, Any]:
        return self.s3.options

    def objects(self) -> dict[str, bytes]:
        pages = client(self.s3).get_paginator("list_objects_v2").paginate(Bucket=self.s3.bucket, Prefix="data/files/")
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        get = client(self.s3).get_object
        return {"".join(key.split("/")[-2:]): get(Bucket=self.s3.bucket, Key=key)["Body"].read() for key in keys}

    def overwrite(self, name: str, data: bytes) -> None:
        client(self.s3).put_object(Bucket=self.s3.bucket, Key=f"data/{relative_path(name)}", Body=data)

    def remove(self, name: str) -> None:
        client(self.s3).delete_object(Bucket=self.s3.bucket, Key=f"data/{relative_path(name)}")

    def absent(self) -> Remote:
        return open_remote("s3://no-such-bucket/data", self.options)

    @contextlib.contextmanager
    def refused(self) -> Iterator[tuple[Remote, list[str]]]:
        yield open_remote(self.address, {**self.options, "secret": "hunter2-wrong"}), ["hunter2-wrong"]

    def cut_after(self, size: int) -> Remote:
        proxy = CutProxy(int(self.s3.endpoint.rpartition(":")[2]), size)
        return open_remote(self.address, replace(self.s3, endpoint=proxy.endpoint).options)


def _folder(request: pytest.FixtureRequest) -> Place:
    return FolderPlace(request.getfixturevalue("tmp_path") / "remote")


def _s3(request: pytest.FixtureRequest) -> Place:
    return S3Place(request.getfixturevalue("s3"))


PLACES = {"folder": _folder, "s3": _s3}


@contextlib.contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Path]:
    """A disk of ``size`` at ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    run_as_root("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        run_as_root("umount", "-l", str(folder))


def run_as_root(*command: str) -> None:
    if os.geteuid() != 0:
        pytest.skip(f"only root may {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"this machine does not let us {command[0]}: {done.stderr.strip()}")


_APART = """
import json, sys
from pathlib import Path
from learnloop.datasets.remotes import fetch, open_remote, push, repair, replicate, verify
from learnloop.datasets.store import Store
verb, root, address, options, trees = json.loads(sys.argv[1])
store, remote = Store(Path(root)), open_remote(address, options)
if verb == "repair":
    repair(store, remote, verify(store, {tree: tree for tree in trees}).problems, jobs=1)
elif verb == "replicate":  # to a folder remote where the store would be
    replicate(remote, open_remote(root), trees, Store(Path(f"{root}-passing")), jobs=1)
else:
    {"push": push, "fetch": fetch}[verb](store, remote, trees, jobs=1)
"""


def run_apart(verb: str, store: Any, place: Place, trees: list[str], fault: str = "") -> int:
    """Do ``verb`` in a process of its own that kills itself at ``fault``; its exit code."""
    arguments = json.dumps([verb, str(store.root), place.address, place.options, trees])
    done = subprocess.run(
        [sys.executable, "-c", _APART, arguments],
        env={**os.environ, "LEARNLOOP_FAULT": fault},
        capture_output=True,
        text=True,
        timeout=100,
    )
    if done.returncode > 0:
        pytest.fail(done.stderr)
    return done.returncode
