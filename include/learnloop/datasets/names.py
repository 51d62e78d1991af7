"""How versions are called.

A shared version is ``{dataset}_v{major}.{minor}``. A personal one is
``{dataset}_v{major}.{minor}_{user}_{YYYYMMDDHHMMSS}``, numbered after the version it came from; when that name is
taken, ``_2``, ``_3``, ... follows. What people may put into names, and into the lines that are shown beside them, is
checked here too.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime

from learnloop.errors import InvalidInput

_NAME = re.compile(
    r"(?P<dataset>[a-z0-9][a-z0-9-]{0,62})_v(?P<major>0|[1-9][0-9]{0,8})\.(?P<minor>0|[1-9][0-9]{0,8})"
    r"(?:_(?P<user>[a-z0-9][a-z0-9.-]*)_(?P<at>[0-9]{14})(?:_(?P<copy>[2-9]|[1-9][0-9]+))?)?"
)
_DATASET = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MAX_USER = 64
_MAX_PERSON = 250
_MAX_LINE = 1000

# Words that commands and addresses use for something else, or that a filesystem does not take as a folder's name.
RESERVED = frozenset({"all", "current", "head", "latest", "none", "null", "self", "tmp", "aux", "con", "nul", "prn"})


@dataclass(frozen=True)
class VersionName:
    """The parts of a version's name; ``user`` and ``at`` (UTC) are None for a shared version."""

    dataset: str
    major: int
    minor: int
    user: str | None = None
    at: datetime | None = None
    copy: int = 1

    def __str__(self) -> str:
        name = f"{self.dataset}_v{self.major}.{self.minor}"
        if self.user is None or self.at is None:
            return name
        suffix = f"_{self.copy}" if self.copy > 1 else ""
        return f"{name}_{self.user}_{self.at.astimezone(UTC):%Y%m%d%H%M%S}{suffix}"


def parse_name(name: str) -> VersionName:
    """The parts of ``name``, such that ``str(parse_name(name)) == name``.

    Raises:
        InvalidInput: no version can be called so.
    """
    found = _NAME.fullmatch(name)
    try:
        at = datetime.strptime(found["at"], "%Y%m%d%H%M%S").replace(tzinfo=UTC) if found and found["at"] else None
    except ValueError:
        found = None
    if found is None:
        raise InvalidInput(
            f"{name!r} is not the name of a version: dataset_v1.0, or dataset_v1.0_user_20260131235959 when personal"
        )
    return VersionName(
        found["dataset"], int(found["major"]), int(found["minor"]), found["user"], at, int(found["copy"] or 1)
    )


def safe_user(user: str) -> str:
    """A user's name as it stands in version names and folders: lower-case letters, digits, ``-`` and ``.``.

    Different users get different names: one that had to be changed gets six digits of its hash.
    """
    safe = re.sub(r"[^a-z0-9.-]+", "-", user.lower())[:_MAX_USER].strip("-.") or "user"
    if safe == user:
        return safe
    return f"{safe}-{hashlib.md5(user.encode(), usedforsecurity=False).hexdigest()[:6]}"


def check_dataset_name(name: str) -> str:
    """``name``, if a dataset can be called so; raises InvalidInput."""
    if not _DATASET.fullmatch(name):
        raise InvalidInput(
            f"{name!r} is not the name of a dataset: 1 to 63 lower-case letters, digits and hyphens, no hyphen first"
        )
    if name in RESERVED:
        raise InvalidInput(f"{name!r} is a reserved word: call the dataset something else, such as {name}-data")
    return name


def check_person(name: str) -> str:
    """``name``, if it can stand for somebody (a user, ``service:learnloop``); raises InvalidInput."""
    if not name.strip() or len(name) > _MAX_PERSON:
        raise InvalidInput(f"a user's name has 1 to {_MAX_PERSON} characters, not {len(name.strip())}")
    return _without_controls(name, "a user's name")


def check_line(text: str, what: str) -> str:
    """``text``, if it can be shown as one line; ``what`` names it in the InvalidInput that is raised when not."""
    if len(text) > _MAX_LINE:
        raise InvalidInput(f"{what} has at most {_MAX_LINE} characters, not {len(text)}")
    return _without_controls(text, what)


def _without_controls(text: str, what: str) -> str:
    # Cc: control characters, with which a name could forge a line of a log; Cs: half a character, which is no UTF-8.
    bad = next((sign for sign in text if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp")), None)
    if bad is not None:
        raise InvalidInput(f"{what} must not hold control characters or line breaks: {text[:80]!r} has {bad!r}")
    return text
