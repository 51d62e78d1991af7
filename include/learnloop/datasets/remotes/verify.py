"""Reading the store to its end, to find what is damaged or missing before somebody needs it."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from learnloop.database import Batch, Dataset, DatasetVersion, VersionStorage
from learnloop.datasets.remotes.base import Progress
from learnloop.datasets.remotes.objects import names as names_in
from learnloop.datasets.remotes.parallel import JOBS, each, shares
from learnloop.datasets.store import Store
from learnloop.datasets.tier_policy import Tier
from learnloop.errors import Conflict, Corrupted, InvalidInput, NotFound

Kind = Literal["corrupt", "missing"]
_HOT: tuple[Tier, ...] = ("hot",)
_TOGETHER = 64  # objects that one thread reads before it says so


@dataclass(frozen=True)
class Need:
    """Who needs an object: a version (or a bare tree), at a path; the path is empty for the tree itself."""

    version: str
    path: str


@dataclass(frozen=True)
class Problem:
    """An object that is not as it must be."""

    name: str
    kind: Kind
    needed_by: tuple[Need, ...]

    def __str__(self) -> str:
        needs = [f"{need.version} {need.path}".strip() for need in self.needed_by[:3]]
        more = f" and {len(self.needed_by) - 3} more" if len(self.needed_by) > 3 else ""
        return f"object {self.name} is {self.kind}; needed by {', '.join(needs) or 'nothing known'}{more}"


@dataclass(frozen=True)
class Report:
    """What a verification read, and what it found."""

    checked: int
    of: int
    problems: tuple[Problem, ...]

    def raise_if_wrong(self) -> None:
        """Raises Corrupted, naming the problems."""
        if self.problems:
            raise Corrupted("\n  - ".join([f"{len(self.problems)} objects are wrong:", *map(str, self.problems)]))


def verify(
    store: Store,
    trees: Mapping[str, str] | None = None,
    *,
    sample: int | None = None,
    seed: int = 0,
    jobs: int = JOBS,
    progress: Progress | None = None,
) -> Report:
    """Read objects and compare them with their names.

    A damaged or missing tree hides which files it needs: they are looked at after it has been repaired, which
    ``repair`` does.

    Args:
        trees: hash by the name of the version that has it (see ``trees_of``). None for all that is in the store:
            then whoever needs an object is known only by the trees that are there.
        sample: how many objects to read, chosen at random; None for all. Trees are always read.
        seed: another one chooses another sample.
    """
    if sample is not None and sample < 1:
        raise InvalidInput(f"a sample of {sample} objects cannot be verified: give at least 1, or none for all")
    everything = set(names_in(store)) if trees is None else set()
    known = {name: name for name in everything if name.endswith(".dir")} if trees is None else dict(trees)
    wrong: dict[str, Kind] = {}
    files = {name for name in everything if not name.endswith(".dir")}
    for hashed in set(known.values()):
        try:
            files.update(store.read_tree(hashed).values())
        except (Corrupted, NotFound, InvalidInput) as error:
            wrong[hashed] = "missing" if isinstance(error, NotFound) else "corrupt"
    chosen = sorted(files)
    if sample is not None and sample < len(chosen):
        chosen = random.Random(seed).sample(chosen, sample)  # noqa: S311 - which are read need not be a secret

    def look(names: list[str]) -> tuple[int, dict[str, Kind]]:
        faults = {name: _fault_of(store, name) for name in names}
        return len(names), {name: fault for name, fault in faults.items() if fault is not None}

    done = 0
    for looked, faults in each(shares(chosen, jobs, _TOGETHER), look, jobs):
        wrong |= faults
        done += looked
        if progress is not None:
            progress(done, len(chosen))
    needs = _needs(store, known, wrong)
    problems = tuple(Problem(name, wrong[name], tuple(needs.get(name, ()))) for name in sorted(wrong))
    read = len(set(known.values()))
    return Report(len(chosen) + read, len(files) + read, problems)


def trees_of(session: Session, versions: Iterable[str] | None = None, tiers: Collection[Tier] = _HOT) -> dict[str, str]:
    """The tree of each version named, or of all versions in ``tiers`` and all batches (``batch {dataset}/{name}``).

    Args:
        tiers: where what is asked about may be: the store has all objects of a hot version only.

    Raises:
        NotFound: there is no such version.
        Conflict: a version that is named is in another tier.
    """
    tier = func.coalesce(VersionStorage.tier, "hot")
    query = select(DatasetVersion.name, DatasetVersion.tree, tier.label("tier")).outerjoin(
        VersionStorage, VersionStorage.version_id == DatasetVersion.id
    )
    if versions is not None:
        wanted = set(versions)
        rows = session.execute(query.where(DatasetVersion.name.in_(wanted))).all()
        if unknown := sorted(wanted - {row.name for row in rows}):
            raise NotFound(f"there is no dataset version {', '.join(unknown)}")
        if elsewhere := sorted(f"{row.name} is in the {row.tier} tier" for row in rows if row.tier not in tiers):
            raise Conflict(f"{', '.join(elsewhere)}: recall first, then run this again")
        return {row.name: row.tree for row in rows}
    batches = select(Dataset.name, Batch.name, Batch.tree).join(Dataset, Dataset.id == Batch.dataset_id)
    return {row.name: row.tree for row in session.execute(query.where(tier.in_(tiers)))} | {
        f"batch {dataset}/{batch}": tree for dataset, batch, tree in session.execute(batches)
    }


def _fault_of(store: Store, name: str) -> Kind | None:
    try:
        store.verify(name)
    except NotFound:
        return "missing"
    except (Corrupted, OSError):  # a failing disk answers with an input/output error
        return "corrupt"
    return None


def _needs(store: Store, known: Mapping[str, str], wrong: Mapping[str, str]) -> dict[str, list[Need]]:
    """Who needs what is wrong. Read again only then, so that a sound store costs no memory for it."""
    needs: dict[str, list[Need]] = {}
    if not wrong:
        return needs
    for version, tree in sorted(known.items()):
        if tree in wrong:
            needs.setdefault(tree, []).append(Need(version, ""))
            continue
        for path, md5 in store.read_tree(tree).items():
            if md5 in wrong:
                needs.setdefault(md5, []).append(Need(version, path))
    return needs
