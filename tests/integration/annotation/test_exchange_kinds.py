"""Datasets of texts and of rows: what goes out is what Label Studio shows of such, and comes back in."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest
from exchanged import Exchanged, exchanged
from sqlalchemy.orm import Session

from learnloop.database import AnnotationTask
from learnloop.errors import InvalidInput, NotFound

SHOWN = {
    "image_classification": ("image", ["a b/0.png", "a b/1.png", "a b/2.png"]),
    "text_classification": ("text", ["Good & <b>cheap</b>", 'Schlecht, sagt er: "nie"\nwieder', "不错"]),
    "tabular_classification": (
        "table",
        [{"height": 1.5, "colour": "red"}, {"height": -2, "colour": "blue"}, {"height": 0, "colour": None}],
    ),
}
KINDS = sorted(SHOWN)


@pytest.fixture
def make(db: Session, tmp_path: Path) -> Callable[..., Exchanged]:
    return lambda kind, **options: exchanged(db, tmp_path, kind, SHOWN[kind][1], **options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_project_shows_the_sample_itself_and_can_be_imported_elsewhere(make, kind: str) -> None:
    it = make(kind)
    it.answer(["cat", "dog", "cat"])
    name, shown = SHOWN[kind]
    tasks = json.loads(it.out("label-studio"))
    assert [task["data"][name] for task in tasks] == shown
    assert [task["data"]["sample_id"] for task in tasks] == it.samples
    view = ElementTree.fromstring(it.out("label-studio-config").decode())
    assert [element.get("value") for element in view if element.tag != "Choices"] == [f"${name}"]
    # and it comes back in
    for form, ending in (("label-studio", "json"), ("csv", "csv"), ("parquet", "parquet")):
        there = make(kind, name=f"there-{ending}", imported=False)
        done = there.bring(it.out(form), ending, ignore_annotations=True)
        assert (done.created, done.left) == (3, 0)
        assert there.paths() == it.paths()


def test_tables_have_the_same_columns_whatever_the_samples_are(make) -> None:
    heads = []
    for kind in KINDS:
        it = make(kind, name=kind)
        it.answer(["cat", "dog", "cat"])
        rows = list(csv.DictReader(io.StringIO(it.out("csv").decode())))
        assert [row["label"] for row in rows] == ["cat", "dog", "cat"]
        heads.append([list(rows[0]), pq.read_table(io.BytesIO(it.out("parquet"))).column_names])
    assert heads[0] == heads[1] == heads[2]


def test_a_text_of_label_studios_own_is_found_by_its_words(db: Session, make) -> None:
    it = make("text_classification", imported=False)
    texts = SHOWN["text_classification"][1]
    done = it.bring(json.dumps([{"data": {"text": texts[2]}}, {"data": {"text": "a b/1.txt"}}]), "json")
    assert done.created == 2
    assert sorted(task.path for task in db.query(AnnotationTask)) == ["a b/1.txt", "a b/2.txt"]
    with pytest.raises(InvalidInput) as raised:
        it.bring(json.dumps([{"data": {"text": texts[0]}}, {"data": {"text": "Never seen"}}]), "json")
    assert raised.value.problems == (
        "task 2, text: 0 samples of batch arrived have just this text; name one by sample_id or path",
    )


def test_a_text_that_two_samples_have_names_neither(db: Session, tmp_path: Path) -> None:
    it = exchanged(db, tmp_path, "text_classification", ["same", "same"], imported=False)
    with pytest.raises(InvalidInput, match="2 samples of batch arrived have just this text"):
        it.bring(json.dumps([{"data": {"text": "same"}}]), "json")


def test_a_text_that_is_away_is_told_and_the_labels_can_be_had_without_it(make) -> None:
    it = make("text_classification")
    it.answer(["cat", "dog", "cat"])
    it.lose(1)
    with pytest.raises(NotFound, match="is not in the store"):
        it.out("label-studio")
    assert len(it.out("csv").splitlines()) == 4
