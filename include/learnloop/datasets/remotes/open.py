"""From an address to a remote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from learnloop.datasets.remotes.base import Remote
from learnloop.datasets.remotes.folder import FolderRemote
from learnloop.datasets.remotes.fs import FsspecRemote
from learnloop.errors import InvalidInput


def open_remote(address: str, options: Mapping[str, Any] | None = None) -> Remote:
    """The remote at ``address``: an absolute path, ``file:///path``, or an fsspec URL such as ``s3://bucket/prefix``.

    Nothing is asked of it yet.

    Args:
        options: fsspec's storage options (S3: ``key``, ``secret``, ``token``, ``endpoint_url``); none for a folder.

    Raises:
        InvalidInput: the address is empty, names no possible remote, or has credentials in it.
    """
    if not address:
        raise InvalidInput("no remote is configured: LEARNLOOP_REMOTE must name a folder or an fsspec URL")
    refuse_credentials(address)
    scheme, separator, _ = address.partition("://")
    if separator and scheme != "file":
        return FsspecRemote(address, options)
    path = Path(urlsplit(address).path if separator else address)
    if not path.is_absolute():
        raise InvalidInput(f"{address!r} cannot be a remote: give an absolute path or a URL such as s3://bucket/prefix")
    if options:
        raise InvalidInput(f"the remote {address} is a folder and takes no options: leave out {', '.join(options)}")
    return FolderRemote(path)


def refuse_credentials(address: str) -> None:
    """Raises InvalidInput when a URL has a user or a password in it: addresses are logged and shown."""
    scheme, separator, _ = address.partition("://")
    if separator and "@" in urlsplit(address).netloc:
        raise InvalidInput(
            f"the address of the {scheme} remote has credentials in it: leave them out, and give them as options"
            " (in Airflow: as a connection)"
        )
