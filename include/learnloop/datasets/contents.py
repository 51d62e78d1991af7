"""What a version holds: its description and its tables, read from the store."""

from __future__ import annotations

import pyarrow as pa

from learnloop.database import DatasetVersion
from learnloop.datasets.files import TreeFiles
from learnloop.datasets.schema import CONFIG_FILE, DatasetConfig, parse_config
from learnloop.datasets.store import Store
from learnloop.datasets.tables import ANNOTATIONS, ANNOTATIONS_FILE, FEATURES, FEATURES_FILE, read_table


def files_of(store: Store, version: DatasetVersion) -> TreeFiles:
    """The files of a version."""
    return TreeFiles(store, store.read_tree(version.tree))


def config_of(store: Store, version: DatasetVersion) -> DatasetConfig:
    """The ``dataset.yaml`` of a version."""
    return parse_config(files_of(store, version).read(CONFIG_FILE), f"{CONFIG_FILE} of {version.name}")


def annotations_of(store: Store, version: DatasetVersion) -> pa.Table:
    """The ANNOTATIONS table of a version.

    Raises:
        InvalidDataset: it has none, or a wrong one.
    """
    data = files_of(store, version).read(ANNOTATIONS_FILE)
    return read_table(data, ANNOTATIONS, f"{ANNOTATIONS_FILE} of {version.name}")


def features_of(store: Store, version: DatasetVersion) -> pa.Table:
    """The FEATURES table of a preprocessed version.

    Raises:
        InvalidDataset: the version was not preprocessed.
    """
    files = files_of(store, version)
    return read_table(files.read(FEATURES_FILE), FEATURES, f"{FEATURES_FILE} of {version.name}")
