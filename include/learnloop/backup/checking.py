"""Whether a backup could be restored: that all it needs is there, or (deep) that every byte is."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from learnloop.backup import dumps
from learnloop.backup.contents import Contents, Head
from learnloop.backup.place import Place
from learnloop.datasets.remotes.parallel import JOBS, each, shares
from learnloop.errors import Corrupted, NotFound

Progress = Callable[[int, int], None]


@dataclass
class Checked:
    """What was looked at, and what is wrong."""

    head: Head
    things: int
    deep: bool
    problems: list[str] = field(default_factory=list)

    def raise_if_wrong(self) -> None:
        """Raises Corrupted, naming the problems."""
        if self.problems:
            shown = self.problems[:10]
            more = [f"and {len(self.problems) - 10} more"] if len(self.problems) > 10 else []
            raise Corrupted("\n  - ".join([f"backup {self.head.name} cannot be restored whole:", *shown, *more]))


def verify(place: Place, name: str, scratch: Path, *, deep: bool = False, progress: Progress | None = None) -> Checked:
    """Look at a backup; ``deep``: fetch, decrypt and hash all it needs, and have PostgreSQL read the dumps' lists.

    Raises:
        NotFound, Corrupted: there is no such backup, or its head or its list cannot be read.
    """
    place.open(writing=False)
    head = place.head(name)
    contents = place.contents(head)
    things = _things(contents)
    checked = Checked(head, len(things), deep)
    checked.problems += [f"{what}: {why} when it was taken" for what, why in contents.lacking.items()]
    there = place.all_pieces()
    for checksum, (size, what) in things.items():
        if not all(piece in there for piece in place.names_of(size, checksum)):
            checked.problems.append(f"{what} is missing")
    if not deep or checked.problems:
        return checked

    majors = {dump.file.sha256: dumps.major_of(dump.server) for dump in contents.dumps}

    def read(group: list[str]) -> list[str]:
        found = (_read(place, one, *things[one], scratch, majors.get(one)) for one in group)
        return [problem for problem in found if problem]

    groups = shares(sorted(things), JOBS, 64)
    for done, problems in enumerate(each(groups, read, JOBS), 1):
        checked.problems += problems
        if progress is not None:
            progress(done, len(groups))
    return checked


def _things(contents: Contents) -> dict[str, tuple[int, str]]:
    """Size and description by checksum."""
    found = {name: (size, f"object {name}") for name, size in contents.all_objects().items()}
    for file in contents.all_files():
        found[file.sha256] = (file.size, f"{file.root} {file.path}")
    return found


def _read(place: Place, checksum: str, size: int, what: str, scratch: Path, major: int | None) -> str:
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / f"verify-{checksum}"
    path.unlink(missing_ok=True)
    try:
        place.get(size, checksum, path)
        if major is not None:
            listed = subprocess.run(
                [dumps.program("pg_restore", major), "--list", str(path)], capture_output=True, text=True, check=False
            )
            if listed.returncode != 0:
                return f"{what} is no dump that PostgreSQL can read: {listed.stderr.strip()}"
    except (Corrupted, NotFound) as error:
        return f"{what}: {error}"
    finally:
        path.unlink(missing_ok=True)
    return ""
