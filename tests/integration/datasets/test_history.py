from datetime import timedelta

import pytest
from dataset_folders import description, write_dataset
from sqlalchemy import select

from learnloop.database import Round
from learnloop.datasets import locks
from learnloop.datasets.branches import open_branch
from learnloop.datasets.history import lineage, show
from learnloop.datasets.reading import read_lease
from learnloop.datasets.restore import restore
from learnloop.datasets.revert import revert
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.versions import commit, list_versions, select_versions
from learnloop.errors import Locked, NotFound

MINUTE = timedelta(minutes=1)


def put(db, parents, *, owner="ana", message="", **options):
    source = parents[0]
    return commit(
        db, source.dataset, source.tree, files=source.files, bytes=source.bytes, owner=owner, message=message,
        provenance={"kind": "result", "run_id": "run-9"}, parents=parents, expected_head_id=None, token=None, **options,
    )  # fmt: skip


def merge(db, head, *others):
    with locks.writing(db, head.dataset, "ana", "merge") as lock:
        return commit(
            db, head.dataset, head.tree, files=1, bytes=1, owner="ana", message="", provenance={"kind": "merge"},
            parents=[head, *others], expected_head_id=head.id, token=lock.token,
        )  # fmt: skip


def test_one_version_with_its_lineage(db, head):
    mine = put(db, [head], personal_to="ana", message="first try")
    hers = put(db, [head], owner="ben", personal_to="ben")
    db.add(Round(dataset_id=head.dataset_id, number=4, state="failed", base_version_id=mine.id, owner="ana"))
    read_lease(db, mine, "cy", MINUTE, "a report")
    found = show(db, mine.name, user="ana")
    assert (found.name, found.dataset, found.tree, found.files) == (mine.name, "lamps", head.tree, head.files)
    assert (found.owner, found.kind, found.run_id, found.message) == ("ana", "result", "run-9", "first try")
    assert (found.line, found.parents, found.children, found.rounds) == ("personal", (head.name,), (), (4,))
    assert [(reader.owner, reader.purpose) for reader in found.readers] == [("cy", "a report")]
    assert show(db, head.name, user="ana").children == (mine.name,)
    assert show(db, head.name).children == ()
    with pytest.raises(NotFound):
        show(db, hers.name, user="ana")
    with pytest.raises(NotFound):
        lineage(db, hers.name)


def test_how_a_version_lies_to_the_head(db, head):
    branch = open_branch(db, head.dataset, "ben", head, MINUTE, "relabelling")
    version = put(db, [head], owner="ben", branch=branch)
    lies = show(db, version.name)
    assert (lies.line, lies.branch_purpose) == ("branch", "relabelling")
    merged = merge(db, head, version)
    assert [show(db, name).line for name in (version.name, head.name, merged.name)] == ["merged", "merged", "head"]


def test_a_branch_may_come_into_the_heads_line_by_way_of_others(db, head):
    first, second = (open_branch(db, head.dataset, "ben", head, MINUTE) for _ in range(2))
    begun = put(db, [head], owner="ben", branch=first)
    mine = put(db, [begun], personal_to="ana")
    apart = put(db, [head], owner="ben", branch=second)
    assert show(db, begun.name).line == "branch"
    merged = merge(db, head, mine)
    last = merge(db, merged)
    assert [
        show(db, name, user="ana").line for name in (begun.name, mine.name, apart.name, merged.name, last.name)
    ] == [
        "merged",
        "personal",
        "branch",
        "merged",
        "head",
    ]


def test_lineage_is_the_graph_of_ancestors(db, head):
    first = head.parents[0]
    branch = open_branch(db, head.dataset, "ben", head, MINUTE)
    side = put(db, [head], owner="ben", branch=branch)
    hidden = put(db, [head], owner="ben", personal_to="ben")
    merged = merge(db, head, side, hidden)
    graph = lineage(db, merged.name, user="ana")
    assert [node.name for node in graph.nodes] == [merged.name, side.name, head.name, first.name]
    assert {node.name: node.parents for node in graph.nodes} == {
        merged.name: (head.name, side.name),
        side.name: (head.name,),
        head.name: (first.name,),
        first.name: (),
    }
    assert graph.complete
    assert lineage(db, merged.name, user="ben").nodes[0].parents == (head.name, side.name, hidden.name)
    cut = lineage(db, merged.name, limit=2)
    assert ([node.name for node in cut.nodes], cut.complete) == ([merged.name, side.name], False)


def test_versions_are_listed_by_the_page_and_by_what_they_are(db, head):
    mine = put(db, [head], personal_to="ana")
    put(db, [head], owner="ben", personal_to="ben")
    branch = open_branch(db, head.dataset, "ben", head, MINUTE)
    side = put(db, [head], owner="ben", branch=branch)
    first = head.parents[0]
    dataset = head.dataset
    assert list_versions(db, dataset, user="ana") == [side, mine, head, first]
    assert list_versions(db, dataset, user="ana", limit=2) == [side, mine]
    assert list_versions(db, dataset, user="ana", before=mine, limit=2) == [head, first]
    assert list_versions(db, dataset, user="ana", personal=True) == [mine]
    assert list_versions(db, dataset, user="ana", personal=False) == [side, head, first]
    assert list_versions(db, dataset, owner="ben") == [side]
    assert list_versions(db, dataset, kind="snapshot") == [first]
    assert set(db.scalars(select_versions(dataset, user="ana"))) == {side, mine, head, first}


def test_a_revert_is_a_new_version_with_the_old_tree(db, store, folder, tmp_path):
    old = snapshot(db, store, folder, owner="ana")
    (folder / "images" / "s001.png").unlink()
    later = snapshot(db, store, folder, owner="ana")
    back = revert(db, store, old.name, owner="ben", run_id="r1")
    assert (back.name, back.tree, back.files, back.bytes) == ("lamps_v1.2", old.tree, old.files, old.bytes)
    assert (back.parents, back.dataset.head, back.owner) == ([later], back, "ben")
    assert (back.message, back.provenance["reverts_to"]) == ("back to lamps_v1.0", "lamps_v1.0")
    assert revert(db, store, old.name, owner="ben", run_id="r1") is back  # retried
    assert revert(db, store, old.name, owner="ben") is back  # nothing to go back from
    restore(db, store, back.name, tmp_path / "back")
    assert (tmp_path / "back" / "images" / "s001.png").exists()


def test_going_back_over_a_change_of_classes_raises_the_major_number(db, store, folder, tmp_path):
    old = snapshot(db, store, folder, owner="ana")
    snapshot(db, store, write_dataset(tmp_path / "more", classes=["dark", "bright", "dim"]), owner="ana")
    back = revert(db, store, old.name, owner="ana", message="dim was a mistake")
    assert (back.name, back.message) == ("lamps_v3.0", "dim was a mistake")
    assert back.dataset.loop["classes"] == description()["classes"]


def test_a_revert_keeps_what_later_steps_need_to_know(db, store, head, folder):
    (folder / "images" / "s001.png").unlink()
    snapshot(db, store, folder, owner="ana")
    assert revert(db, store, head.name, owner="ana").provenance["recipe"] == head.provenance["recipe"]


def test_a_revert_is_a_write(db, store, head):
    mine = put(db, [head], owner="ben", personal_to="ben")
    with pytest.raises(NotFound):
        revert(db, store, mine.name, owner="ana")
    locks.acquire_write(db, head.dataset, "ben", MINUTE, "relabelling")
    with pytest.raises(Locked, match=r"by ben \(relabelling\)"):
        revert(db, store, head.parents[0].name, owner="ana")
    assert db.scalar(select(Round.id)) is None
