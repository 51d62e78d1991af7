import pytest

from learnloop.database import Batch, Dataset, DatasetVersion
from learnloop.datasets.remotes import FolderRemote
from learnloop.datasets.space import Share, space
from learnloop.datasets.tiers import move_to
from learnloop.datasets.tree import Tree


@pytest.fixture
def committed(db, store):
    """Write a version whose files hold these bytes."""
    numbers = iter(range(100))

    def put(dataset, owner, *contents):
        row = db.query(Dataset).filter_by(name=dataset).one_or_none()
        if row is None:
            row = Dataset(name=dataset, task_type="image_classification", owner=owner)
            db.add(row)
            db.flush()
        tree = store.write_tree(Tree({str(at): store.add_bytes(data) for at, data in enumerate(contents)}))
        number = next(numbers)
        version = DatasetVersion(
            dataset_id=row.id, name=f"{dataset}_v1.{number}", major=1, minor=number, tree=tree, owner=owner,
            files=len(contents), bytes=sum(map(len, contents)),
        )  # fmt: skip
        db.add(version)
        db.flush()
        return version

    return put


def test_shared_bytes_are_told_from_exclusive_ones(db, store, committed):
    one = committed("one", "ana", b"a" * 100, b"both" * 10)
    two = committed("one", "ben", b"a" * 100, b"b" * 50, b"both" * 10)
    other = committed("other", "ben", b"both" * 10, b"c" * 7)
    store.add_bytes(b"nobody's")
    lists = {version: store.size_of(version.tree) for version in (one, two, other)}
    found = space(db, store)
    assert found.hot == 100 + 40 + 50 + 7 + 8 + sum(lists.values())
    assert found.unnamed == 8
    assert found.objects == 5 + 3
    assert found.logical == 140 + 190 + 47
    assert found.datasets == {
        "one": Share(exclusive=150 + lists[one] + lists[two], shared=40),
        "other": Share(exclusive=7 + lists[other], shared=40),
    }
    assert found.users == {
        "ana": Share(exclusive=lists[one], shared=140),
        "ben": Share(exclusive=57 + lists[two] + lists[other], shared=140),
    }
    assert (found.warm, found.cold) == (0, 0)


def test_batches_count_for_their_dataset(db, store, committed):
    version = committed("one", "ana", b"a" * 100)
    before = space(db, store).datasets["one"].exclusive
    tree = store.write_tree(Tree({"x": store.add_bytes(b"d" * 30)}))
    db.add(Batch(dataset_id=version.dataset_id, name="b", tree=tree, samples=1, owner="ben"))
    db.flush()
    found = space(db, store)
    assert found.datasets["one"].exclusive == before + 30 + store.size_of(tree)
    assert found.users["ben"] == Share(30 + store.size_of(tree), 0)
    assert found.unnamed == 0


def test_colder_tiers_count_what_moves_added_there(db, store, committed, tmp_path):
    remote = FolderRemote(tmp_path / "remote")
    one, two = committed("one", "ana", b"a" * 100), committed("one", "ana", b"a" * 100, b"b")
    move_to(db, store, one, "warm", remote=remote)
    move_to(db, store, two, "warm", remote=remote)
    objects = sum((remote.root / name).stat().st_size for name in remote.files("files"))
    assert space(db, store).warm == objects
    move_to(db, store, two, "cold", remote=remote)
    assert space(db, store).cold == sum((remote.root / name).stat().st_size for name in remote.files("archive"))


def test_an_empty_store_takes_nothing(db, store):
    found = space(db, store)
    assert (found.hot, found.objects, found.logical, found.datasets) == (0, 0, 0, {})
