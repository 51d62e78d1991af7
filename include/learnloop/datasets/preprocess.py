"""A version becomes one that can be trained on: a fixed split, and features by the recipe."""

from __future__ import annotations

import hashlib
from functools import partial

import pyarrow as pa
from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion
from learnloop.datasets.contents import annotations_of, config_of, files_of
from learnloop.datasets.locks import writing
from learnloop.datasets.recipes import recipe_of
from learnloop.datasets.roots import hold
from learnloop.datasets.schema import SplitConfig
from learnloop.datasets.store import Store
from learnloop.datasets.tables import ANNOTATIONS_FILE, FEATURES_FILE, write_table
from learnloop.datasets.versions import commit, committed
from learnloop.errors import InvalidDataset


def preprocess(
    session: Session, store: Store, version: DatasetVersion, *, owner: str, run_id: str = ""
) -> DatasetVersion:
    """The preprocessed version of ``version``; made when there is none with today's recipe.

    That of a personal version is personal to the same person.

    Raises:
        InvalidDataset: no proper ``annotations.parquet``, an unreadable image, or a side of the split is empty.
        Conflict: ``version`` is not the head, and had not been preprocessed before.
        Locked: somebody holds the dataset's write lock.
    """
    config = config_of(store, version)
    recipe = recipe_of(config)
    if version.provenance.get("recipe") == recipe.hash:
        return version
    key = f"preprocess:{version.id}:{recipe.hash}"
    if (earlier := committed(session, key)) is not None:
        return earlier
    files = files_of(store, version)
    annotations = fix_split(annotations_of(store, version), config.split)
    _check_split(annotations, version)
    paths = dict(zip(annotations["sample_id"].to_pylist(), annotations["path"].to_pylist(), strict=True))
    tree = files.tree.updated(
        {
            ANNOTATIONS_FILE: store.add_bytes(write_table(annotations)),
            FEATURES_FILE: store.add_bytes(write_table(recipe.features(files, paths))),
        }
    )
    tree_hash = store.write_tree(tree)
    hold(session, store, tree_hash)
    make = partial(
        commit,
        session,
        version.dataset,
        tree_hash,
        files=len(tree),
        bytes=store.total_size(tree),
        owner=owner,
        message=f"preprocessed {version.name}",
        provenance={"kind": "preprocess", "run_id": run_id, "recipe": recipe.hash},
        parents=[version],
        expected_head_id=version.id,
        personal_to=version.personal_to,
        idempotency_key=key,
    )
    if version.personal_to is not None:
        return make(token=None)
    with writing(session, version.dataset, owner, f"preprocessing of {version.name}") as lock:
        return make(token=lock.token)


def fix_split(annotations: pa.Table, split: SplitConfig) -> pa.Table:
    """``annotations`` with a split for each labelled sample that has none; a split once given stays."""
    values = [
        _side(sample, split) if given is None and label is not None else given
        for sample, label, given in zip(
            annotations["sample_id"].to_pylist(),
            annotations["label"].to_pylist(),
            annotations["split"].to_pylist(),
            strict=True,
        )
    ]
    place = annotations.schema.get_field_index("split")
    return annotations.set_column(place, annotations.schema.field(place), [pa.array(values, pa.string())])


def _side(sample_id: str, split: SplitConfig) -> str:
    """By a hash, so that a sample's side depends on no other sample and never changes."""
    digest = hashlib.sha256(f"{split.seed}:{sample_id}".encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") / 2**64 < split.test_fraction else "train"


def _check_split(annotations: pa.Table, version: DatasetVersion) -> None:
    labelled = annotations.filter(annotations["label"].is_valid())
    for side in ("train", "test"):
        if side not in labelled["split"].to_pylist():
            raise InvalidDataset(
                f"{version.name}: none of its {labelled.num_rows} labelled samples is in the {side} split;"
                f" label more samples, change split.test_fraction, or give splits in {ANNOTATIONS_FILE}"
            )
