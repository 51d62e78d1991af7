"""Makes a claim ready for a job and tries it, in a pod of its own: ``python -m learnloop.jobs.mount_check``.

What is ours gets a marker, ``mount.json``, and a folder ``files``, which belongs to the user that jobs run as and is all
that jobs see. In what is not ours nothing is made or changed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from learnloop.errors import Conflict, LearnloopError, Unavailable

CHECKS = "MOUNT_CHECKS"
MARKER = "mount.json"
FILES = "files"


class Check(BaseModel):
    """A mount at ``path``. ``key``: whose it is, None for what we did not make; ``only_read``: nobody is to write there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    path: str
    key: str | None
    only_read: bool


def check(wanted: Check) -> dict[str, object]:
    """Make ``wanted`` ready, try it, and say how many bytes are free there.

    Raises:
        Conflict: it holds another mount.
        Unavailable: it cannot be read, or not be written.
    """
    root = Path(wanted.path)
    try:
        files = root if wanted.key is None else _laid_out(root, wanted)
        next(files.iterdir(), None)
        if not wanted.only_read:
            with tempfile.TemporaryFile(dir=files, buffering=0) as file:
                file.write(b"x")
                os.fsync(file.fileno())
        return {"name": wanted.name, "free": shutil.disk_usage(files).free}
    except OSError as error:
        raise Unavailable(f"mount {wanted.name} cannot be used by user {os.getuid()}: {error}") from error


def _laid_out(root: Path, wanted: Check) -> Path:
    marker, files = root / MARKER, root / FILES
    if marker.exists():
        found = json.loads(marker.read_text(encoding="utf-8")).get("key")
        if found != wanted.key:
            raise Conflict(f"mount {wanted.name} holds another one, {found}")
    else:
        part = root / f".{MARKER}"
        part.write_text(json.dumps({"key": wanted.key}), encoding="utf-8")
        part.rename(marker)
    files.mkdir(mode=0o700, exist_ok=True)
    return files


def main(environment: Mapping[str, str] = os.environ) -> None:
    try:
        for wanted in TypeAdapter(list[Check]).validate_json(environment.get(CHECKS, "")):
            print(json.dumps(check(wanted)))  # noqa: T201 - the container's log
    except ValidationError as error:
        sys.exit(f"invalid-input: {CHECKS} does not say what to check: {error}")
    except LearnloopError as error:
        sys.exit(f"{error.type}: {error}")


if __name__ == "__main__":
    main()
