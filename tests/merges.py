"""Versions to merge, for tests: a dataset's version with some of its records, files and settings changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import yaml
from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion
from learnloop.datasets.contents import annotations_of, config_of
from learnloop.datasets.locks import writing
from learnloop.datasets.schema import CONFIG_FILE
from learnloop.datasets.store import Store
from learnloop.datasets.tables import ANNOTATIONS, ANNOTATIONS_FILE, write_table
from learnloop.datasets.tree import Tree
from learnloop.datasets.versions import commit

Records = Mapping[str, Mapping[str, Any] | None]


def changed(
    db: Session,
    store: Store,
    base: DatasetVersion,
    *,
    records: Records | None = None,
    files: Mapping[str, bytes | None] | None = None,
    settings: Mapping[str, Any] | None = None,
    user: str | None = None,
) -> DatasetVersion:
    """``base`` with records and files changed, added or (None) deleted: ``user``'s version, or the next head."""
    entries = dict(store.read_tree(base.tree))
    for path, data in (files or {}).items():
        if data is None:
            del entries[path]
        else:
            entries[path] = store.add_bytes(data)
    if records:
        entries[ANNOTATIONS_FILE] = store.add_bytes(write_table(_with_records(annotations_of(store, base), records)))
    if settings:
        content = yaml.safe_load(store.read(entries[CONFIG_FILE]))
        entries[CONFIG_FILE] = store.add_bytes(yaml.safe_dump({**content, **settings}).encode())
    tree = Tree(entries)
    # Features of an image that was changed are made by no recipe.
    recipe = (
        {} if any(path.startswith("images/") for path in files or {}) else {"recipe": base.provenance.get("recipe")}
    )

    def write(token: int | None) -> DatasetVersion:
        return commit(
            db,
            base.dataset,
            store.write_tree(tree),
            files=len(tree),
            bytes=store.total_size(tree),
            owner=user or "ana",
            message="",
            provenance={"kind": "result", **recipe},
            parents=[base],
            expected_head_id=None if user else base.id,
            token=token,
            personal_to=user,
        )

    if user is None:
        with writing(db, base.dataset, "ana", "test") as lock:
            version = write(lock.token)
    else:
        version = write(None)
    db.commit()
    return version


def labels_of(store: Store, version: DatasetVersion) -> dict[str, str | None]:
    table = annotations_of(store, version)
    return dict(zip(table["sample_id"].to_pylist(), table["label"].to_pylist(), strict=True))


def is_sound(store: Store, version: DatasetVersion) -> None:
    """Each record's file is there, each label is a class, and the row tells the tree's size."""
    tree = store.read_tree(version.tree)
    table, classes = annotations_of(store, version), config_of(store, version).classes
    assert set(table["path"].to_pylist()) <= set(tree)
    assert set(table["label"].drop_null().to_pylist()) <= set(classes)
    assert (version.files, version.bytes) == (len(tree), store.total_size(tree))


def _with_records(table: pa.Table, records: Records) -> pa.Table:
    rows = {row["sample_id"]: row for row in table.to_pylist()}
    for sample, fields in records.items():
        if fields is None:
            del rows[sample]
        else:
            rows[sample] = {"sample_id": sample, **rows.get(sample, {}), **fields}
    return pa.Table.from_pylist(list(rows.values()), schema=ANNOTATIONS)
