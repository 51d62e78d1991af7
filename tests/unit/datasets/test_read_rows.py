"""Part of a keyed table is read without the rest."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from learnloop.datasets.tables import FEATURES, features_table, read_rows
from learnloop.errors import InvalidDataset

ROWS, GROUP = 20_000, 6_000


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [f"s{row:05d}" for row in range(ROWS)]
    path = tmp_path_factory.mktemp("table") / "features.parquet"
    features = np.arange(2 * ROWS, dtype=np.float32).reshape(ROWS, 2)
    pq.write_table(features_table(names, names, features), path, row_group_size=GROUP)
    return path


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 1), (5_999, 6_001), (4_095, 4_097), (7_000, 7_500), (0, ROWS), (19_999, 30_000), (ROWS, ROWS + 5), (50, 50)],
)
def test_rows_across_row_groups_and_batches(file: Path, start: int, stop: int) -> None:
    assert read_rows(file, start, stop).equals(pq.read_table(file).slice(start, stop - start))
    assert read_rows(file, start, stop).schema.remove_metadata() == FEATURES


def test_row_groups_without_a_wanted_row_are_not_read(file: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "features.parquet"
    content = bytearray(file.read_bytes())
    first = pq.ParquetFile(file).metadata.row_group(0).column(2)
    where = first.dictionary_page_offset or first.data_page_offset
    content[where : where + first.total_compressed_size] = b"\xff" * first.total_compressed_size
    damaged.write_bytes(content)
    assert read_rows(damaged, GROUP, 2 * GROUP)["sample_id"][0].as_py() == "s06000"
    with pytest.raises(InvalidDataset, match=r"features\.parquet is not a readable Parquet file"):
        read_rows(damaged, 0, 10)
    with pytest.raises(InvalidDataset, match="not a readable Parquet file"):
        read_rows(tmp_path / "none.parquet", 0, 1)


def test_an_empty_table_has_no_rows(tmp_path: Path) -> None:
    pq.write_table(FEATURES.empty_table(), tmp_path / "empty.parquet")
    assert read_rows(tmp_path / "empty.parquet", 0, 10).equals(pa.table(FEATURES.empty_table()))
