"""Going back before reviews and undo, with rows of theirs in the tables: answers stay, and the old rules hold."""

from __future__ import annotations

from sqlalchemy import create_engine, text
from test_migrations import empty_database  # noqa: F401 - a fixture

from learnloop.database.migrate import downgrade, upgrade

ROWS = """
INSERT INTO datasets (id, name, task_type, description, loop, owner)
VALUES (1, 'pets', 'image_classification', '', '{}', 'ada');
INSERT INTO annotation_tasks (id, dataset_id, kind, sample_id, path, object, prediction, reason, state, owner) VALUES
    (1, 1, 'label', 's1', 'x', '0', '{}', '{}', 'review', 'ada'),
    (2, 1, 'label', 's2', 'x', '0', '{}', '{}', 'rejected', 'ada'),
    (3, 1, 'label', 's3', 'x', '0', '{}', '{}', 'confirmed', 'ada');
INSERT INTO reviews (id, dataset_id, task_id, kind, reason, facts, decision, label, decision_reason, decided_by, owner)
VALUES (1, 1, 3, 'disagreement', '', '{}', 'confirm', 'dog', '', 'ann', 'service');
INSERT INTO annotations (dataset_id, task_id, label, comment, outcome, outcome_reason, owner, withdrawn_at, review_id) VALUES
    (1, 1, 'cat', '', 'withdrawn', '', 'ann', now(), NULL),
    (1, 1, 'dog', '', 'checked', '', 'ann', NULL, NULL),
    (1, 3, 'cat', '', 'rejected', '', 'ann', NULL, NULL),
    (1, 3, 'dog', '', 'confirmed', '', 'ann', NULL, 1);
"""


def test_answers_stay_when_the_schema_goes_back(empty_database: str) -> None:  # noqa: F811
    upgrade(empty_database)
    engine = create_engine(empty_database)
    with engine.begin() as connection:
        connection.execute(text(ROWS))
    downgrade(empty_database, "0013")
    with engine.connect() as connection:
        states = connection.execute(text("SELECT state FROM annotation_tasks ORDER BY id")).scalars().all()
        answers = connection.execute(text("SELECT task_id, label, outcome, owner FROM annotations ORDER BY id")).all()
    assert states == ["open", "cancelled", "confirmed"]
    assert [tuple(row) for row in answers] == [
        (1, "dog", "pending", "ann"),
        (3, "cat", "rejected", "ann"),
        (3, "dog", "confirmed", "ann (review 1)"),
    ]
    upgrade(empty_database)
    engine.dispose()
