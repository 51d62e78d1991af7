"""Tasks in from files, and confirmed labels out to them: all or nothing, again the same, and there and back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pool_rows import next_number
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from learnloop.annotation.answers import submit
from learnloop.annotation.exchange.exporting import export
from learnloop.annotation.exchange.importing import Imported, import_tasks
from learnloop.annotation.queue import claim
from learnloop.annotation.selection import _cancel_untaken
from learnloop.database import AnnotationTask, Batch, ConfirmedAnnotation, Dataset
from learnloop.datasets.store import Store
from learnloop.errors import InvalidInput

HOSTILE = ["../../etc/passwd", "/etc/passwd", "images/../images/s0.png", "dataset.yaml", "images"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def batch(db: Session, make_dataset: Callable[..., Dataset], store: Store, tmp_path: Path) -> Batch:
    """Samples ``images/s0`` .. ``images/s5`` of a dataset without tasks."""
    dataset = make_dataset(tasks=0, gold=0)
    folder = tmp_path / "batch"
    (folder / "images").mkdir(parents=True)
    for n in range(6):
        (folder / "images" / f"s{n}.png").write_text(f"image {n}")
    tree = store.write_tree(store.add_folder(folder)[0])
    batch = Batch(dataset_id=dataset.id, name="arrived", tree=tree, samples=6, owner="ada")
    db.add(batch)
    db.commit()
    return batch


@pytest.fixture
def bring(db: Session, store: Store, batch: Batch, tmp_path: Path) -> Callable[..., Imported]:
    def run(content: str | bytes, name: str = "t.csv", **options: Any) -> Imported:
        file = tmp_path / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        dataset = db.get_one(Dataset, batch.dataset_id)
        try:
            done = import_tasks(db, store, dataset, batch, file, owner="sue", **options)
        except InvalidInput:
            db.rollback()
            raise
        db.commit()
        return done

    return run


def out(db: Session, store: Store, batch: Batch, form: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    export(db, store, db.get_one(Dataset, batch.dataset_id), form, file, **options)
    return file.getvalue()


def answer(db: Session, batch: Batch, who: str, labels: dict[str, str]) -> None:
    while (task := claim(db, batch.dataset_id, who, lease_seconds=300)) is not None:
        submit(db, task.id, who, labels.get(task.sample_id, "cat"), seconds=2.5, comment='said "so", he')
    db.commit()


CSV = "sample_id,predicted_label,predicted_confidence,model_version,priority\n"


def test_rows_become_tasks_that_can_be_claimed_by_priority(db, batch, bring) -> None:
    done = bring(CSV + "images/s1,dog,0.7,3,\nimages/s2,,,,9\n")
    assert done == Imported(2, 2, 0, 0, 0)
    first = claim(db, batch.dataset_id, "ben", lease_seconds=300)
    assert (first.sample_id, first.path, first.owner) == ("images/s2", "images/s2.png", "sue")
    assert first.prediction["probabilities"] == pytest.approx(dict.fromkeys(["cat", "dog", "eel"], 1 / 3))
    submit(db, first.id, "ben", "cat")
    second = claim(db, batch.dataset_id, "ben", lease_seconds=300)
    assert second.prediction == {
        "label": "dog",
        "confidence": 0.7,
        "uncertainty": pytest.approx(1 - (0.7 - 0.15)),
        "probabilities": pytest.approx({"cat": 0.15, "dog": 0.7, "eel": 0.15}),
        "model_version": 3,
    }


def test_the_same_file_again_changes_nothing_and_another_only_what_nobody_took(db, batch, bring) -> None:
    file = CSV + "images/s0,dog,0.7,3,\nimages/s1,dog,0.7,3,\nimages/s2,cat,0.9,3,\n"
    bring(file)
    assert bring(file) == Imported(3, 0, 0, 3, 0)
    claim(db, batch.dataset_id, "ben", lease_seconds=300)
    db.commit()
    changed = bring(file.replace("0.7", "0.8"))
    assert changed == Imported(3, 0, 1, 1, 1)
    assert changed.left_rows == ("line 2",)
    confidences = dict(db.execute(select(AnnotationTask.sample_id, AnnotationTask.prediction["confidence"])).all())
    assert confidences == {"images/s0": 0.7, "images/s1": 0.8, "images/s2": 0.9}
    answer(db, batch, "ben", {})
    again = bring(file.replace("0.7", "0.6"))
    assert again == Imported(3, 0, 0, 0, 3)
    assert again.left_rows == ("line 2", "line 3", "line 4")
    assert db.scalar(select(func.count()).select_from(AnnotationTask)) == 3


def test_one_wrong_row_and_nothing_is_imported(db, batch, bring) -> None:
    with pytest.raises(InvalidInput) as raised:
        bring(CSV + "images/s0,dog,0.7,3,\nnowhere,,,,\nimages/s0,,,,\nimages/s1,cow,1,3,x\n")
    assert [problem.split(": ")[0] for problem in raised.value.problems] == [
        "line 5, predicted_label",
        "line 5, priority",
        "line 3, sample_id",
        "line 4, sample_id",
    ]
    assert "t.csv cannot be imported; nothing was changed" in str(raised.value)
    assert db.scalar(select(func.count()).select_from(AnnotationTask)) == 0


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_leads_nowhere_but_to_the_batchs_samples(db, batch, bring, path) -> None:
    tasks = [{"data": {"image": path}}, {"data": {"image": f"/data/local-files/?d={path}"}}]
    with pytest.raises(InvalidInput) as raised:
        bring(json.dumps(tasks), "t.json")
    assert len(raised.value.problems) == 2
    with pytest.raises(InvalidInput, match="is not the file of sample"):
        bring(f"sample_id,path\nimages/s0,{path}\n")


def test_an_unknown_ending_asks_for_the_format(bring) -> None:
    with pytest.raises(InvalidInput, match="say its format"):
        bring(CSV, "t.txt")
    assert bring(CSV + "images/s0,,,,\n", "t.txt", form="csv").created == 1


def test_a_scoring_run_does_not_take_away_what_a_person_asked_for(db, batch, bring) -> None:
    bring(CSV + "images/s0,,,,\n")
    _cancel_untaken(db, db.get_one(Dataset, batch.dataset_id))
    db.expire_all()
    assert db.scalars(select(AnnotationTask.state)).all() == ["open"]


def test_an_export_says_who_when_and_why(db, store, batch, bring) -> None:
    bring(CSV + "images/s0,dog,0.7,3,\nimages/s1,cat,0.6,big-model,\n")
    answer(db, batch, "ben", {"images/s1": "eel"})
    pool = db.scalars(select(ConfirmedAnnotation).order_by(ConfirmedAnnotation.sample_id)).all()
    rows = list(csv.DictReader(io.StringIO(out(db, store, batch, "csv").decode())))
    assert [(row["sample_id"], row["label"], row["annotator"], row["batch"]) for row in rows] == [
        ("images/s0", "cat", "ben", "arrived"),
        ("images/s1", "eel", "ben", "arrived"),
    ]
    assert rows[0]["confirmed_by"] == pool[0].confirmed_by != ""
    assert rows[0]["comment"] == 'said "so", he'
    assert rows[0]["confirmed_at"] == pool[0].confirmed_at.isoformat().replace("Z", "+00:00")
    assert rows[1]["model_version"] == "big-model"
    table = pq.read_table(io.BytesIO(out(db, store, batch, "parquet"))).to_pylist()
    assert [row["label"] for row in table] == ["cat", "eel"]
    assert (table[0]["seconds"], table[0]["confirmed_id"]) == (2.5, pool[0].id)
    assert table[0]["probability.dog"] == pytest.approx(0.7)
    task = json.loads(out(db, store, batch, "label-studio"))[0]
    assert task["data"]["image"] == "images/s0.png"
    assert task["annotations"][0]["created_username"] == "ben"
    assert task["annotations"][0]["learnloop"]["confirmed_by"] == pool[0].confirmed_by


def test_replaced_labels_are_exported_on_request(db, store, batch, bring) -> None:
    bring(CSV + "images/s0,,,,\nimages/s1,,,,\n")
    answer(db, batch, "ben", {})
    first = db.scalars(select(ConfirmedAnnotation).where(ConfirmedAnnotation.sample_id == "images/s0")).one()
    again = AnnotationTask(
        dataset_id=batch.dataset_id,
        batch_id=batch.id,
        kind="label",
        sample_id="images/s0",
        path="images/s0.png",
        object="0" * 32,
        state="cancelled",
        owner="ada",
    )
    db.add(again)
    db.flush()
    from learnloop.database import Annotation

    corrected = Annotation(dataset_id=batch.dataset_id, task_id=again.id, label="eel", outcome="confirmed", owner="rob")
    db.add(corrected)
    db.flush()
    db.add(
        ConfirmedAnnotation(
            dataset_id=batch.dataset_id,
            batch_id=batch.id,
            annotation_id=corrected.id,
            sample_id="images/s0",
            label="eel",
            confirmed_by="a reviewer's decision",
            number=next_number(batch.dataset_id),
            supersedes_id=first.id,
            owner="rob",
        )
    )
    db.commit()
    now = list(csv.DictReader(io.StringIO(out(db, store, batch, "csv").decode())))
    assert [(row["sample_id"], row["label"]) for row in now] == [("images/s0", "eel"), ("images/s1", "cat")]
    everything = json.loads(out(db, store, batch, "label-studio", superseded=True))
    labels = [one["result"][0]["value"]["choices"] for one in everything[0]["annotations"]]
    assert labels == [["cat"], ["eel"]]
    assert everything[0]["annotations"][0]["learnloop"]["superseded_by"] is not None
    assert len(everything) == 2


@pytest.mark.parametrize(("form", "ending"), [("label-studio", "json"), ("csv", "csv"), ("parquet", "parquet")])
def test_what_is_exported_can_be_imported_as_tasks(db, store, batch, bring, form, ending) -> None:
    bring(CSV + "images/s0,dog,0.7,3,\nimages/s1,cat,0.6,big-model,\n")
    answer(db, batch, "ben", {})
    before = {task.sample_id: task.prediction for task in db.scalars(select(AnnotationTask))}
    file = out(db, store, batch, form)
    with pytest.raises(InvalidInput, match="not checked"):
        bring(file, f"t.{ending}")
    assert bring(file, f"t.{ending}", ignore_annotations=True).left == 2
    other = Dataset(name="other", task_type="image_classification", loop={"classes": ["cat", "dog", "eel"]}, owner="a")
    db.add(other)
    db.flush()
    batch.dataset_id = other.id
    assert bring(file, f"t.{ending}", ignore_annotations=True).created == 2
    after = {
        task.sample_id: task.prediction
        for task in db.scalars(select(AnnotationTask).where(AnnotationTask.dataset_id == other.id))
    }
    assert after == before


def test_an_export_of_nothing_is_a_file_too(db, store, batch) -> None:
    assert json.loads(out(db, store, batch, "label-studio")) == []
    assert list(csv.DictReader(io.StringIO(out(db, store, batch, "csv").decode()))) == []
    assert pq.read_table(io.BytesIO(out(db, store, batch, "parquet"))).num_rows == 0
