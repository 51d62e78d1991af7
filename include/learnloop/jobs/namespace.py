"""Names of people and runs as parts of paths and of Kubernetes names: the one place that turns the one into the other.

A person has four folders, ``{data,tmp,results,models}/{user}``: below one root on a machine, at the root of a pod.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

from learnloop.errors import InvalidInput

KINDS = ("data", "tmp", "results", "models")
MOUNTS = "mounts"
"""Beside the four: folders that jobs' mounts are (docs/mounts.md)."""
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


def namespace_of(root: Path, kind: str, user: str) -> Path:
    """``{root}/{kind}/{user}``: of `KINDS` or `MOUNTS`, for ``user``. A pod's root is ``/``."""
    if kind not in (*KINDS, MOUNTS):
        raise ValueError(f"there is no namespace {kind!r}; there are {', '.join(KINDS)} and {MOUNTS}")
    return root / kind / user_folder(user)


def kubernetes_name(prefix: str, *parts: str, longest: int = LONGEST) -> str:
    """A DNS label that begins with ``prefix`` (a short word of ours), another for any other ``parts``.

    What is readable of the last part is in it; what tells names apart is the hash of all.
    """
    readable, suffix = _readable(parts[-1], longest - len(prefix) - 1), _digest(json.dumps(parts))
    return f"{prefix}-{readable}--{suffix}"


def key_folder(key: str) -> str:
    """The folder of a job's key, under the same rule; never that of the user's workspaces, which jobs lie beside."""
    return _hashed(key) if key == WORKSPACES else user_folder(key)


def _hashed(name: str) -> str:
    return f"{_readable(name, LONGEST)}--{_digest(name)}"


def _readable(name: str, longest: int) -> str:
    """What of ``name`` fits into ``longest`` characters beside a hash."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[: longest - _HASH_LENGTH - 2].strip("-") or "x"


def _digest(name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return base64.b32encode(digest).decode().lower()[:_HASH_LENGTH]
