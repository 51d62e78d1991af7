from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from learnloop.database import AnnotationTask, Batch, Dataset, GoldQuestion

CLASSES = ["cat", "dog", "eel"]
PREDICTION = {
    "label": "cat",
    "confidence": 0.5,
    "uncertainty": 0.9,
    "probabilities": {"cat": 0.5, "dog": 0.4, "eel": 0.1},
    "model_version": 1,
}


@pytest.fixture
def make_dataset(db: Session) -> Callable[..., Dataset]:
    """Makes a committed dataset with open tasks ``s0..`` and gold questions ``g0..`` (all of them cats)."""

    def make(
        tasks: int = 5, gold: int = 3, labels: int = 1000, gold_every: int = 10, name: str = "pets", **quality: object
    ) -> Dataset:
        loop = {"classes": CLASSES, "policy": {"labels": labels}, "quality": {"gold_every": gold_every, **quality}}
        dataset = Dataset(name=name, task_type="image_classification", loop=loop, owner="ada")
        db.add(dataset)
        db.flush()
        batch = Batch(dataset_id=dataset.id, name="b", tree="0" * 32 + ".dir", samples=tasks, owner="ada")
        db.add(batch)
        db.flush()
        common = {
            "dataset_id": dataset.id,
            "path": "x.png",
            "object": "0" * 32,
            "prediction": PREDICTION,
            "owner": "ada",
        }
        reason = {"strategy": "random", "rank": 0}
        db.add_all(AnnotationTask(batch_id=batch.id, sample_id=f"s{n}", reason=reason, **common) for n in range(tasks))
        db.add_all(GoldQuestion(sample_id=f"g{n}", label="cat", **common) for n in range(gold))
        db.commit()
        return dataset

    return make


@pytest.fixture
def append_only(db: Session) -> None:
    """The database refuses whatever would change or remove a row of the confirmed pool."""
    db.execute(
        text(
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION '% of a confirmed annotation', TG_OP; END $$;
            CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON confirmed_annotations
            FOR EACH ROW EXECUTE FUNCTION refuse();
            """
        )
    )
    db.commit()
