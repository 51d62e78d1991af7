"""waiting: indexes by which labels that wait for a round are counted without reading them

Revision ID: 0027
Revises: 0026
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_round_annotations_round_id", table_name="round_annotations")
    op.create_index("ix_round_annotations_round_id_confirmed_id", "round_annotations", ["round_id", "confirmed_id"])
    op.create_index(
        "ix_confirmed_annotations_corrections",
        "confirmed_annotations",
        ["dataset_id", "supersedes_id"],
        postgresql_where=sa.text("supersedes_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_confirmed_annotations_corrections", table_name="confirmed_annotations")
    op.drop_index("ix_round_annotations_round_id_confirmed_id", table_name="round_annotations")
    op.create_index("ix_round_annotations_round_id", "round_annotations", ["round_id"])
