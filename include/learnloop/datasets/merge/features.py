"""The features of a merge. They are made from files: a sample has those of a side that has its very file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from learnloop.datasets.store import Store
from learnloop.datasets.tables import FEATURES, FEATURES_FILE, read_table
from learnloop.datasets.tree import Tree


def merged_features(
    store: Store, sides: Sequence[Tree], annotations: pa.Table, entries: Mapping[str, str]
) -> pa.Table | None:
    """The FEATURES table of the samples in ``annotations``, or None when a sample has none.

    Args:
        sides: trees whose features were made by the recipe of the merge; the first that fits counts.
        entries: the merged files.
    """
    samples, paths = annotations["sample_id"], annotations["path"]
    wanted = [entries.get(path) for path in paths.to_pylist()]
    chosen = np.full(len(samples), -1, np.int64)
    tables: list[pa.Table] = []
    before = 0
    for tree in sides:
        if FEATURES_FILE not in tree or (chosen >= 0).all():
            continue
        table = read_table(store.read(tree[FEATURES_FILE]), FEATURES, FEATURES_FILE)
        rows = pc.index_in(samples, value_set=table["sample_id"].combine_chunks()).fill_null(-1).to_numpy()
        files = [tree.get(path) for path in table["path"].to_pylist()]
        fits = np.fromiter(
            (row >= 0 and md5 is not None and files[row] == md5 for row, md5 in zip(rows, wanted, strict=True)),
            bool,
            len(rows),
        )
        chosen = np.where(fits & (chosen < 0), rows + before, chosen)
        tables.append(table)
        before += table.num_rows
    if not tables or (chosen < 0).any():
        return None
    features = pa.concat_tables(tables)["features"].take(pa.array(chosen))
    return pa.table([samples, paths, features], schema=FEATURES)
