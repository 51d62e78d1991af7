"""Searches for a structure, over the API, as a client and a terminal read them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.orm import Session
from test_data_cli import run  # noqa: F401 - fixture

from learnloop.database import Dataset, Round
from learnloop.loop.structure import ask, begin_trial, decide, end_trial, fail_trial


@pytest.fixture
def searched(app: Any, db: Session) -> int:
    """One that was not needed, and one by hand: the current structure, a better one, and one that failed."""
    for name in ("pets", "others"):
        db.add(Dataset(name=name, task_type="image_classification", loop={"classes": ["a", "b"]}, owner="ada"))
    db.flush()
    dataset = db.query(Dataset).filter_by(name="pets").one()
    metrics = {"comparison": {"candidate": {"accuracy": 0.8}}}
    db.add(Round(dataset_id=dataset.id, number=0, state="accepted", labels=60, metrics=metrics, owner="ada"))
    ask(db, dataset, run_id="structure-pets-0", owner="service:learnloop")
    search = ask(db, dataset, run_id="manual", owner="ada", by_hand=True, trials=3)
    for number in range(3):
        begin_trial(db, search.id, number)
    for number, accuracy in ((0, 0.8), (1, 0.9)):
        accuracies = [accuracy + part for part in [0.01, -0.01] * 5]
        result = {"accuracies": accuracies, "accuracy": accuracy, "folds": 5, "latency_ms": 0.1, "model_bytes": 5000}
        end_trial(db, search.id, number, result, "/models/x")
    fail_trial(db, search.id, 2, "the node went away")
    decide(db, search.id)
    db.commit()
    return search.id


def test_searches_are_listed_and_shown(searched: int, as_user: Any) -> None:
    viewer = as_user("vic", "viewer")
    newest, before = viewer.get("/datasets/pets/structure/searches").json()["items"]
    assert (newest["id"], newest["state"], newest["chosen"]) == (searched, "changed", 1)
    assert (before["state"], before["trials"], before["decided_at"]) == ("not_needed", 0, None)
    assert "90 would be a reason" in before["reason"]
    shown = viewer.get(f"/datasets/pets/structure/searches/{searched}").json()
    assert [trial["structure"] for trial in shown["tried"]] == ["mlp 32", "mlp 64", "mlp 32-32, grown"]
    assert [trial["state"] for trial in shown["tried"]] == ["done", "done", "failed"]
    assert [trial["reason"] for trial in shown["tried"]][::2] == ["replaced by mlp 64", "the node went away"]
    assert (shown["tried"][1]["accuracy"], shown["tried"][1]["on_front"]) == (0.9, True)


def test_what_is_not_there_and_who_may_not(searched: int, as_user: Any) -> None:
    viewer = as_user("vic", "viewer")
    assert viewer.get("/datasets/nobody/structure/searches").status_code == 404
    assert viewer.get(f"/datasets/others/structure/searches/{searched}").status_code == 404
    assert (
        f"no structure search {searched}"
        in viewer.get(f"/datasets/others/structure/searches/{searched}").json()["detail"]
    )
    assert as_user("eve").get("/datasets/pets/structure/searches").status_code == 403


def test_a_terminal_shows_them(searched: int, run: Any) -> None:  # noqa: F811 - fixture
    listed = run("sam", "model", "structure", "pets").output
    assert "not_needed" in listed
    shown = " ".join(run("sam", "model", "structure", "pets", str(searched)).output.split())
    assert "changed: mlp 64 is better than mlp 32" in shown
    assert "chosen" in shown
