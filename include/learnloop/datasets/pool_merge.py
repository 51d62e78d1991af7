"""Confirmed annotations become part of a dataset: entries and rows are copied, no bytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.orm import Session

from learnloop.database import Batch, ConfirmedAnnotation, Dataset, DatasetVersion
from learnloop.datasets.batch import sample_files
from learnloop.datasets.contents import config_of, features_of, files_of
from learnloop.datasets.files import TreeFiles
from learnloop.datasets.locks import writing
from learnloop.datasets.roots import hold
from learnloop.datasets.samples import sample_table
from learnloop.datasets.store import Store
from learnloop.datasets.tables import (
    ANNOTATIONS,
    ANNOTATIONS_FILE,
    FEATURES,
    FEATURES_FILE,
    read_table,
    upsert_records,
    write_table,
)
from learnloop.datasets.tree import Tree
from learnloop.datasets.versions import commit, committed, run_key
from learnloop.errors import Conflict, InvalidInput


def merge_confirmed(
    session: Session,
    store: Store,
    dataset: Dataset,
    confirmed: Sequence[ConfirmedAnnotation],
    *,
    base: DatasetVersion,
    owner: str,
    message: str,
    run_id: str,
) -> DatasetVersion:
    """The version that is ``base`` with the confirmed labels, each sample in the train split.

    The first labels of a dataset that began without any get no split here: preprocessing of the version that is returned
    fixes it, and the features.

    Of several labels for one sample the last confirmed counts. Without any, ``base`` is returned.

    Args:
        base: the dataset's head; preprocessed, unless it has no label.
        run_id: a second call with the same one returns the version that the first one made.

    Raises:
        InvalidInput: a label or sample that cannot be merged (each is named); a sample of the test split.
        Conflict: ``base`` is not the head, or a batch was made by another recipe.
        Locked: somebody holds the dataset's write lock.
    """
    key = run_key("merge", dataset.name, run_id)
    if (earlier := committed(session, key)) is not None:
        return earlier
    if not confirmed:
        return base
    recipe = base.provenance.get("recipe")
    last = {row.sample_id: row for row in sorted(confirmed, key=lambda row: row.id)}
    annotations = sample_table(files_of(store, base))
    if recipe is None and annotations["label"].null_count < len(annotations):
        raise Conflict(f"{base.name} was not preprocessed: preprocess it, and merge into the version that gives")
    _check_labels(store, dataset, base, last, annotations)

    tree, added, paths = _with_samples(store, base, annotations, list(last.values()))
    annotations = upsert_records(annotations, _rows(last, paths, None if recipe is None else "train"))
    tables = {ANNOTATIONS_FILE: store.add_bytes(write_table(annotations))}
    if recipe is not None:
        features = features_of(store, base)
        for batch, samples in added:
            features = upsert_records(features, _features_of(store, batch, samples))
        tables[FEATURES_FILE] = store.add_bytes(write_table(features))
    tree = tree.updated(tables)
    tree_hash = store.write_tree(tree)
    hold(session, store, tree_hash)
    with writing(session, dataset, owner, f"merge of {len(last)} labels") as lock:
        return commit(
            session,
            dataset,
            tree_hash,
            files=len(tree),
            bytes=store.total_size(tree),
            owner=owner,
            message=message,
            provenance={
                "kind": "merge",
                "run_id": run_id,
                **({} if recipe is None else {"recipe": recipe}),
                "labels": len(last),
                "batches": sorted({row.batch_id for row in last.values()}),
            },
            parents=[base],
            expected_head_id=base.id,
            token=lock.token,
            idempotency_key=key,
        )


def _check_labels(
    store: Store,
    dataset: Dataset,
    base: DatasetVersion,
    last: dict[str, ConfirmedAnnotation],
    annotations: pa.Table,
) -> None:
    classes = set(config_of(store, base).classes)
    tested = set(annotations.filter(pc.equal(annotations["split"], "test"))["sample_id"].to_pylist())
    problems = []
    for sample, row in last.items():
        if row.dataset_id != dataset.id or base.dataset_id != dataset.id:
            problems.append(f"sample {sample!r}: its label is for another dataset")
        if row.label not in classes:
            problems.append(f"sample {sample!r}: {row.label!r} is not a class of {base.name}")
        if sample in tested:
            problems.append(f"sample {sample!r} is in the test split, which labelling never changes")
    if problems:
        raise InvalidInput(f"labels cannot be merged into {base.name}:", problems)


def _with_samples(
    store: Store, base: DatasetVersion, annotations: pa.Table, rows: Sequence[ConfirmedAnnotation]
) -> tuple[Tree, list[tuple[Batch, list[str]]], dict[str, str]]:
    """The base's tree with the samples, which of them it had not, by batch, and each sample's path."""
    files = files_of(store, base)
    known = dict(zip(annotations["sample_id"].to_pylist(), annotations["path"].to_pylist(), strict=True))
    by_batch: dict[int, list[ConfirmedAnnotation]] = defaultdict(list)
    for row in rows:
        by_batch[row.batch_id].append(row)
    new: list[tuple[Batch, list[str]]] = []
    paths, entries, problems = {}, dict(files.tree), []
    for same_batch in by_batch.values():
        batch = same_batch[0].batch
        _check_recipe(base, batch)
        there = sample_files(store, batch.tree)
        added = []
        for row in same_batch:
            if row.sample_id not in there:
                problems.append(f"sample {row.sample_id!r} is not in batch {batch.name}")
                continue
            path, md5 = there[row.sample_id]
            # A sample that the base has keeps its place there; it must be the same one.
            path = known.get(row.sample_id, path)
            if entries.get(path, md5) != md5:
                problems.append(f"sample {row.sample_id!r}: {path} has other content in {base.name}")
            entries[path], paths[row.sample_id] = md5, path
            if row.sample_id not in known:
                added.append(row.sample_id)
        new.append((batch, added))
    if problems:
        raise InvalidInput(f"samples cannot be merged into {base.name}:", problems)
    return Tree(entries), new, paths


def _check_recipe(base: DatasetVersion, batch: Batch) -> None:
    recipe = base.provenance.get("recipe")
    if recipe is not None and batch.provenance["recipe"] != recipe:
        raise Conflict(f"batch {batch.name} was made by another recipe than {base.name}: register its folder again")


def _features_of(store: Store, batch: Batch, samples: Sequence[str]) -> pa.Table:
    files = TreeFiles(store, store.read_tree(batch.tree))
    table = read_table(files.read(FEATURES_FILE), FEATURES, f"{FEATURES_FILE} of batch {batch.name}")
    return table.filter(pc.is_in(table["sample_id"], value_set=pa.array(samples, pa.string())))


def _rows(last: dict[str, ConfirmedAnnotation], paths: dict[str, str], split: str | None) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {
            "sample_id": sample,
            "path": paths[sample],
            "label": row.label,
            "split": split,
            "annotator": row.annotation.owner,
            "annotated_at": row.annotation.created_at,
        }
        for sample, row in last.items()
    ]
    return pa.Table.from_pylist(rows, schema=ANNOTATIONS)
