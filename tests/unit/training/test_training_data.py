from pathlib import Path

import numpy as np
import pytest
from training_support import write_dataset

from learnloop.errors import InvalidDataset
from learnloop.training.data import read

X = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_reads_only_labelled_rows_in_the_order_of_their_ids(dataset: Path) -> None:
    found = read(dataset)
    assert found.X.shape == (220, 64)
    assert found.X.dtype == np.float32
    assert len(found.training()[1]) == 100
    assert len(found.test()[1]) == 120
    assert list(found.sample_ids) == sorted(found.sample_ids)


@pytest.mark.parametrize(
    ("labels", "splits", "message"),
    [
        (["1", "x", None, None], ["train"] * 4, "label 'x' of sample s0001 is not one of"),
        (["1", "2", None, None], ["train", None, None, None], "split None of labelled sample s0001"),
    ],
)
def test_faults_name_the_sample(tmp_path: Path, labels: list, splits: list, message: str) -> None:
    with pytest.raises(InvalidDataset, match=message):
        read(write_dataset(tmp_path, X, labels, splits))


def test_a_split_without_samples_is_told_of(tmp_path: Path) -> None:
    found = read(write_dataset(tmp_path, X, ["1", None, None, None], ["test", None, None, None]))
    with pytest.raises(InvalidDataset, match="no labelled training sample"):
        found.training()
    found = read(write_dataset(tmp_path, X, ["1", "1", None, None], ["train", "train", None, None]))
    with pytest.raises(InvalidDataset, match="all 2 labelled training samples are of class '1'"):
        found.training()
    with pytest.raises(InvalidDataset, match="no labelled test sample"):
        found.test()


def test_missing_parts_are_named(tmp_path: Path) -> None:
    labels = ["1", "2", None, None]
    splits = ["train", "train", None, None]
    write_dataset(tmp_path, [X[0], X[1][:2], X[2], X[3]], labels, splits)
    with pytest.raises(InvalidDataset, match="sample s0001 has 2 features, others have 3"):
        read(tmp_path)
    write_dataset(tmp_path, [X[0], X[1] * np.nan, X[2], X[3]], labels, splits)
    with pytest.raises(InvalidDataset, match="s0001 has a feature that is NaN"):
        read(tmp_path)
    (tmp_path / "features.parquet").write_bytes(b"PAR1")
    with pytest.raises(InvalidDataset, match=r"features\.parquet is not a readable Parquet"):
        read(tmp_path)
    (tmp_path / "features.parquet").unlink()
    with pytest.raises(InvalidDataset, match=r"features\.parquet is missing"):
        read(tmp_path)
