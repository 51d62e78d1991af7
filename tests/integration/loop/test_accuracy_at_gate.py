"""How good model versions were when they were decided about: the newest decision says, for many in one statement."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from learnloop.database import Dataset, Decision
from learnloop.loop.facts import accuracies_at_gate, accuracy_at_gate


def test_the_newest_decision_about_a_version_says(db: Session) -> None:
    datasets = [Dataset(name=name, task_type="image_classification", owner="ada") for name in ("cats", "dogs")]
    db.add_all(datasets)
    db.flush()
    cats, dogs = datasets

    def decided(of: Dataset, version: int | None, accuracy: float | None, kind: str = "gate") -> None:
        said: dict[str, Any] = {} if version is None else {"model_version": version}
        if accuracy is not None:
            said["candidate"] = {"accuracy": accuracy}
        run_id = f"run-{db.query(Decision).count()}"
        db.add(
            Decision(dataset_id=of.id, kind=kind, run_id=run_id, accepted=True, reason="", comparison=said, owner="ada")
        )
        db.flush()

    decided(cats, 1, 0.7)
    decided(cats, 1, 0.8, "structure")
    decided(cats, 1, 0.1, "rollback")  # measures nothing
    decided(cats, 2, None)
    decided(cats, None, 0.5)
    decided(dogs, 1, 0.9)
    wanted = [(cats.id, 1), (cats.id, 2), (cats.id, 3), (dogs.id, 1)]
    assert accuracies_at_gate(db, wanted) == {(cats.id, 1): 0.8, (dogs.id, 1): 0.9}
    assert accuracy_at_gate(db, cats, 1) == 0.8
    assert accuracy_at_gate(db, cats, 2) is None
    assert accuracies_at_gate(db, []) == {}
