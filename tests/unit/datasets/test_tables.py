import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from learnloop.datasets.tables import (
    ANNOTATIONS,
    FEATURES,
    features_table,
    read_table,
    upsert_records,
    write_table,
)
from learnloop.errors import InvalidDataset


def parquet(**columns):
    import io

    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def rows(*ids, label="a"):
    return pa.Table.from_pylist([{"sample_id": i, "path": f"{i}.png", "label": label} for i in ids], schema=ANNOTATIONS)


def test_equal_content_gives_equal_bytes_and_reads_back():
    data = write_table(rows("b", "a", "c"))
    assert data == write_table(pa.concat_tables([rows("c"), rows("a", "b")]))
    assert read_table(data, ANNOTATIONS)["sample_id"].to_pylist() == ["a", "b", "c"]
    assert read_table(data).schema.equals(ANNOTATIONS)


def test_optional_columns_and_other_writers_types():
    pandas_like = parquet(
        label=pa.array(["x", None]).dictionary_encode(),
        sample_id=pa.array(["1", "2"], pa.large_string()),
        path=["1.png", "2.png"],
        annotated_at=pa.array([datetime.datetime(2026, 1, 1), None], pa.timestamp("ns")),
    )
    table = read_table(pandas_like, ANNOTATIONS)
    assert table.schema.equals(ANNOTATIONS)
    assert table["label"].to_pylist() == ["x", None]
    assert table["split"].null_count == 2
    assert table["annotated_at"][0].as_py() == datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"not parquet", "not a readable Parquet file"),
        (parquet(sample_id=["1"]), "column 'path' is missing"),
        (parquet(sample_id=["1"], path=["1"], extra=[1]), "column 'extra' is not one of"),
        (parquet(sample_id=["1"], path=["1"], label=[7]), "column 'label' must be string, not int64"),
        (parquet(sample_id=["1", None, ""], path=["1"] * 3), "empty in row 1, 2"),
        (parquet(sample_id=["x", "y", "x"], path=["1"] * 3), "more than once: x"),
        (parquet(sample_id=["x" * 251], path=["1"]), "longer than 250"),
    ],
)
def test_wrong_tables(data, problem):
    with pytest.raises(InvalidDataset) as error:
        read_table(data, ANNOTATIONS, "annotations.parquet")
    assert problem in str(error.value)
    assert "annotations.parquet" in str(error.value)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InvalidDataset, match=r"a\.parquet does not exist"):
        read_table(tmp_path / "a.parquet", ANNOTATIONS)


def test_merged_records_replace_and_join():
    merged = upsert_records(rows("a", "b", "c"), rows("d", "b", label="new"))
    assert merged["sample_id"].to_pylist() == ["a", "b", "c", "d"]
    assert merged["label"].to_pylist() == ["a", "new", "a", "new"]
    assert upsert_records(rows(), rows()).num_rows == 0


def test_features_keep_their_rows():
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    table = features_table(["b", "a"], ["b.png", "a.png"], matrix)
    assert table.schema.equals(FEATURES)
    read = read_table(write_table(table), FEATURES)
    assert read["features"].to_pylist() == [[3.0, 4.0, 5.0], [0.0, 1.0, 2.0]]
    assert features_table([], [], np.empty((0, 3), np.float32)).num_rows == 0
