import multiprocessing
import os
import signal
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from learnloop import faultpoints
from learnloop.database import Base, DatasetBranch, DatasetVersion, DeletedVersion, Lock, Round, engine, session
from learnloop.datasets import deletion, locks
from learnloop.datasets.branches import open_branch
from learnloop.datasets.deletion import delete_version, referrers_of
from learnloop.datasets.reading import read_lease
from learnloop.datasets.versions import commit, get_version
from learnloop.errors import Conflict, NotFound, PermissionDenied
from learnloop.permissions import Principal, authorize

MINUTE = timedelta(minutes=1)
FORK = multiprocessing.get_context("fork")


def anybody(version):
    """The rule of tests in which permission is not the matter."""


def remove(db, store, name, **options):
    return delete_version(db, store, name, by="ana", allow=anybody, **options)


def personal(db, store, head, tree=None, user="ana"):
    version = commit(
        db, head.dataset, tree or head.tree, files=1, bytes=1, owner=user, message="mine",
        provenance={"kind": "result"}, parents=[head], expected_head_id=None, token=None, personal_to=user,
    )  # fmt: skip
    db.commit()
    return version


@pytest.fixture
def mine(db, store, head, tmp_path):
    """A personal version with two objects of its own, beside its tree: of 5 and 7 bytes."""
    added = {"a.txt": store.add_bytes(b"alpha"), "b.txt": store.add_bytes(b"bravo-2")}
    return personal(db, store, head, store.write_tree(store.read_tree(head.tree).updated(added)))


def test_a_dry_run_says_what_would_go_and_changes_nothing(db, store, mine, head):
    steps = []
    would = remove(db, store, mine.name, dry_run=True, progress=lambda done, total: steps.append((done, total)))
    assert (would.version, would.tree, would.refused_by, would.deleted) == (mine.name, mine.tree, (), False)
    assert (would.objects, would.bytes) == (3, 5 + 7 + store.size_of(mine.tree))
    assert steps[-1][0] == steps[-1][1] > 0
    assert get_version(db, mine.name) is mine
    twin = personal(db, store, head, mine.tree, "ben")
    assert remove(db, store, mine.name, dry_run=True).objects == 0  # the twin needs them all
    would = remove(db, store, head.name, dry_run=True)
    assert "it is the head of dataset lamps" in would.refused_by
    assert f"{twin.name} was made from it" in would.refused_by


def test_what_is_deleted_leaves_a_note_and_its_bytes(db, store, mine, head):
    gone = remove(db, store, mine.name)
    db.commit()
    assert (gone.deleted, gone.objects) == (True, 3)
    with pytest.raises(NotFound):
        get_version(db, mine.name)
    note = db.scalars(select(DeletedVersion)).one()
    assert (note.name, note.owner, note.details["tree"]) == (mine.name, "ana", gone.tree)
    assert note.details["parents"] == [head.name]
    assert note.details["message"] == "mine"
    store.read_tree(gone.tree)  # until garbage collection
    with pytest.raises(NotFound):
        remove(db, store, mine.name)


def test_a_shared_version_that_was_deleted_is_told_of_and_its_number_stays(db, store, head):
    dataset = head.dataset
    branch = open_branch(db, dataset, "ben", head, MINUTE)
    version = commit(
        db, dataset, head.tree, files=1, bytes=1, owner="ben", message="", provenance={}, parents=[head],
        expected_head_id=None, token=None, branch=branch,
    )  # fmt: skip
    remove(db, store, version.name)
    db.commit()
    with pytest.raises(NotFound, match=rf"{version.name}' was deleted by ana on 20\d\d-"):
        get_version(db, version.name)
    assert open_branch(db, dataset, "cy", head, MINUTE).minor == version.minor + 1


def test_everything_that_refers_to_a_version_keeps_it(db, store, mine, head):
    dataset = head.dataset
    branch = open_branch(db, dataset, "ana", mine, MINUTE)
    lease = read_lease(db, mine, "cy", MINUTE, "a report")
    pinned = Round(
        dataset_id=dataset.id, number=7, state="accepted", base_version_id=mine.id, model_name="lamps",
        model_version=3, owner="service:learnloop",
    )  # fmt: skip
    db.add(pinned)
    child = commit(
        db, dataset, mine.tree, files=1, bytes=1, owner="ana", message="", provenance={}, parents=[mine],
        expected_head_id=None, token=None, personal_to="ana",
    )  # fmt: skip
    db.commit()
    with pytest.raises(Conflict) as error:
        remove(db, store, mine.name)
    db.commit()
    said = str(error.value).splitlines()
    assert said[0] == f"{mine.name} cannot be deleted, it is still needed:"
    for line in (
        f"  - {child.name} was made from it",
        f"  - ana works on branch {branch.name} of it until {branch.expires_at:%Y-%m-%d %H:%M:%S %Z}",
        f"  - cy reads it (a report) until {lease.expires_at:%Y-%m-%d %H:%M:%S %Z}",
        "  - round 7 (accepted) and model lamps:3 stand on it",
    ):
        assert line in said
    assert len(said) == 5
    # What has lapsed or gone keeps it no longer.
    remove(db, store, child.name)
    db.execute(update(Lock).values(expires_at=func.clock_timestamp()))
    db.execute(update(DatasetBranch).values(expires_at=func.clock_timestamp()))
    db.delete(pinned)
    db.commit()
    assert remove(db, store, mine.name).deleted
    db.commit()
    db.refresh(branch)
    assert (branch.state, branch.base_id) == ("abandoned", None)


def test_every_foreign_key_to_a_version_counts_whoever_added_it():
    columns = {f"{column.table.name}.{column.name}" for column in deletion._foreign_keys()}
    assert {"locks.version_id", "rounds.version_id", "datasets.head_id", "dataset_version_parents.parent_id"} <= columns
    declared = {
        f"{table.name}.{key.parent.name}": key.ondelete
        for table in Base.metadata.tables.values()
        for key in table.foreign_keys
        if key.column is DatasetVersion.__table__.c.id
    }
    assert columns == {name for name, ondelete in declared.items() if ondelete is None}
    assert declared.keys() >= deletion._TOLD  # nobody speaks for a column that does not exist


def test_a_foreign_key_nobody_speaks_for_is_named_by_its_table(db, store, mine, monkeypatch):
    monkeypatch.setattr(deletion, "_REFERRERS", [])
    monkeypatch.setattr(deletion, "_TOLD", set())
    read_lease(db, mine, "cy", MINUTE)
    assert "1 of locks (version_id)" in referrers_of(db, mine)


def test_the_database_refuses_what_a_silent_referrer_let_through(db, store, mine, monkeypatch):
    read_lease(db, mine, "cy", MINUTE)
    monkeypatch.setattr(deletion, "_REFERRERS", [])
    with pytest.raises(Conflict, match="still referenced from table"):
        remove(db, store, mine.name)
    assert get_version(db, mine.name).name == mine.name


def test_who_may_not_delete_is_refused_first(db, store, mine):
    engineer = Principal("eve", frozenset({"engineer"}))
    scientist = Principal("ana", frozenset({"scientist"}))

    def rule(caller):
        return lambda version: authorize(caller, "dataset:delete", owner=version.owner)

    for caller in (engineer, scientist):
        with pytest.raises(PermissionDenied):
            delete_version(db, store, mine.name, by=caller.name, allow=rule(caller), dry_run=True)
    assert delete_version(db, store, mine.name, by="ana", allow=rule(Principal("ana", frozenset({"engineer"})))).deleted


def test_who_is_just_beginning_to_use_it_is_not_waited_for(db, store, mine, database_url):
    with Session(engine(database_url)) as other:
        read_lease(other, other.get_one(DatasetVersion, mine.id), "cy", MINUTE)
        with pytest.raises(Conflict, match="begins to use it just now"):
            remove(db, store, mine.name)
        other.commit()
    with pytest.raises(Conflict, match="cy reads it"):
        remove(db, store, mine.name)


def test_nothing_can_be_made_from_what_was_deleted(db, store, mine, head):
    remove(db, store, mine.name)
    with pytest.raises(Conflict, match=f"{mine.name} of dataset lamps was deleted"):
        personal_from(db, head.dataset, mine)
    with pytest.raises(NotFound):
        open_branch(db, head.dataset, "ana", mine, MINUTE)
    with pytest.raises(NotFound):
        read_lease(db, mine, "ana", MINUTE)


def personal_from(db, dataset, parent):
    return commit(
        db, dataset, parent.tree, files=1, bytes=1, owner="ana", message="", provenance={}, parents=[parent],
        expected_head_id=None, token=None, personal_to="ana",
    )  # fmt: skip


def killed_at(point, url, store, name):
    faultpoints._name, faultpoints._left = point, 1
    with session(url) as db:
        remove(db, store, name)
    os._exit(1)  # the point was not reached


@pytest.mark.parametrize("point", ["delete.note-written", "delete.row-removed"])
def test_a_killed_deletion_has_not_happened(db, store, mine, database_url, point):
    process = FORK.Process(target=killed_at, args=(point, database_url, store, mine.name))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert db.scalar(select(func.count(DeletedVersion.id))) == 0
    assert remove(db, store, mine.name).deleted
    assert locks.release_expired(db)["locks"] == 0
