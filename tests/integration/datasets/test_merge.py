"""Merge requests from opening to the merged version."""

import io
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from merges import changed, is_sound, labels_of

from learnloop.database import Annotation, AnnotationTask
from learnloop.datasets.contents import annotations_of, config_of, features_of
from learnloop.datasets.deletion import delete_version
from learnloop.datasets.locks import acquire_write
from learnloop.datasets.merge.ancestry import ancestors, merge_base
from learnloop.datasets.merge.requests import (
    answer_conflict,
    auto_merge,
    cancel_merge,
    complete_merge,
    get_merge,
    list_merges,
    open_merge,
    resolve_all,
)
from learnloop.datasets.merge.stored import conflicts_of, entry_of
from learnloop.datasets.tables import write_table
from learnloop.datasets.versions import get_version, list_versions
from learnloop.errors import Conflict, InvalidDataset, InvalidInput, Locked, NotFound

IMAGE = "images/s000.png"
DAY = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def change(db, store):
    return lambda base, **options: changed(db, store, base, **options)


@pytest.fixture
def merge(db, store):
    def run(theirs, **answers):
        opened = open_merge(db, store, theirs, owner="ben")
        for row in conflicts_of(db, opened):
            answer_conflict(db, opened, row.id, answers[row.field or row.key or row.path], by="ben")
        return complete_merge(db, store, opened, owner="ben")

    return run


def label(name, by="ben", at=DAY):
    return {"label": name, "annotator": by, "annotated_at": at}


def parquet(**columns):
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def test_different_changes_merge_by_themselves(db, store, head, change):
    theirs = change(head, user="ben", records={"s000": label("bright"), "s003": None}, files={"notes/a.txt": b"a"})
    ours = change(head, records={"s001": label("dark", "ana")}, files={"notes/b.txt": b"b", "images/s019.png": None})
    result = auto_merge(db, store, theirs, owner="ben")
    version = result.version
    assert (result.state, result.conflicts, version.name) == ("merged", 0, "lamps_v1.3")
    assert version.parents == [ours, theirs]
    assert head.dataset.head is version
    labels = labels_of(store, version)
    assert (labels["s000"], labels["s001"], len(labels)) == ("bright", "dark", 19)
    tree = store.read_tree(version.tree)
    assert {"notes/a.txt", "notes/b.txt", "images/s019.png"} <= set(tree)  # the record of s019 keeps its file
    assert "1 deleted files were kept" in result.notes[0]
    assert set(features_of(store, version)["sample_id"].to_pylist()) == set(labels)
    assert version.provenance["recipe"] == head.provenance["recipe"]
    is_sound(store, version)


def test_a_merge_happens_once(db, store, head, change):
    theirs = change(head, user="ben", records={"s000": label("bright")})
    first = auto_merge(db, store, theirs, owner="ben")
    assert first.version.parents == [head, theirs]
    assert labels_of(store, first.version) == labels_of(store, theirs)
    later = change(first.version, records={"s002": label("bright")})
    again = auto_merge(db, store, theirs, owner="eva")
    assert again == first
    assert head.dataset.head is later
    assert list_merges(db, head.dataset) == []
    assert [row.id for row in list_merges(db, head.dataset, state=None)] == [first.merge_id]


def test_what_is_part_of_the_head_already(db, store, head):
    with pytest.raises(Conflict, match=r"part of lamps_v1\.1 already"):
        open_merge(db, store, head.parents[0], owner="ana")


def test_a_conflict_stays_visible_until_it_is_answered(db, store, head, change):
    theirs = change(head, user="ben", records={"s000": label("bright", at=DAY + timedelta(days=1))})
    change(head, records={"s000": {"label": None, "annotator": "ana", "annotated_at": DAY}})
    result = auto_merge(db, store, theirs, owner="ben")
    assert (result.state, result.version, result.conflicts, result.unanswered) == ("open", None, 1, 1)
    [opened] = list_merges(db, head.dataset)
    [row] = conflicts_of(db, opened)
    entry = entry_of(row)
    assert (entry.kind, entry.path, entry.key, entry.field) == ("record", "annotations.parquet", "s000", "label")
    assert entry.ours == {"label": None, "annotator": "ana", "annotated_at": "2026-05-01T00:00:00+00:00"}
    assert entry.theirs["label"] == "bright"
    assert entry.base["label"] == "dark"
    assert entry.suggestion.choice == "theirs"
    assert "1 gave 'bright' (ben)" in entry.suggestion.reason
    answer_conflict(db, opened, row.id, "ours", by="eva")
    answer_conflict(db, opened, row.id, "theirs", by="eva")
    result = complete_merge(db, store, opened, owner="eva")
    assert annotations_of(store, result.version).to_pylist()[0]["annotator"] == "ben"
    assert (row.answered_by, row.answer) == ("eva", "theirs")
    assert row.answered_at is not None
    assert list_merges(db, head.dataset) == []
    with pytest.raises(Conflict, match="is merged"):
        answer_conflict(db, opened, row.id, "ours", by="eva")


@pytest.mark.parametrize(
    ("strategy", "winner"), [("ours", None), ("theirs", "bright"), ("newest", None), ("most_agreed", "bright")]
)
def test_strategies(db, store, head, change, strategy, winner):
    for person in ("eva", "ian"):
        task = AnnotationTask(
            dataset_id=head.dataset_id, sample_id="s000", path=IMAGE, object="0" * 32, state="cancelled", owner="eva"
        )
        db.add(task)
        db.flush()
        db.add(
            Annotation(
                dataset_id=head.dataset_id, task_id=task.id, label="bright", outcome="confirmed", owner=person
            )
        )  # fmt: skip
    theirs = change(head, user="ben", records={"s000": label("bright")}, files={"x": b"theirs"})
    change(head, records={"s000": label(None, "ana", DAY + timedelta(1))}, files={"x": b"ours"})
    opened = open_merge(db, store, theirs, owner="ben")
    assert resolve_all(db, opened, strategy, by="ben") == 2
    assert resolve_all(db, opened, strategy, by="ben") == 0
    version = complete_merge(db, store, opened, owner="ben").version
    assert labels_of(store, version)["s000"] == winner
    # Of files the later version is the newest; votes say nothing about them.
    wanted = b"theirs" if strategy == "theirs" else b"ours"
    assert store.read(store.read_tree(version.tree)["x"]) == wanted
    rows = conflicts_of(db, opened)
    assert all(row.answer_reason.startswith(strategy) for row in rows)
    is_sound(store, version)


@pytest.mark.parametrize("choice", ["ours", "theirs", "base"])
def test_a_deleted_and_changed_record(db, store, head, change, merge, choice):
    theirs = change(head, user="ben", records={"s001": None}, files={"images/s001.png": None})
    change(head, records={"s001": label("dark", "ana")})
    version = merge(theirs, s001=choice).version
    assert labels_of(store, version).get("s001") == {"ours": "dark", "theirs": None, "base": "bright"}[choice]
    is_sound(store, version)


def test_the_head_moves_while_conflicts_are_answered(db, store, head, change):
    theirs = change(head, user="ben", records={sample: label("bright") for sample in ("s000", "s002", "s004", "s006")})
    undecided = label(None, "ana")
    second = change(head, records={"s000": undecided, "s002": undecided, "s006": undecided})
    opened = open_merge(db, store, theirs, owner="ben")
    rows = {row.key: row for row in conflicts_of(db, opened)}
    assert set(rows) == {"s000", "s002", "s006"}
    for row in rows.values():
        answer_conflict(db, opened, row.id, "theirs", by="ben")
    # s000 stays, s002 is agreed on, s004 is new, and s006 has another value now.
    third = change(
        second,
        records={"s002": label("bright"), "s004": undecided, "s006": label(None, "eva", DAY + timedelta(1))},
    )
    result = complete_merge(db, store, opened, owner="ben")
    assert (result.state, result.conflicts, result.unanswered) == ("open", 3, 2)
    now = {row.key: row.answer for row in conflicts_of(db, opened)}
    assert now == {"s000": "theirs", "s004": None, "s006": None}
    assert opened.ours is third
    resolve_all(db, opened, "ours", by="eva")
    version = complete_merge(db, store, opened, owner="ben").version
    labels = labels_of(store, version)
    assert [labels[sample] for sample in ("s000", "s002", "s004", "s006")] == ["bright", "bright", None, None]
    assert version.parents == [third, theirs]


def test_classes_of_both_sides(db, store, head, change):
    theirs = change(head, user="ben", settings={"classes": ["dark", "bright", "dim"]}, records={"s000": label("dim")})
    ours = change(head, settings={"classes": ["dark", "bright", "red"]}, records={"s001": label("red", "ana")})
    result = auto_merge(db, store, theirs, owner="ben")
    assert config_of(store, result.version).classes == ["dark", "bright", "red", "dim"]
    assert "classes" in result.notes[0]
    assert (ours.major, result.version.name) == (1, "lamps_v2.0")
    assert head.dataset.loop["classes"] == ["dark", "bright", "red", "dim"]
    is_sound(store, result.version)


def test_a_class_taken_away_that_the_other_side_used(db, store, head, change):
    base = change(head, settings={"classes": ["dark", "bright", "dim"]})
    theirs = change(base, user="ben", records={"s000": label("dim")})
    change(base, settings={"classes": ["dark", "bright"]})
    opened = open_merge(db, store, theirs, owner="ben")
    [row] = conflicts_of(db, opened)
    assert (row.kind, row.path, row.field) == ("setting", "dataset.yaml", "classes")
    answer_conflict(db, opened, row.id, "ours", by="ben")
    with pytest.raises(InvalidDataset, match=r"yet a label in annotations\.parquet: dim"):
        complete_merge(db, store, opened, owner="ben")
    answer_conflict(db, opened, row.id, "theirs", by="ben")
    is_sound(store, complete_merge(db, store, opened, owner="ben").version)


def test_an_answer_that_raises_a_new_question(db, store, head, change):
    base = change(head, settings={"classes": ["dark", "bright", "dim"]})
    theirs = change(base, user="ben", records={"s000": label("dim")})
    change(base, settings={"classes": ["dark", "bright"]}, records={"s000": label(None, "ana")})
    opened = open_merge(db, store, theirs, owner="ben")
    resolve_all(db, opened, "theirs", by="ben")
    result = complete_merge(db, store, opened, owner="ben")
    assert (result.state, result.conflicts, result.unanswered) == ("open", 2, 1)
    assert resolve_all(db, opened, "theirs", by="ben") == 1
    is_sound(store, complete_merge(db, store, opened, owner="ben").version)


def test_values_that_json_cannot_hold_are_shown_as_text(db, store, head, change):
    def readings(value, note):
        return write_table(pa.table({"sample_id": ["a"], "value": [value], "note": [note]}))

    base = change(head, files={"readings.parquet": readings(1.0, "")})
    theirs = change(base, user="ben", files={"readings.parquet": readings(float("inf"), "a\0b")})
    change(base, files={"readings.parquet": readings(float("nan"), "c")})
    merge = open_merge(db, store, theirs, owner="ben")
    db.commit()
    note, value = conflicts_of(db, merge)
    assert note.values == {"base": "", "ours": "c", "theirs": "a\ufffdb"}
    assert value.values == {"base": 1.0, "ours": "NaN", "theirs": "Infinity"}
    resolve_all(db, merge, "theirs", by="ben")
    result = complete_merge(db, store, merge, owner="ben")
    data = store.read(store.read_tree(result.version.tree)["readings.parquet"])
    assert pq.read_table(io.BytesIO(data)).to_pylist() == [{"sample_id": "a", "value": float("inf"), "note": "a\0b"}]


def test_any_keyed_table_is_merged_by_record_and_other_parquet_as_a_file(db, store, head, change, merge):
    def sizes(**rows):
        return write_table(pa.table({"sample_id": list(rows), "size": list(rows.values())}))

    base = change(head, files={"sizes.parquet": sizes(a=1, b=2), "plain.parquet": parquet(x=[1])})
    theirs = change(base, user="ben", files={"sizes.parquet": sizes(a=1, b=3, c=4), "plain.parquet": parquet(x=[2])})
    change(base, files={"sizes.parquet": sizes(a=5, b=2), "plain.parquet": parquet(x=[3])})
    result = merge(theirs, **{"plain.parquet": "theirs"})
    assert result.conflicts == 1
    tree = store.read_tree(result.version.tree)
    merged = pq.read_table(io.BytesIO(store.read(tree["sizes.parquet"]))).to_pydict()
    assert merged == {"sample_id": ["a", "b", "c"], "size": [5, 3, 4]}
    assert tree["plain.parquet"] == store.read_tree(theirs.tree)["plain.parquet"]


@pytest.mark.parametrize(
    ("ours", "theirs", "problem"),
    [
        (parquet(sample_id=["a"], x=[1]), parquet(sample_id=["a"], x=["1"]), "'x' is string in theirs, int64 in ours"),
        (parquet(sample_id=["a"], x=[1]), parquet(sample_id=["a"], y=[1]), "'y' is int64 in theirs, missing in ours"),
        (parquet(sample_id=["a"], x=[1]), parquet(x=[1]), "has no column 'sample_id'"),
        (parquet(sample_id=["a"], x=[1]), parquet(sample_id=["a", "a"], x=[1, 2]), "more than once: a"),
        (parquet(sample_id=["a"], x=[1]), parquet(sample_id=["a", None], x=[1, 2]), "empty in row 1"),
        (parquet(sample_id=["a"], x=[1]), b"no Parquet", "not a readable Parquet file"),
    ],
)
def test_wrong_tables_change_nothing(db, store, head, change, ours, theirs, problem):
    branch = change(head, user="ben", files={"t.parquet": theirs})
    now = change(head, files={"t.parquet": ours})
    with pytest.raises(InvalidDataset) as error:
        auto_merge(db, store, branch, owner="ben")
    assert problem in str(error.value)
    assert "t.parquet" in str(error.value)
    db.rollback()
    assert head.dataset.head_id == now.id
    assert list_merges(db, head.dataset, state=None) == []


def test_features_are_left_out_when_a_sample_has_none(db, store, head, folder, change):
    other = (folder / "images/s001.png").read_bytes()
    theirs = change(head, user="ben", files={IMAGE: other})
    change(head, files={"new.txt": b""})
    result = auto_merge(db, store, theirs, owner="ben")
    # Nobody has made features of the new image: the result says so, and is to be preprocessed.
    assert "features.parquet was left out" in result.notes[0]
    assert "recipe" not in result.version.provenance
    assert "features.parquet" not in store.read_tree(result.version.tree)


def test_features_follow_the_file_that_was_chosen(db, store, head, folder, change, merge):
    theirs = change(head, user="ben", files={IMAGE: (folder / "images/s001.png").read_bytes()})
    change(head, files={IMAGE: (folder / "images/s003.png").read_bytes(), "new.txt": b""})
    result = merge(theirs, **{IMAGE: "base"})
    assert result.notes == ()
    assert features_of(store, result.version).equals(features_of(store, head))


def test_bad_answers(db, store, head, change):
    theirs = change(head, user="ben", files={"x": b"theirs"})
    change(head, files={"x": b"ours"})
    opened = open_merge(db, store, theirs, owner="ben")
    [row] = conflicts_of(db, opened)
    with pytest.raises(InvalidInput, match="'mine' is no answer: ours, theirs, base"):
        answer_conflict(db, opened, row.id, "mine", by="ben")
    with pytest.raises(InvalidInput, match="'best' is no strategy: ours, theirs, newest, most_agreed"):
        resolve_all(db, opened, "best", by="ben")
    with pytest.raises(NotFound, match="has no conflict"):
        answer_conflict(db, opened, row.id + 1, "ours", by="ben")
    with pytest.raises(NotFound, match="no merge 999"):
        get_merge(db, 999)
    assert row.answer is None


def test_a_cancelled_merge_may_be_opened_anew(db, store, head, change):
    theirs = change(head, user="ben", files={"x": b"theirs"})
    change(head, files={"x": b"ours"})
    opened = open_merge(db, store, theirs, owner="ben")
    cancel_merge(db, opened, by="ana")
    cancel_merge(db, opened, by="ana")
    with pytest.raises(Conflict, match="was cancelled by ana"):
        complete_merge(db, store, opened, owner="ben")
    again = open_merge(db, store, theirs, owner="ben")
    assert again.id != opened.id
    resolve_all(db, again, "ours", by="ben")
    made = complete_merge(db, store, again, owner="ben").version
    with pytest.raises(Conflict, match=f"made {made.name} already"):
        cancel_merge(db, again, by="ana")


def test_an_open_merge_holds_its_versions_and_a_cancelled_one_does_not(db, store, head, change):
    theirs = change(head, user="ben", files={"x": b"theirs"})
    ours = change(head, files={"x": b"ours"})
    merge = open_merge(db, store, theirs, owner="ben")
    db.commit()
    for version in (theirs, ours, head):
        with pytest.raises(Conflict, match=rf"merge {merge.id} of {theirs.name} is open"):
            delete_version(db, store, version.name, by="ben", allow=lambda _: None)
        db.rollback()
    cancel_merge(db, merge, by="ben")
    db.commit()
    delete_version(db, store, theirs.name, by="ben", allow=lambda _: None)
    db.commit()
    assert list_merges(db, head.dataset, state=None) == []


def test_a_held_lock_is_respected(db, store, head, change):
    theirs = change(head, user="ben", files={"x": b"theirs"})
    acquire_write(db, head.dataset, "ana", timedelta(minutes=5), "cleaning")
    db.commit()
    opened = open_merge(db, store, theirs, owner="ben")
    db.commit()
    with pytest.raises(Locked, match=r"locked for writing by ana \(cleaning\)"):
        complete_merge(db, store, opened, owner="ben")
    db.rollback()
    assert get_merge(db, opened.id).state == "open"


def test_the_base_is_the_nearest_common_ancestor(db, store, head, change):
    first = change(head, files={"x": b"1"})
    branch = change(first, user="ben", files={"y": b"1"})
    second = change(first, files={"x": b"2"})
    assert merge_base(db, second, branch) is first
    merged = auto_merge(db, store, branch, owner="ben").version
    later = change(branch, user="ben", files={"y": b"2"})
    assert merge_base(db, merged, later) is branch
    assert merge_base(db, merged, first) is first
    assert ancestors(db, branch) == {branch.id, first.id, head.id, head.parents[0].id}


def test_one_branch_is_merged_again_and_again(db, store, head, change):
    branch, seen = head, []
    for turn in range(4):
        branch = change(branch, user="ben", records={f"s00{turn}": label("bright")})
        seen.append(auto_merge(db, store, branch, owner="ben").version.name)
    assert seen == [f"lamps_v1.{minor}" for minor in range(2, 6)]
    assert labels_of(store, get_version(db, seen[-1])) == labels_of(store, branch)
    assert len(list_versions(db, head.dataset)) == 6


def test_progress_reaches_its_end(db, store, head, change):
    theirs = change(head, user="ben", records={"s000": label("bright")})
    change(head, records={"s001": label("dark")})
    told = []
    auto_merge(db, store, theirs, owner="ben", progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
