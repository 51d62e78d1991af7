"""Confirmed labels that were there before they had numbers get them, in the order they came, for each dataset."""

from __future__ import annotations

from sqlalchemy import create_engine, text
from test_migrations import empty_database  # noqa: F401 - a fixture

from learnloop.database.migrate import downgrade, upgrade

ROWS = """
INSERT INTO datasets (id, name, task_type, description, loop, owner)
SELECT n, 'pets' || n, 'image_classification', '', '{}', 'ada' FROM generate_series(1, 2) AS n;
INSERT INTO batches (id, dataset_id, name, tree, samples, provenance, owner)
SELECT n, n, 'b', 'x.dir', 3, '{}', 'ada' FROM generate_series(1, 2) AS n;
INSERT INTO annotation_tasks (id, dataset_id, batch_id, kind, sample_id, path, object, prediction, reason, state, owner)
SELECT n, 1 + n % 2, 1 + n % 2, 'label', 's' || n, 'x', '0', '{}', '{}', 'confirmed', 'ada' FROM generate_series(1, 5) AS n;
INSERT INTO annotations (id, dataset_id, task_id, label, comment, outcome, outcome_reason, owner)
SELECT id, dataset_id, id, 'cat', '', 'confirmed', '', 'ann' FROM annotation_tasks;
INSERT INTO confirmed_annotations (id, dataset_id, batch_id, annotation_id, sample_id, label, confirmed_by, owner)
SELECT 10 - id, dataset_id, batch_id, id, sample_id, 'cat', 'two agree', 'ann' FROM annotation_tasks;
"""


def test_labels_that_were_there_are_numbered(empty_database: str) -> None:  # noqa: F811
    upgrade(empty_database)
    downgrade(empty_database, "0014")
    engine = create_engine(empty_database)
    with engine.begin() as connection:
        connection.execute(text(ROWS))
    upgrade(empty_database)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT dataset_id, number, id FROM confirmed_annotations ORDER BY 1, 2")).all()
    assert [tuple(row) for row in rows] == [(1, 1, 6), (1, 2, 8), (2, 1, 5), (2, 2, 7), (2, 3, 9)]
    engine.dispose()
