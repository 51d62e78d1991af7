import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_folders import description, write_images

from learnloop.datasets.batch import get_batch, register_batch, sample_files
from learnloop.datasets.contents import annotations_of
from learnloop.datasets.files import list_files
from learnloop.datasets.schema import DatasetConfig
from learnloop.datasets.tables import FEATURES, read_table
from learnloop.datasets.versions import create_dataset
from learnloop.errors import Conflict, InvalidDataset, NotFound


@pytest.fixture
def arrived(tmp_path):
    write_images(tmp_path / "arrived" / "june", ["n0", "n1", "n2"], range(100, 103))
    return tmp_path / "arrived"


def test_a_folder_becomes_a_batch_and_stays_as_it_is(db, store, head, arrived):
    before = list_files(arrived)
    batch = register_batch(db, store, head.dataset, arrived, owner="ana")
    assert list_files(arrived) == before
    assert (batch.samples, batch.provenance["recipe"]) == (3, head.provenance["recipe"])
    tree = store.read_tree(batch.tree)
    assert list(tree) == ["features.parquet", *before]
    assert sample_files(store, batch.tree) == {path.removesuffix(".png"): (path, tree[path]) for path in before}
    features = read_table(store.read(tree["features.parquet"]), FEATURES)
    assert features["path"].to_pylist() == before
    assert get_batch(db, head.dataset, batch.name) is batch
    with pytest.raises(NotFound):
        get_batch(db, head.dataset, "another")


def test_the_same_content_registers_once(db, store, head, arrived, tmp_path):
    batch = register_batch(db, store, head.dataset, arrived, owner="ana", name="june")
    shutil.copytree(arrived, tmp_path / "copy")
    assert register_batch(db, store, head.dataset, tmp_path / "copy", owner="ben", name="july") is batch
    write_images(tmp_path / "copy", ["n3"], [103])
    with pytest.raises(Conflict, match="another batch called 'june'"):
        register_batch(db, store, head.dataset, tmp_path / "copy", owner="ben", name="june")
    assert register_batch(db, store, head.dataset, tmp_path / "copy", owner="ben", name="july").samples == 4


def test_ids_may_be_given(db, store, head, arrived):
    pq.write_table(pa.table({"sample_id": ["x"], "path": ["june/n1.png"]}), arrived / "annotations.parquet")
    batch = register_batch(db, store, head.dataset, arrived, owner="ana")
    assert {sample: path for sample, (path, _) in sample_files(store, batch.tree).items()} == {"x": "june/n1.png"}


def test_what_clashes_with_the_head_is_refused(db, store, head, folder, tmp_path):
    table = annotations_of(store, head)
    splits = dict(zip(table["sample_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    train = next(sample for sample, split in splits.items() if split == "train")
    tested = next(sample for sample, split in splits.items() if split == "test")

    batch = tmp_path / "again"
    (batch / "images").mkdir(parents=True)
    for sample in (train, tested):
        shutil.copy(folder / "images" / f"{sample}.png", batch / "images")
    pq.write_table(
        pa.table({"sample_id": [train, tested], "path": [f"images/{train}.png", f"images/{tested}.png"]}),
        batch / "annotations.parquet",
    )
    with pytest.raises(InvalidDataset) as error:
        register_batch(db, store, head.dataset, batch, owner="ana")
    assert [f"{tested!r} is in the test split" in problem for problem in error.value.problems] == [True]

    write_images(batch / "images", [train, tested], [200, 201])
    (batch / "annotations.parquet").unlink()
    with pytest.raises(InvalidDataset, match=rf"images/{train}\.png exists in lamps_v1\.1 with other content"):
        register_batch(db, store, head.dataset, batch, owner="ana")
    pq.write_table(pa.table({"sample_id": [train], "path": [f"images/{tested}.png"]}), batch / "annotations.parquet")
    with pytest.raises(InvalidDataset, match=rf"sample '{train}' exists in lamps_v1\.1 with other content"):
        register_batch(db, store, head.dataset, batch, owner="ana")


def test_bad_batches_change_nothing(db, store, head, arrived, tmp_path):
    (arrived / "june" / "n1.png").write_bytes(b"no image")
    with pytest.raises(InvalidDataset, match=r"june/n1\.png is not a readable image"):
        register_batch(db, store, head.dataset, arrived, owner="ana")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidDataset, match="no sample"):
        register_batch(db, store, head.dataset, tmp_path / "empty", owner="ana")
    new = create_dataset(db, DatasetConfig.model_validate(description(name="new")), "ana")
    with pytest.raises(Conflict, match="snapshot first"):
        register_batch(db, store, new, arrived, owner="ana")
