"""Where a dataset's loop is, over the API and on a terminal."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session
from test_data_cli import run  # noqa: F401 - fixture

from learnloop.database import Dataset


@pytest.fixture
def dataset(db: Session) -> Dataset:
    made = Dataset(name="pets", task_type="image_classification", loop={"classes": ["cat", "dog"]}, owner="ada")
    db.add(made)
    db.commit()
    return made


def test_a_program_is_told_where_it_is(dataset: Dataset, as_user) -> None:
    found = as_user("vic", "viewer").get("/datasets/pets/loop").json()
    assert found["now"] == 1
    assert [step["state"] for step in found["steps"]] == ["now", *["ahead"] * 6]
    assert found["needs"][0]["said"] == "No model serves: train the base model."
    assert found["progress"]["needed"] > 0
    assert as_user("vic", "viewer").get("/datasets/nothing/loop").status_code == 404


def test_a_terminal_shows_the_seven_steps(run, dataset: Dataset) -> None:  # noqa: F811 - fixture
    said = run("vic", "loop", "pets").stdout
    assert "Base model" in said
    assert "Structure" in said
    assert "waits for a person: No model serves: train the base model." in " ".join(said.split())
