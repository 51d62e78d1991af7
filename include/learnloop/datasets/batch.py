"""Newly arrived samples become a batch: an immutable tree with their features."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import Batch, Dataset, DatasetVersion
from learnloop.datasets.contents import config_of, files_of
from learnloop.datasets.files import TreeFiles
from learnloop.datasets.recipes import recipe_of
from learnloop.datasets.roots import hold
from learnloop.datasets.samples import sample_table
from learnloop.datasets.store import Store
from learnloop.datasets.tables import FEATURES_FILE, write_table
from learnloop.datasets.tree import Tree
from learnloop.datasets.validate import validate_folder
from learnloop.datasets.versions import head_of
from learnloop.errors import Conflict, InvalidDataset, InvalidInput, NotFound


def register_batch(
    session: Session, store: Store, dataset: Dataset, folder: Path, *, name: str | None = None, owner: str
) -> Batch:
    """Snapshot a folder of samples with the features that the dataset's recipe makes of them.

    The folder is not written to. The same content registers once: its batch is returned.

    Args:
        name: unique in the dataset; by default made from the content's hash.

    Raises:
        InvalidDataset: no sample, unreadable files, ids that clash with each other or with the head's samples.
        Conflict: the dataset has no version yet, the name is taken, or the folder changed while it was read.
    """
    if name is not None and not 0 < len(name) <= 200:
        raise InvalidInput(f"a batch's name has 1 to 200 characters, not {len(name)}")
    head = head_of(session, dataset)
    if head is None:
        raise Conflict(f"dataset {dataset.name} has no version: make a snapshot first, a batch is read by its recipe")
    config = config_of(store, head)
    recipe = recipe_of(config)
    validate_folder(folder, config, require_labels=False).raise_if_wrong()

    files = TreeFiles(store, store.add_folder(folder)[0])
    samples = sample_table(files)
    paths = dict(zip(samples["sample_id"].to_pylist(), samples["path"].to_pylist(), strict=True))
    tree = files.tree.updated({FEATURES_FILE: store.add_bytes(write_table(recipe.features(files, paths)))})
    tree_hash = store.write_tree(tree)
    if (known := _find(session, dataset, tree_hash)) is not None:
        return known
    _check_against_head(store, head, tree, paths, folder)
    name = name or f"batch-{tree_hash[:12]}"
    hold(session, store, tree_hash)
    session.execute(
        insert(Batch)
        .values(
            dataset_id=dataset.id,
            name=name,
            tree=tree_hash,
            samples=samples.num_rows,
            provenance={"kind": "batch", "recipe": recipe.hash},
            owner=owner,
        )
        .on_conflict_do_nothing()
    )
    registered = _find(session, dataset, tree_hash)
    if registered is None:
        raise Conflict(f"dataset {dataset.name} has another batch called {name!r}: choose another name")
    return registered


def get_batch(session: Session, dataset: Dataset, name: str) -> Batch:
    """The batch of a dataset by its name; raises NotFound."""
    found = session.scalar(select(Batch).where(Batch.dataset_id == dataset.id, Batch.name == name))
    if found is None:
        raise NotFound(f"dataset {dataset.name} has no batch {name!r}")
    return found


def sample_files(store: Store, tree_hash: str) -> dict[str, tuple[str, str]]:
    """Sample id -> (path, md5) of the samples in a version's or batch's tree.

    Raises:
        InvalidDataset: a sample's file is not in the tree.
    """
    tree = store.read_tree(tree_hash)
    samples = sample_table(TreeFiles(store, tree))
    if lost := [path for path in samples["path"].to_pylist() if path not in tree]:
        raise InvalidDataset(f"tree {tree_hash} lacks files of its samples: {', '.join(lost[:10])}")
    return {
        sample: (path, tree[path])
        for sample, path in zip(samples["sample_id"].to_pylist(), samples["path"].to_pylist(), strict=True)
    }


def _find(session: Session, dataset: Dataset, tree_hash: str) -> Batch | None:
    return session.scalar(select(Batch).where(Batch.dataset_id == dataset.id, Batch.tree == tree_hash))


def _check_against_head(store: Store, head: DatasetVersion, tree: Tree, paths: dict[str, str], folder: Path) -> None:
    """Refuse a batch whose samples could not be merged, or would leak the test set into training."""
    there = files_of(store, head)
    head_tree = there.tree
    rows = {row["sample_id"]: row for row in sample_table(there).to_pylist()}
    problems = []
    for sample, path in paths.items():
        row = rows.get(sample)
        if row is not None and row["split"] == "test":
            problems.append(f"sample {sample!r} is in the test split of {head.name}: take it out of the batch")
        elif row is not None and head_tree.get(row["path"]) != tree[path]:
            problems.append(f"sample {sample!r} exists in {head.name} with other content: give it another id")
        elif row is None and head_tree.get(path, tree[path]) != tree[path]:
            problems.append(f"{path} exists in {head.name} with other content: rename the file")
    if problems:
        raise InvalidDataset(f"{folder} cannot become a batch of {head.name}:", problems)
    head_tree.updated({path: tree[path] for path in paths.values()})  # no file where the head has a folder
