"""A folder, or a prefix of an object storage, becomes a version."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion
from learnloop.datasets.adding import Progress
from learnloop.datasets.contents import config_of
from learnloop.datasets.locks import writing
from learnloop.datasets.remote_source import RemoteSource, is_url
from learnloop.datasets.roots import hold
from learnloop.datasets.schema import CONFIG_FILE, DatasetConfig, parse_config, read_config
from learnloop.datasets.sources import FolderSource
from learnloop.datasets.store import Store
from learnloop.datasets.versions import commit_head, committed, ensure_dataset, head_of, run_key

# What the loop itself adds after a snapshot; the folder's owner had no part in it.
_DERIVED = ("preprocess", "merge")


def snapshot(
    session: Session,
    store: Store,
    source: Path | str,
    *,
    owner: str,
    message: str = "",
    run_id: str = "",
    storage_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> DatasetVersion:
    """Make the content of ``source`` the newest version of the dataset that its ``dataset.yaml`` names.

    The dataset is created when it is new. Nothing happens, and the head is returned, when the source is as it
    was at the last snapshot on the head's line: what preprocessing and merges added since is kept. A change of
    classes or of the image format raises the major number.

    Args:
        source: a folder, or an fsspec URL such as ``s3://bucket/prefix``.
        run_id: a second call with the same one returns the version that the first one made.
        storage_options: for a URL, what fsspec's filesystem takes: key, secret, endpoint_url and so on.
        progress: called with (files done, files) now and then.

    Raises:
        InvalidDataset: no proper ``dataset.yaml``, or files that cannot be tracked.
        Conflict: the source changed while it was read.
        Locked: somebody holds the dataset's write lock.
        OutOfSpace: the store's disk is full.
        NotFound, PermissionDenied, Unavailable: there is no such URL, or its storage refuses or does not answer.
    """
    files = _files(source, storage_options)
    key = run_key("snapshot", _config_before(files).name, run_id)
    if (earlier := committed(session, key)) is not None:
        return earlier
    added = store.add_source(files, progress)
    tree = added.tree
    config = parse_config(store.read(tree[CONFIG_FILE]), files.describe(CONFIG_FILE))
    tree_hash = store.write_tree(tree)
    dataset = ensure_dataset(session, config, owner)
    hold(session, store, tree_hash)
    with writing(session, dataset, owner, f"snapshot of {source}") as lock:
        head = head_of(session, dataset)
        if head is not None and _last_snapshot(head).tree == tree_hash:
            return head
        return commit_head(
            session,
            dataset,
            tree_hash,
            config=config,
            previous=None if head is None else config_of(store, head),
            parents=[] if head is None else [head],
            token=lock.token,
            idempotency_key=key,
            files=len(tree),
            bytes=added.bytes,
            owner=owner,
            message=message,
            provenance={"kind": "snapshot", "run_id": run_id},
        )


def _files(source: Path | str, storage_options: Mapping[str, Any] | None) -> FolderSource | RemoteSource:
    return RemoteSource(str(source), storage_options or {}) if is_url(source) else FolderSource(Path(source))


def _config_before(files: FolderSource | RemoteSource) -> DatasetConfig:
    if isinstance(files, FolderSource):
        return read_config(files.folder)
    return parse_config(files.read(CONFIG_FILE), files.describe(CONFIG_FILE))


def _last_snapshot(version: DatasetVersion) -> DatasetVersion:
    while version.provenance.get("kind") in _DERIVED and version.parents:
        version = version.parents[0]
    return version
