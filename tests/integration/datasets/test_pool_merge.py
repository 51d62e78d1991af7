import pytest
from dataset_folders import write_dataset, write_images

from learnloop.datasets.batch import register_batch
from learnloop.datasets.contents import annotations_of, features_of, files_of
from learnloop.datasets.pool_merge import merge_confirmed
from learnloop.datasets.preprocess import preprocess
from learnloop.datasets.snapshot import snapshot
from learnloop.errors import Conflict, InvalidInput


@pytest.fixture
def merge(db, store, head):
    def run(confirmed, *, base=head, run_id="round-lamps-1"):
        return merge_confirmed(
            db, store, head.dataset, confirmed, base=base, owner="ana", message="round 1", run_id=run_id
        )

    return run


def annotations(store, version):
    return {row["sample_id"]: row for row in annotations_of(store, version).to_pylist()}


def test_labels_join_the_base(db, store, head, batch, confirm, merge):
    confirmed = [confirm(batch, "n3", "bright"), confirm(batch, "n0", "dark")]
    version = merge(confirmed)
    assert (version.name, version.parents) == ("lamps_v1.2", [head])
    assert version.provenance["recipe"] == head.provenance["recipe"]
    rows = annotations(store, version)
    assert {sample: row for sample, row in rows.items() if sample.startswith("s")} == annotations(store, head)
    assert len(rows) == 22
    assert (rows["n3"]["label"], rows["n3"]["split"], rows["n3"]["path"]) == ("bright", "train", "n3.png")
    assert rows["n3"]["annotator"] == confirmed[0].annotation.owner
    assert rows["n3"]["annotated_at"] == confirmed[0].annotation.created_at
    assert set(features_of(store, version)["sample_id"].to_pylist()) == set(rows)
    added = set(files_of(store, version).tree) - set(files_of(store, head).tree)
    assert added == {"n0.png", "n3.png"}
    tree = files_of(store, version).tree
    assert (version.files, version.bytes) == (len(tree), store.total_size(tree))


def test_a_round_merges_once(db, store, head, batch, confirm, merge):
    first = merge([confirm(batch, "n0", "dark")])
    later = merge([confirm(batch, "n1", "dark")], base=first, run_id="round-lamps-2")
    assert merge([confirm(batch, "n2", "dark")]) is first
    assert later.parents == [first]
    assert merge([], base=later, run_id="round-lamps-3") is later


def test_the_last_confirmed_label_counts_and_a_label_may_be_corrected(db, store, head, batch, confirm, merge):
    first = merge([confirm(batch, "n0", "dark"), confirm(batch, "n0", "bright")])
    assert annotations(store, first)["n0"]["label"] == "bright"
    second = merge([confirm(batch, "n0", "dark")], base=first, run_id="round-lamps-2")
    assert annotations(store, second)["n0"]["label"] == "dark"
    assert len(annotations(store, second)) == 21


def test_labels_survive_the_same_folder_coming_again(db, store, folder, batch, confirm, merge):
    merged = merge([confirm(batch, "n0", "dark")])
    assert snapshot(db, store, folder, owner="ana") is merged
    assert preprocess(db, store, merged, owner="ana") is merged


def test_the_test_split_is_never_touched(db, store, head, batch, confirm, merge):
    tested = next(sample for sample, row in annotations(store, head).items() if row["split"] == "test")
    rows = [confirm(batch, tested, "dark"), confirm(batch, "n0", "dim"), confirm(batch, "n1", "dark")]
    with pytest.raises(InvalidInput) as error:
        merge(rows)
    assert len(error.value.problems) == 2
    assert f"'{tested}' is in the test split" in str(error.value)
    assert "'dim' is not a class" in str(error.value)
    assert head.dataset.head is head


def test_a_sample_that_is_not_in_its_batch(batch, confirm, merge):
    with pytest.raises(InvalidInput, match="'n99' is not in batch"):
        merge([confirm(batch, "n99", "dark")])


def test_the_base_must_be_the_preprocessed_head(db, store, head, batch, confirm, merge):
    row = confirm(batch, "n0", "dark")
    with pytest.raises(Conflict, match="was not preprocessed"):
        merge([row], base=head.parents[0])
    merge([row])
    with pytest.raises(Conflict, match=r"is lamps_v1\.2, not lamps_v1\.1"):
        merge([confirm(batch, "n1", "dark")], run_id="round-lamps-2")


def test_another_recipe_is_a_conflict(db, store, head, batch, confirm, merge, tmp_path):
    folder = write_dataset(tmp_path / "wider", samples=20, image={"width": 9, "height": 8, "mode": "L"})
    wider = preprocess(db, store, snapshot(db, store, folder, owner="ana"), owner="ana")
    assert wider.name == "lamps_v2.1"
    with pytest.raises(Conflict, match="another recipe"):
        merge([confirm(batch, "n0", "dark")], base=wider)


def test_two_batches_with_one_path_and_other_content(db, store, head, batch, confirm, merge, tmp_path):
    write_images(tmp_path / "second", ["n0"], [222])
    second = register_batch(db, store, head.dataset, tmp_path / "second", owner="ana")
    merged = merge([confirm(batch, "n0", "dark")])
    with pytest.raises(InvalidInput, match=r"n0\.png has other content"):
        merge([confirm(second, "n0", "dark")], base=merged, run_id="round-lamps-2")
