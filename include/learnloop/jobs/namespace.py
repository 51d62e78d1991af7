"""Names of people and runs as parts of paths and of Kubernetes names."""

from __future__ import annotations

import base64
import hashlib
import re

from learnloop.errors import InvalidInput

LONGEST = 63  # of a Kubernetes name
WORKSPACES = "workspaces"
"""The folder of a user's workspaces, in ``data/{user}`` beside the data of the user's jobs."""
_SAFE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_TAKEN = {"workspaces"}  # lies beside the jobs' folders in data/{user}; a job empties its own
_HASH_LENGTH = 16  # base32 digits: 80 bits


def user_folder(name: str) -> str:
    """The folder of user ``name``: at most 63 of ``a-z0-9-``, one to one, never a way out of its parent.

    A name that is safe already stays as it is; any other becomes ``{what is readable}--{hash of the name}``. Safe
    names hold no ``--``, so nobody can choose a name that maps to somebody else's folder.

    Raises:
        InvalidInput: the name is empty.
    """
    if not name:
        raise InvalidInput("a user name or job key is empty; it names a folder, so it needs at least one character")
    if _SAFE.fullmatch(name) and "--" not in name and len(name) <= LONGEST and name not in _TAKEN:
        return name
    return _hashed(name)


def key_folder(key: str) -> str:
    """The folder of a job's key, under the same rule; never that of the user's workspaces, which jobs lie beside."""
    return _hashed(key) if key == WORKSPACES else user_folder(key)


def _hashed(name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    suffix = base64.b32encode(digest).decode().lower()[:_HASH_LENGTH]
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower())[: LONGEST - _HASH_LENGTH - 2].strip("-")
    return f"{readable or 'x'}--{suffix}"
