"""Which samples a folder or a tree holds."""

from __future__ import annotations

from pathlib import PurePosixPath

import pyarrow as pa

from learnloop.datasets.files import Files
from learnloop.datasets.schema import CONFIG_FILE
from learnloop.datasets.tables import ANNOTATIONS, ANNOTATIONS_FILE, FEATURES_FILE, check_key, conform, read_table
from learnloop.errors import InvalidDataset

NOT_SAMPLES = frozenset({CONFIG_FILE, ANNOTATIONS_FILE, FEATURES_FILE})


def sample_table(files: Files) -> pa.Table:
    """One row a sample, in the ANNOTATIONS schema.

    Without ``annotations.parquet`` every file is an unlabelled sample, and its id is its path less its suffix.

    Raises:
        InvalidDataset: a wrong table, or two files of one id.
    """
    if ANNOTATIONS_FILE in files.paths():
        return read_table(files.read(ANNOTATIONS_FILE), ANNOTATIONS, ANNOTATIONS_FILE)
    by_id: dict[str, str] = {}
    for path in files.paths():
        if path in NOT_SAMPLES:
            continue
        sample = str(PurePosixPath(path).with_suffix(""))
        if sample in by_id:
            raise InvalidDataset(
                f"{by_id[sample]} and {path} have one sample id, {sample!r} (the path less its suffix): rename one, "
                f"or give ids in {ANNOTATIONS_FILE}"
            )
        by_id[sample] = path
    table = pa.table({"sample_id": pa.array(by_id, pa.string()), "path": pa.array(by_id.values(), pa.string())})
    check_key(table, "the folder")
    return conform(table, ANNOTATIONS, "the folder")
