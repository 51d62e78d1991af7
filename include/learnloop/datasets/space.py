"""How much space versions take: by tier, by dataset, by user.

An object that several trees name is stored once. So each dataset and each user has two figures: ``exclusive`` bytes,
named by nobody else's trees, which deleting all of theirs would give back; and ``shared`` bytes, named by others'
too. Exclusive bytes add up to at most the total; shared bytes count in full for each who shares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from learnloop.database import Batch, Dataset, DatasetVersion, VersionStorage
from learnloop.datasets.gc import objects_in
from learnloop.datasets.roots import objects_of
from learnloop.datasets.store import Store


@dataclass(frozen=True)
class Share:
    """Bytes in the store that trees of one dataset or user name, each object counted once."""

    exclusive: int
    shared: int


@dataclass(frozen=True)
class Space:
    """All in bytes."""

    hot: int
    """The whole store, each object once."""
    unnamed: int
    """Of these, what no version or batch names: results, unfinished work, garbage."""
    warm: int
    """What moves of versions added to the remote, each object once."""
    cold: int
    """The bundles."""
    logical: int
    """The sum of all versions' sizes: what they would take as folders."""
    objects: int
    """The number of objects in the store."""
    datasets: Mapping[str, Share]
    users: Mapping[str, Share]


def space(session: Session, store: Store) -> Space:
    """What is used now. Reads the store's folders once, and each tree once."""
    sizes = {name: state.st_size for name, state in objects_in(store)}
    place = {name: number for number, name in enumerate(sizes)}
    amounts = np.fromiter(sizes.values(), np.int64, len(sizes))
    versions = select(Dataset.name, DatasetVersion.owner, DatasetVersion.tree)
    batches = select(Dataset.name, Batch.owner, Batch.tree)
    rows = session.execute(
        versions.join(Dataset, Dataset.id == DatasetVersion.dataset_id).union(
            batches.join(Dataset, Dataset.id == Batch.dataset_id)
        )
    ).all()
    trees = {tree for _, _, tree in rows}
    named = {tree: _places(store, tree, place) for tree in trees}
    datasets = _named_by(((dataset, named[tree]) for dataset, _, tree in rows), len(sizes))
    users = _named_by(((user, named[tree]) for _, user, tree in rows), len(sizes))
    anybody = np.logical_or.reduce([*datasets.values(), np.zeros(len(sizes), np.bool_)])
    warm, cold = session.execute(
        select(
            func.coalesce(func.sum(VersionStorage.warm_bytes), 0), func.coalesce(func.sum(VersionStorage.cold_bytes), 0)
        )
    ).one()
    return Space(
        hot=int(amounts.sum()),
        unnamed=int(amounts[~anybody].sum()),
        warm=int(warm),
        cold=int(cold),
        logical=int(session.scalar(select(func.coalesce(func.sum(DatasetVersion.bytes), 0))) or 0),
        objects=len(sizes),
        datasets=_shares(datasets, amounts),
        users=_shares(users, amounts),
    )


def _places(store: Store, tree: str, place: Mapping[str, int]) -> NDArray[np.int64]:
    """The numbers of the objects of a tree that are in the store; the tree's own is one."""
    if tree not in place:
        return np.zeros(0, np.int64)  # lost: `verify` says so, here it only takes no space
    numbers = [place[name] for name in (tree, *objects_of(store, tree)) if name in place]
    return np.array(numbers, np.int64)


def _named_by(pairs: Iterable[tuple[str, NDArray[np.int64]]], objects: int) -> dict[str, NDArray[np.bool_]]:
    masks: dict[str, NDArray[np.bool_]] = {}
    for who, numbers in pairs:
        masks.setdefault(who, np.zeros(objects, np.bool_))[numbers] = True
    return masks


def _shares(masks: Mapping[str, NDArray[np.bool_]], amounts: NDArray[np.int64]) -> dict[str, Share]:
    owners = np.zeros(len(amounts), np.int32)
    for mask in masks.values():
        owners += mask
    return {
        who: Share(exclusive=int(amounts[mask & (owners == 1)].sum()), shared=int(amounts[mask & (owners > 1)].sum()))
        for who, mask in sorted(masks.items())
    }
