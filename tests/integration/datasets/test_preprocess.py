import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from dataset_folders import write_dataset, write_images
from PIL import Image

from learnloop.datasets.contents import annotations_of, config_of, features_of, files_of
from learnloop.datasets.preprocess import preprocess
from learnloop.datasets.recipes import recipe_of
from learnloop.datasets.recipes.images import PixelRecipe
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.versions import list_versions
from learnloop.errors import Conflict, InvalidDataset


def splits(store, version):
    table = annotations_of(store, version)
    return dict(zip(table["sample_id"].to_pylist(), table["split"].to_pylist(), strict=True))


def test_a_version_gets_splits_and_features(db, store, folder):
    raw = snapshot(db, store, folder, owner="ana")
    version = preprocess(db, store, raw, owner="ana", run_id="r1")
    assert (version.name, version.parents) == ("lamps_v1.1", [raw])
    assert version.provenance["kind"] == "preprocess"
    assert set(splits(store, version).values()) == {"train", "test"}
    features = features_of(store, version)
    assert features["sample_id"].to_pylist() == [f"s{number:03d}" for number in range(20)]
    with Image.open(folder / "images" / "s003.png") as image:
        assert features["features"][3].as_py() == [float(value) for value in image.tobytes()]
    tree = files_of(store, version).tree
    assert (version.files, version.bytes) == (len(tree), store.total_size(tree))
    assert {path: md5 for path, md5 in tree.items() if path.startswith("images/")} == {
        path: md5 for path, md5 in files_of(store, raw).tree.items() if path.startswith("images/")
    }


def test_it_is_done_once(db, store, folder):
    raw = snapshot(db, store, folder, owner="ana")
    version = preprocess(db, store, raw, owner="ana")
    assert preprocess(db, store, version, owner="ben") is version
    assert preprocess(db, store, raw, owner="ben") is version
    assert len(list_versions(db, raw.dataset)) == 2


def test_the_version_bears_its_recipes_hash_and_another_recipe_makes_another(db, store, folder, monkeypatch):
    version = preprocess(db, store, snapshot(db, store, folder, owner="ana"), owner="ana")
    recipe = recipe_of(config_of(store, version))
    first, before = recipe.hash, recipe.parameters()
    assert version.provenance["recipe"] == first
    monkeypatch.setattr(PixelRecipe, "parameters", lambda self: {**before, "version": 2})  # as after an upgrade
    anew = preprocess(db, store, version, owner="ana")
    assert anew.id != version.id
    assert anew.provenance["recipe"] == recipe.hash != first
    assert preprocess(db, store, anew, owner="ana") is anew


def test_a_split_once_given_stays_and_the_unlabelled_have_none(db, store, folder):
    table = pq.read_table(folder / "annotations.parquet")
    labels = [None, *table["label"].to_pylist()[1:]]
    given = [None, "test", "train", *[None] * 17]
    table = table.set_column(2, "label", pa.array(labels, pa.string()))
    pq.write_table(table.append_column("split", pa.array(given, pa.string())), folder / "annotations.parquet")
    first = preprocess(db, store, snapshot(db, store, folder, owner="ana"), owner="ana")
    before = splits(store, first)
    assert [before["s000"], before["s001"], before["s002"]] == [None, "test", "train"]

    # More samples, and another seed: whoever has a split in the folder keeps it, the rest depends on nobody else.
    write_images(folder / "images", ["zzz"], [99])
    extended = pa.concat_tables(
        [
            pq.read_table(folder / "annotations.parquet"),
            pa.table(
                {"sample_id": ["zzz"], "path": ["images/zzz.png"], "label": ["dark"], "split": pa.nulls(1, pa.string())}
            ),
        ]
    )
    pq.write_table(extended, folder / "annotations.parquet")
    after = splits(store, preprocess(db, store, snapshot(db, store, folder, owner="ana"), owner="ana"))
    assert {sample: after[sample] for sample in before} == before
    assert after["zzz"] in ("train", "test")


def test_the_share_of_the_test_set_is_about_what_was_asked(db, store, tmp_path):
    folder = write_dataset(tmp_path / "many", samples=200)
    version = preprocess(db, store, snapshot(db, store, folder, owner="ana"), owner="ana")
    tested = pc.sum(pc.equal(annotations_of(store, version)["split"], "test")).as_py()
    assert 40 <= tested <= 80  # of 200 x 0.3


def test_what_cannot_be_preprocessed_is_refused(db, store, folder):
    (folder / "images" / "s004.png").write_bytes(b"no image")
    with pytest.raises(InvalidDataset, match=r"images/s004\.png is not a readable image"):
        preprocess(db, store, snapshot(db, store, folder, owner="ana"), owner="ana")
    (folder / "images" / "s004.png").unlink()
    with pytest.raises(InvalidDataset, match=r"images/s004\.png is missing from the tree"):
        preprocess(db, store, snapshot(db, store, folder, owner="ana"), owner="ana")
    write_dataset(folder, samples=1)
    with pytest.raises(InvalidDataset, match="none of its 1 labelled samples is in the test split"):
        preprocess(db, store, snapshot(db, store, folder, owner="ana"), owner="ana")
    (folder / "annotations.parquet").unlink()
    with pytest.raises(InvalidDataset, match=r"annotations\.parquet is missing"):
        preprocess(db, store, snapshot(db, store, folder, owner="ana"), owner="ana")


def test_an_old_version_is_a_conflict(db, store, folder):
    old = snapshot(db, store, folder, owner="ana")
    write_images(folder / "images", ["new"], [77])
    snapshot(db, store, folder, owner="ana")
    with pytest.raises(Conflict, match=r"is lamps_v1\.1, not lamps_v1\.0"):
        preprocess(db, store, old, owner="ana")
