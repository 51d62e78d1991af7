"""lists: indexes for what is listed and shown, and the number of each confirmed label

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

GIVEN = sa.text("label IS NOT NULL AND withdrawn_at IS NULL AND review_id IS NULL")
RANDOM = sa.text("kind = 'label' AND reason ->> 'strategy' = 'random'")
NEWEST = sa.text("(-id)")
LABEL = sa.text("(prediction ->> 'label')")


def upgrade() -> None:
    op.add_column("confirmed_annotations", sa.Column("number", sa.Integer(), nullable=True))
    op.execute(
        """
        UPDATE confirmed_annotations SET number = counted.number FROM (
            SELECT id, row_number() OVER (PARTITION BY dataset_id ORDER BY id) AS number FROM confirmed_annotations
        ) AS counted WHERE counted.id = confirmed_annotations.id
        """
    )
    op.alter_column("confirmed_annotations", "number", nullable=False)
    op.create_unique_constraint(
        op.f("uq_confirmed_annotations_dataset_id_number"), "confirmed_annotations", ["dataset_id", "number"]
    )
    op.create_index("ix_annotations_given", "annotations", ["dataset_id", "owner"], postgresql_where=GIVEN)
    op.create_index("ix_annotations_task_id", "annotations", ["task_id", "id"])
    op.create_index(
        "ix_annotations_skipped", "annotations", ["owner", "task_id"], postgresql_where=sa.text("outcome = 'skipped'")
    )
    op.create_index("ix_annotation_tasks_state", "annotation_tasks", ["dataset_id", "state", NEWEST])
    op.create_index(
        "ix_annotation_tasks_open_label",
        "annotation_tasks",
        ["dataset_id", LABEL, NEWEST],
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index("ix_annotation_tasks_random", "annotation_tasks", ["dataset_id", "id"], postgresql_where=RANDOM)
    op.create_index("ix_dataset_version_parents_parent_id", "dataset_version_parents", ["parent_id"])
    op.create_index("ix_rounds_base_version_id", "rounds", ["base_version_id"])
    op.create_index("ix_rounds_version_id", "rounds", ["version_id"])


def downgrade() -> None:
    op.drop_index("ix_rounds_version_id", "rounds")
    op.drop_index("ix_rounds_base_version_id", "rounds")
    op.drop_index("ix_dataset_version_parents_parent_id", "dataset_version_parents")
    op.drop_index("ix_annotation_tasks_random", "annotation_tasks")
    op.drop_index("ix_annotation_tasks_open_label", "annotation_tasks")
    op.drop_index("ix_annotation_tasks_state", "annotation_tasks")
    op.drop_index("ix_annotations_skipped", "annotations")
    op.drop_index("ix_annotations_task_id", "annotations")
    op.drop_index("ix_annotations_given", "annotations")
    op.drop_constraint(op.f("uq_confirmed_annotations_dataset_id_number"), "confirmed_annotations")
    op.drop_column("confirmed_annotations", "number")
