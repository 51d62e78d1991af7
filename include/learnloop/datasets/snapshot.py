"""A folder becomes a version."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion
from learnloop.datasets.contents import config_of
from learnloop.datasets.locks import writing
from learnloop.datasets.roots import hold
from learnloop.datasets.schema import CONFIG_FILE, DatasetConfig, parse_config, read_config
from learnloop.datasets.store import Store
from learnloop.datasets.versions import commit, committed, ensure_dataset, head_of, run_key

# What the loop itself adds after a snapshot; the folder's owner had no part in it.
_DERIVED = ("preprocess", "merge")


def snapshot(
    session: Session, store: Store, folder: Path, *, owner: str, message: str = "", run_id: str = ""
) -> DatasetVersion:
    """Make the content of ``folder`` the newest version of the dataset that its ``dataset.yaml`` names.

    The dataset is created when it is new. Nothing happens, and the head is returned, when the folder is as it
    was at the last snapshot on the head's line: what preprocessing and merges added since is kept. A change of
    classes or of the image format raises the major number.

    Args:
        run_id: a second call with the same one returns the version that the first one made.

    Raises:
        InvalidDataset: no proper ``dataset.yaml``, or files that cannot be tracked.
        Conflict: the folder changed while it was read.
        Locked: somebody holds the dataset's write lock.
    """
    key = run_key("snapshot", read_config(folder).name, run_id)
    if (earlier := committed(session, key)) is not None:
        return earlier
    tree, size = store.add_folder(folder)
    config = parse_config(store.read(tree[CONFIG_FILE]), str(folder / CONFIG_FILE))
    tree_hash = store.write_tree(tree)
    dataset = ensure_dataset(session, config, owner)
    hold(session, store, tree_hash)
    with writing(session, dataset, owner, f"snapshot of {folder}") as lock:
        head = head_of(session, dataset)
        if head is not None and _last_snapshot(head).tree == tree_hash:
            return head
        previous = None if head is None else config_of(store, head)
        version = commit(
            session,
            dataset,
            tree_hash,
            files=len(tree),
            bytes=size,
            owner=owner,
            message=message,
            provenance={"kind": "snapshot", "run_id": run_id},
            parents=[] if head is None else [head],
            expected_head_id=dataset.head_id,
            token=lock.token,
            bump=_bump(previous, config),
            idempotency_key=key,
        )
        dataset.description = config.description
        if previous is None or previous.stored_loop() != config.stored_loop():
            dataset.loop = config.stored_loop()
        session.flush()
        return version


def _last_snapshot(version: DatasetVersion) -> DatasetVersion:
    while version.provenance.get("kind") in _DERIVED and version.parents:
        version = version.parents[0]
    return version


def _bump(previous: DatasetConfig | None, config: DatasetConfig) -> Literal["minor", "major"]:
    if previous is None:
        return "minor"
    same = (previous.task_type, previous.classes, previous.image) == (config.task_type, config.classes, config.image)
    return "minor" if same else "major"
