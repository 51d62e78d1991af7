"""Putting right what verify found, from a remote."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from learnloop.datasets import copies, durable
from learnloop.datasets.remotes.base import Progress, Source
from learnloop.datasets.remotes.objects import download, incoming
from learnloop.datasets.remotes.parallel import JOBS, each
from learnloop.datasets.remotes.verify import Problem, verify
from learnloop.datasets.store import Store
from learnloop.errors import Corrupted, NotFound
from learnloop.faultpoints import reach


@dataclass(frozen=True)
class Unrepaired:
    """A problem that remains, and why."""

    problem: Problem
    reason: str

    def __str__(self) -> str:
        return f"{self.problem}: {self.reason}"


@dataclass(frozen=True)
class Repaired:
    """What was put right, and what was not. The damaged bytes are kept in the store's ``quarantine`` folder."""

    repaired: tuple[str, ...]
    unrepaired: tuple[Unrepaired, ...]


def repair(
    store: Store,
    remote: Source,
    problems: Iterable[Problem],
    *,
    jobs: int = JOBS,
    progress: Progress | None = None,
) -> Repaired:
    """Fetch from ``remote`` what is corrupt or missing, and put it in place by one rename each.

    What was damaged goes to quarantine first, under a second name: at no moment is the object gone that was there.
    The files of a repaired tree, which nobody could know before, are verified and repaired too. A read-only
    workspace that shares a damaged file with the store keeps its damage: make it anew.

    Raises:
        NotFound, Unavailable: there is no such remote, or it does not answer; what was repaired so far is.
    """
    remote.check(writing=False)
    given = list(problems)

    def mend(problem: Problem) -> Unrepaired | None:
        try:
            _mend(store, remote, problem.name)
        except (Corrupted, NotFound) as error:  # this one cannot be had; others may
            return Unrepaired(problem, str(error))
        return None

    repaired: list[str] = []
    unrepaired: list[Unrepaired] = []

    def mend_all(wrong: list[Problem], before: int, total: int) -> None:
        outcomes = each(wrong, lambda problem: (problem, mend(problem)), jobs)
        for done, (problem, failure) in enumerate(outcomes, start=before + 1):
            if failure is None:
                repaired.append(problem.name)
            else:
                unrepaired.append(failure)
            if progress is not None:
                progress(done, total)

    mend_all(given, 0, len(given))
    revealed = {
        need.version: problem.name
        for problem in given
        if problem.name in set(repaired) and problem.name.endswith(".dir")
        for need in problem.needed_by
    }
    if revealed:
        known = {problem.name for problem in given}
        found = [problem for problem in verify(store, revealed, jobs=jobs).problems if problem.name not in known]
        mend_all(found, len(given), len(given) + len(found))
    return Repaired(tuple(sorted(repaired)), tuple(sorted(unrepaired, key=lambda failure: failure.problem.name)))


def _mend(store: Store, remote: Source, name: str) -> None:
    with incoming(store) as pending:
        good = download(remote, name, store)
        reach("repair.downloaded")
        try:
            _set_aside(store, name)
        except BaseException:
            good.unlink(missing_ok=True)
            raise
        reach("repair.set-aside")
        pending[name] = good
    reach("repair.replaced")


def _set_aside(store: Store, name: str) -> None:
    """Give a damaged object a second name in quarantine; nothing when it is missing or, by now, whole."""
    try:
        store.verify(name)
    except NotFound:
        return
    except (Corrupted, OSError):
        folder = store.root / "quarantine"
        folder.mkdir(parents=True, exist_ok=True)
        place: Path = folder / f"{name}.{uuid.uuid4().hex[:8]}"
        damaged = store.path_of(name)
        try:
            place.hardlink_to(damaged)
        except OSError as error:
            if error.errno not in copies.NO_LINK:
                raise
            with damaged.open("rb") as source, place.open("xb") as target:
                copies.copy(source, target)
            durable.sync([place])
        durable.sync([folder])
