"""What a workspace holds, read without following its owner anywhere else."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from learnloop.database import DatasetVersion
from learnloop.datasets.adding import Progress
from learnloop.datasets.contents import annotations_of
from learnloop.datasets.files import list_files
from learnloop.datasets.schema import CONFIG_FILE, DatasetConfig, read_config
from learnloop.datasets.store import Store
from learnloop.datasets.tables import ANNOTATIONS, ANNOTATIONS_FILE, read_table
from learnloop.datasets.tree import Tree
from learnloop.datasets.workspace_files import refuse_escapes, refuse_linked
from learnloop.errors import InvalidDataset

TABLES = [CONFIG_FILE, ANNOTATIONS_FILE]


def files_in(folder: Path) -> list[str]:
    refuse_linked(folder)
    paths = list_files(folder)
    refuse_escapes(folder, paths)
    return paths


def take(store: Store, folder: Path, progress: Progress | None) -> tuple[Tree, int]:
    files_in(folder)
    tree, size = store.add_folder(folder, progress)
    refuse_escapes(folder, list(tree))  # a link that was put there meanwhile is not committed
    return tree, size


def config_in(folder: Path, before: DatasetConfig) -> DatasetConfig:
    """The ``dataset.yaml`` of a workspace, if it still is of its dataset; and its annotations have their key."""
    refuse_escapes(folder, TABLES)
    config = read_config(folder)
    if (config.name, config.task_type) != (before.name, before.task_type):
        raise InvalidDataset(
            f"{folder / CONFIG_FILE} is of {config.name} ({config.task_type}), but the workspace was made from"
            f" {before.name} ({before.task_type}): put its name and task type back"
        )
    if (folder / ANNOTATIONS_FILE).exists():
        read_table(folder / ANNOTATIONS_FILE, ANNOTATIONS)
    return config


def features_fit(store: Store, base: DatasetVersion, tree: Tree) -> bool:
    """Whether the base's features are those of this tree's samples, and each labelled sample has its split."""
    others = {path: md5 for path, md5 in tree.items() if path != ANNOTATIONS_FILE}
    before = {path: md5 for path, md5 in store.read_tree(base.tree).items() if path != ANNOTATIONS_FILE}
    if others != before or ANNOTATIONS_FILE not in tree:
        return False
    now = read_table(store.read(tree[ANNOTATIONS_FILE]), ANNOTATIONS)
    labelled = now.filter(now["label"].is_valid())
    return _samples(now) == _samples(annotations_of(store, base)) and labelled["split"].null_count == 0


def _samples(annotations: pa.Table) -> set[tuple[str, str]]:
    return set(zip(annotations["sample_id"].to_pylist(), annotations["path"].to_pylist(), strict=True))
