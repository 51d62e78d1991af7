"""What annotators are told: who may write it, what is refused, and that nobody overwrites what they have not seen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select
from test_reviews_api import pets  # noqa: F401

from learnloop.annotation.guide import MOST_WORDS
from learnloop.database import AnnotationGuide, AuditEvent

GUIDE = {"instructions": "# Cats\n\nEars: *pointed*.", "classes": [{"label": "cat", "color": "#1f77b4", "key": "K"}]}


def put(client, guide=GUIDE, **headers: str):
    return client.put("/datasets/pets/guide", json=guide, headers=headers)


def test_who_may_write_writes_and_everybody_reads(pets, as_user, db) -> None:  # noqa: F811
    pets()
    empty = as_user("ann", "annotator").get("/datasets/pets/guide").json()
    blank = {"color": None, "key": None}
    assert empty == {
        "instructions": "",
        "classes": [{"label": "cat", **blank}, {"label": "dog", **blank}],
        "updated_by": None,
        "updated_at": None,
    }
    written = put(as_user("sue", "scientist"))
    assert written.status_code == 200
    read = as_user("ann", "annotator").get("/datasets/pets/guide")
    assert read.json() == written.json()
    assert read.json()["classes"][0] == {"label": "cat", "color": "#1f77b4", "key": "K"}
    assert read.json()["updated_by"] == "sue"
    assert written.headers["etag"] == read.headers["etag"]
    event = db.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())).first()
    assert (event.owner, event.outcome, event.resource) == ("sue", "ok", "/datasets/pets/guide")


@pytest.mark.parametrize("role", ["annotator", "reviewer", "viewer"])
def test_who_may_not_write_is_refused(pets, as_user, db, role: str) -> None:  # noqa: F811
    pets()
    assert put(as_user("x", role)).status_code == 403
    assert db.scalars(select(AnnotationGuide)).all() == []


def test_nobody_overwrites_what_they_have_not_seen(pets, as_user) -> None:  # noqa: F811
    pets()
    sue = as_user("sue", "scientist")
    seen = sue.get("/datasets/pets/guide").headers["etag"]
    newer = put(sue, **{"If-Match": seen}).headers["etag"]
    late = put(sue, {"instructions": "mine"}, **{"If-Match": seen})
    assert late.status_code == 412
    assert "the guide of pets changed since you looked" in late.json()["detail"]
    assert sue.get("/datasets/pets/guide").json()["instructions"] == GUIDE["instructions"]
    assert put(sue, {"instructions": "mine"}, **{"If-Match": newer}).status_code == 200


def test_of_two_who_saw_the_same_one_is_refused(pets, as_user) -> None:  # noqa: F811
    pets()
    sue = as_user("sue", "scientist")
    seen = sue.get("/datasets/pets/guide").headers["etag"]
    with ThreadPoolExecutor(4) as threads:
        told = threads.map(lambda n: put(sue, {"instructions": f"by {n}"}, **{"If-Match": seen}).status_code, range(4))
        assert sorted(told) == [200, 412, 412, 412]


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ([{"label": "eel"}], "'eel' is not a class of the dataset; its classes are cat, dog"),
        ([{"label": "cat", "color": "red"}], "'red' is no colour such as #1f77b4"),
        ([{"label": "cat", "color": "#1F77B4"}], "is no colour"),
        ([{"label": "cat", "color": '#fff"}'}], "is no colour"),
        ([{"label": "cat"}, {"label": "cat"}], "'cat' is there twice"),
        ([{"color": "#1f77b4"}], "label"),
        ([{"label": "cat", "key": "k"}], "'k' must be one digit or capital letter"),
        ([{"label": "cat", "key": "é"}], "must be one digit or capital letter"),
        ([{"label": "cat", "key": "S"}], "S is taken by the page"),
        ([{"label": "cat", "key": "K"}, {"label": "dog", "key": "K"}], "classes.dog.key: K is cat's already"),
        ([{"label": "cat", "colour": "#1f77b4"}], "colour"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(pets, as_user, classes, said: str) -> None:  # noqa: F811
    pets()
    sue = as_user("sue", "scientist")
    put(sue)
    before = sue.get("/datasets/pets/guide").json()
    answer = put(sue, {"instructions": "other", "classes": classes})
    assert answer.status_code == 422
    assert any(said in problem for problem in answer.json()["problems"]), answer.json()
    assert sue.get("/datasets/pets/guide").json() == before


def test_too_many_words_are_refused(pets, as_user) -> None:  # noqa: F811
    pets()
    sue = as_user("sue", "scientist")
    assert put(sue, {"instructions": "x" * (MOST_WORDS + 1)}).status_code == 422
    assert put(sue, {"instructions": "a\x00b"}).status_code == 422
    assert put(sue, {"instructions": "x" * MOST_WORDS}).status_code == 200


def test_of_a_class_that_was_removed_nothing_is_told(pets, as_user, db) -> None:  # noqa: F811
    dataset = pets()
    put(as_user("sue", "scientist"))
    dataset.loop = {**dataset.loop, "classes": ["dog"]}
    db.commit()
    assert [each["label"] for each in as_user("ann", "annotator").get("/datasets/pets/guide").json()["classes"]] == [
        "dog"
    ]


def test_a_dataset_that_is_not_there(as_user) -> None:
    assert as_user("ann", "annotator").get("/datasets/none/guide").status_code == 404
    assert put(as_user("sue", "scientist")).status_code == 404
