"""What a workspace is: its owner's alone, harmless to the store, and a way to versions."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from dataset_folders import description
from sqlalchemy import func, select

from learnloop.database import DatasetVersion, Workspace
from learnloop.datasets import locks, workspace_removal, workspaces
from learnloop.datasets.deletion import delete_version
from learnloop.datasets.versions import get_version
from learnloop.datasets.workspaces import Changes, Quota
from learnloop.errors import Conflict, Corrupted, InvalidDataset, InvalidInput, NotFound, StaleToken
from learnloop.jobs.contract import Places
from learnloop.jobs.spec import parse_spec


def relabel(workspace: Workspace, label: str) -> None:
    path = Path(workspace.path) / "annotations.parquet"
    table = pq.read_table(path)
    labels = [label, *table["label"].to_pylist()[1:]]
    column = table.schema.get_field_index("label")
    pq.write_table(table.set_column(column, table.schema.field("label"), [labels]), path)


def test_a_workspace_holds_its_version_in_its_owners_namespace(db, make, store, head, tmp_path) -> None:
    made = make("Bo Exâmple")
    folder = Path(made.path)
    assert folder.is_relative_to(tmp_path / "namespaces" / "data")
    assert "Exâmple" not in made.path
    assert made.state == "ready"
    tree = store.read_tree(head.tree)
    assert {path: store.read(md5) for path, md5 in tree.items()} == {
        path: (folder / path).read_bytes() for path in tree
    }
    assert not workspaces.changes(db, store, made)


def test_nothing_done_in_a_workspace_reaches_the_store_even_as_root(make, store, head) -> None:
    made = make()
    tree = store.read_tree(head.tree)
    for path in tree:
        with (Path(made.path) / path).open("r+b") as file:
            file.write(b"spoilt")
    for md5 in tree.values():
        store.verify(md5)


def test_damage_through_a_read_only_workspace_is_noticed(make, store, head) -> None:
    made = make(writable=False)
    tree = store.read_tree(head.tree)
    path, md5 = next(iter(tree.items()))
    (Path(made.path) / path).chmod(0o644)
    with (Path(made.path) / path).open("r+b") as file:
        file.write(b"spoilt")
    with pytest.raises(Corrupted, match=md5):
        store.verify(md5)
    with pytest.raises(Corrupted, match=md5):
        make(name="another")


def test_changes_are_told_and_committed_as_a_personal_version(db, sessions, make, store, head) -> None:
    made = make()
    folder = Path(made.path)
    relabel(made, "on")
    (folder / "notes.txt").write_text("new")
    gone = next(path for path in store.read_tree(head.tree) if path.startswith("images/"))
    (folder / gone).unlink()
    assert workspaces.changes(db, store, made) == Changes(("notes.txt",), ("annotations.parquet",), (gone,))
    version = workspaces.commit(sessions, store, made.name, owner="bo", message="better")
    assert (version.personal_to, version.owner, version.message) == ("bo", "bo", "better")
    assert version.name.startswith(f"{head.name}_bo_")
    again = workspaces.commit(sessions, store, made.name, owner="bo", message="nothing new")
    assert again.id == version.id
    relabel(made, "off")
    following = workspaces.commit(sessions, store, made.name, owner="bo", message="more")
    parents = db.get_one(DatasetVersion, following.id).parents
    assert [parent.id for parent in parents] == [version.id]
    assert get_version(db, head.name).dataset.head_id == head.id


def test_new_labels_keep_the_features_new_files_do_not(sessions, make, store) -> None:
    made = make()
    relabel(made, "on")
    assert "recipe" in workspaces.commit(sessions, store, made.name, owner="bo", message="labels").provenance
    (Path(made.path) / "notes.txt").write_text("new")
    assert "recipe" not in workspaces.commit(sessions, store, made.name, owner="bo", message="files").provenance


def test_with_a_write_lock_the_commit_is_shared(db, sessions, make, store, head) -> None:
    made = make()
    relabel(made, "on")
    with pytest.raises(StaleToken):
        workspaces.commit(sessions, store, made.name, owner="bo", message="no lock", token=1)
    token = locks.acquire_write(db, get_version(db, head.name).dataset, "bo", timedelta(minutes=1)).token
    db.commit()
    version = workspaces.commit(sessions, store, made.name, owner="bo", message="shared", token=token)
    assert version.personal_to is None
    db.expire_all()
    assert get_version(db, head.name).dataset.head_id == version.id
    # The dataset says of itself what its head's dataset.yaml says.
    changed = {**yaml.safe_load((Path(made.path) / "dataset.yaml").read_text()), "description": "lamps, on and off"}
    (Path(made.path) / "dataset.yaml").write_text(yaml.safe_dump(changed))
    workspaces.commit(sessions, store, made.name, owner="bo", message="described", token=token)
    db.expire_all()
    assert get_version(db, head.name).dataset.description == "lamps, on and off"


@pytest.mark.parametrize(
    ("path", "content", "says"),
    [
        ("dataset.yaml", yaml.safe_dump(description(name="other")).encode(), "put its name"),
        ("dataset.yaml", b"name: [", "dataset.yaml"),
        ("annotations.parquet", b"no table", "not a readable Parquet file"),
    ],
)
def test_what_is_no_dataset_any_more_is_not_committed(db, sessions, make, store, path, content, says) -> None:
    made = make()
    before = db.scalar(select(func.count()).select_from(DatasetVersion))
    (Path(made.path) / path).write_bytes(content)
    with pytest.raises(InvalidDataset, match=says):
        workspaces.commit(sessions, store, made.name, owner="bo", message="broken")
    assert db.scalar(select(func.count()).select_from(DatasetVersion)) == before


def test_nobody_sees_anothers_workspace(db, sessions, make, store) -> None:
    made = make("bo")
    make("cy")
    assert [other.owner for other in workspaces.list_workspaces(db, owner="cy")] == ["cy"]
    with pytest.raises(NotFound, match="dee has no workspace"):
        workspaces.commit(sessions, store, made.name, owner="dee", message="not mine")
    with pytest.raises(NotFound, match="dee has no workspace 'mine'"):
        workspaces.get(db, "mine", owner="dee")
    assert workspace_removal.discard(sessions, "mine", owner="cy")
    assert Path(made.path).exists()
    relabel(made, "on")
    personal = workspaces.commit(sessions, store, made.name, owner="bo", message="mine alone")
    with pytest.raises(NotFound):
        workspaces.create(
            sessions, store, personal.name, owner="cy", name="theirs", namespaces=Path(made.path), quota=Quota(5, 2**30)
        )


def test_quota_says_what_is_used_and_by_what(make, head) -> None:
    make(name="one")
    with pytest.raises(Conflict, match=r"bo has 1 workspaces, and 1 are allowed; discard one: one \("):
        make(name="two", quota=Quota(1, 2**30))
    with pytest.raises(Conflict, match=r"bo uses .* of .* MiB; discard one: one \("):
        make(name="two", quota=Quota(9, head.bytes + 1))
    with pytest.raises(Conflict, match="already: discard it, or choose another name"):
        make(name="one")


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "-x", "x" * 64, "a\n", "a\0", "å", "con", "latest"])
def test_names_that_could_be_paths_are_refused(make, name) -> None:
    with pytest.raises(InvalidInput, match="cannot be called"):
        make(name=name)


def test_a_linked_namespace_is_refused(make, tmp_path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "namespaces" / "data").mkdir(parents=True)
    (tmp_path / "namespaces" / "data" / "bo").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match="is a link"):
        make()
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("how", ["file", "table", "description"])
def test_a_link_to_anothers_files_is_not_committed(db, sessions, make, store, how) -> None:
    secret = Path(make("cy").path) / "secret.txt"
    secret.write_text("only cy's")
    made = make("bo")
    place = {"file": "images/mine.txt", "table": "annotations.parquet", "description": "dataset.yaml"}[how]
    (Path(made.path) / place).unlink(missing_ok=True)
    (Path(made.path) / place).symlink_to(secret)
    with pytest.raises(InvalidDataset, match="lead out of it") as error:
        workspaces.commit(sessions, store, "mine", owner="bo", message="m")
    assert place in str(error.value)
    with pytest.raises(InvalidDataset, match="lead out of it"):
        workspaces.changes(db, store, made)
    if how != "file":
        with pytest.raises(InvalidDataset, match="lead out of it"):
            workspaces.label(sessions, "mine", secret, owner="bo")
    assert not store.path_of(hashlib.md5(secret.read_bytes()).hexdigest()).exists()


def test_a_link_inside_the_workspace_counts_as_its_file(db, sessions, make, store) -> None:
    made = make()
    (Path(made.path) / "first.txt").write_text("text")
    (Path(made.path) / "second.txt").symlink_to("first.txt")
    assert workspaces.changes(db, store, made).added == ("first.txt", "second.txt")
    tree = store.read_tree(workspaces.commit(sessions, store, "mine", owner="bo", message="m").tree)
    assert tree["first.txt"] == tree["second.txt"]


def test_a_read_only_workspace_has_nothing_to_commit(sessions, make, store) -> None:
    make(writable=False)
    with pytest.raises(InvalidInput, match="read-only"):
        workspaces.commit(sessions, store, "mine", owner="bo", message="m")


def test_what_is_in_the_way_is_neither_used_nor_removed(db, make, tmp_path) -> None:
    strange = tmp_path / "namespaces" / "data" / "bo" / "workspaces" / "mine"
    strange.mkdir(parents=True)
    (strange / "work.txt").write_text("somebody's")
    with pytest.raises(Conflict, match="belongs to no workspace"):
        make()
    assert (strange / "work.txt").exists()
    assert workspaces.list_workspaces(db, owner="bo") == []


def test_no_job_has_the_folder_of_the_workspaces(make) -> None:
    spec = {"module": "learnloop.training.train", "user": "bo", "idempotency_key": "workspaces"}
    folder = Path(make("bo").path).parent
    places = Places.of(folder.parents[2], parse_spec(spec))
    assert places.data.parent == folder.parent
    assert places.data != folder


def test_a_changed_size_counts_against_the_quota(sessions, make, store, head) -> None:
    made = make()
    (Path(made.path) / "large.bin").write_bytes(bytes(5000))
    workspaces.commit(sessions, store, "mine", owner="bo", message="m")
    with pytest.raises(Conflict, match="bo uses"):
        make(name="other", quota=Quota(5, 2 * head.bytes + 4999))


def test_the_same_work_finds_its_workspace_again(make) -> None:
    assert make(key="run-1").id == make(key="run-1").id


def test_a_version_with_a_workspace_is_not_deleted(db, sessions, make, store) -> None:
    made = make()
    relabel(made, "on")
    version = workspaces.commit(sessions, store, made.name, owner="bo", message="v")
    with pytest.raises(Conflict, match="workspace"):
        delete_version(db, store, version.name, by="bo", allow=lambda version: None)
    workspace_removal.discard(sessions, "mine", owner="bo")
    assert delete_version(db, store, version.name, by="bo", allow=lambda version: None).deleted


def test_a_link_in_place_of_a_workspace_is_not_followed(sessions, store, make, tmp_path) -> None:
    made = make()
    elsewhere = tmp_path / "elsewhere"
    Path(made.path).rename(elsewhere)
    Path(made.path).symlink_to(elsewhere)
    with pytest.raises(InvalidInput, match="is a link"):
        workspaces.commit(sessions, store, "mine", owner="bo", message="m")
    before = sorted(elsewhere.rglob("*"))
    assert workspace_removal.discard(sessions, "mine", owner="bo")
    assert sorted(elsewhere.rglob("*")) == before
    assert not Path(made.path).is_symlink()
