import pytest
from dataset_folders import write_dataset, write_images

from learnloop.database import DatasetVersion
from learnloop.datasets.diff import diff, diff_files
from learnloop.datasets.record_diff import Counts, RecordChange
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.tables import ANNOTATIONS_FILE, read_table, write_table
from learnloop.datasets.tree import Tree
from learnloop.errors import Corrupted, InvalidInput


def relabel(folder, sample, label):
    table = read_table(folder / ANNOTATIONS_FILE)
    rows = [{**row, "label": label} if row["sample_id"] == sample else row for row in table.to_pylist()]
    (folder / ANNOTATIONS_FILE).write_bytes(write_table(type(table).from_pylist(rows, schema=table.schema)))


def test_files_and_records_of_two_snapshots(db, store, folder):
    before = snapshot(db, store, folder, owner="ana")
    relabel(folder, "s003", "dark")
    write_images(folder / "images", ["s900"], [77])
    (folder / "images" / "s005.png").unlink()
    (folder / "images" / "s007.png").rename(folder / "images" / "moved.png")
    after = snapshot(db, store, folder, owner="ana")

    steps = []
    changes = diff(store, before, after, progress=lambda done, total: steps.append((done, total)))
    assert (changes.before, changes.after, steps) == ("lamps_v1.0", "lamps_v1.1", [(1, 1)])
    assert changes.files.counts == Counts(added=1, removed=1, changed=1, renamed=1)
    assert changes.files.added == ("images/s900.png",)
    assert changes.files.removed == ("images/s005.png",)
    assert changes.files.changed == (ANNOTATIONS_FILE,)
    assert changes.files.renamed == (("images/s007.png", "images/moved.png"),)
    (table,) = changes.tables
    assert (table.path, table.counts, table.by_field) == (ANNOTATIONS_FILE, Counts(changed=1), {"label": 1})
    assert table.changed == (RecordChange("s003", {"label": ("bright", "dark")}),)
    # The other way round everything is turned round.
    back = diff(store, after, before)
    assert back.tables[0].changed == (RecordChange("s003", {"label": ("dark", "bright")}),)
    assert back.files.renamed == (("images/moved.png", "images/s007.png"),)
    assert diff(store, after, after).files.counts == Counts()


def test_a_table_that_comes_or_goes(db, store, head):
    first = head.parents[0]
    came = diff(store, first, head).tables
    features = next(table for table in came if table.path == "features.parquet")
    assert features.counts == Counts(added=20)
    gone = next(table for table in diff(store, head, first).tables if table.path == "features.parquet")
    assert gone.counts == Counts(removed=20)


def test_the_limit_bounds_what_is_listed_and_not_what_is_counted(db, store, tmp_path):
    small = snapshot(db, store, write_dataset(tmp_path / "small", samples=4), owner="ana")
    large = snapshot(db, store, write_dataset(tmp_path / "large", samples=40), owner="ana")
    changes = diff(store, small, large, limit=3)
    assert changes.files.counts.added == changes.tables[0].counts.added == 36
    assert len(changes.files.added) == len(changes.tables[0].added) == 3
    assert diff(store, small, large, limit=0).files.added == ()
    with pytest.raises(InvalidInput, match="0 or more"):
        diff(store, small, large, limit=-1)


def test_a_parquet_file_without_a_key_is_a_file(db, store, head):
    tree = store.read_tree(head.tree)
    other = tree.updated({"notes.parquet": store.add_bytes(b"not parquet")})
    version = DatasetVersion(name="lamps_v9.0", tree=store.write_tree(other))
    changes = diff(store, head, version)
    assert (changes.files.added, changes.tables) == (("notes.parquet",), ())


def test_damage_is_named_and_not_compared(db, store, folder):
    before = snapshot(db, store, folder, owner="ana")
    relabel(folder, "s003", "dark")
    after = snapshot(db, store, folder, owner="ana")
    damaged = store.path_of(store.read_tree(after.tree)[ANNOTATIONS_FILE])
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    with pytest.raises(Corrupted):
        diff(store, before, after)


def test_of_several_copies_as_many_are_renamed_as_went():
    one, two = "1" * 32, "2" * 32
    changes = diff_files(Tree({"a": one, "b": one, "z": two}), Tree({"c": one, "z": one}))
    assert changes.counts == Counts(added=0, removed=1, changed=1, renamed=1)
    assert (changes.renamed, changes.removed) == ((("a", "c"),), ("b",))
