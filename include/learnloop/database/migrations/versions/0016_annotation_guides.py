"""what annotators of a dataset are told; gold tasks that are given back

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    op.create_table(
        "annotation_guides",
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("instructions", sa.Text(), nullable=False),
        sa.Column("classes", json, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("owner", sa.String(250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_annotation_guides_dataset_id")),
        sa.PrimaryKeyConstraint("dataset_id", name=op.f("pk_annotation_guides")),
    )
    given_back = sa.text("state = 'open' AND kind = 'gold'")
    op.create_index(
        "ix_annotation_tasks_open_gold", "annotation_tasks", ["dataset_id", "owner"], postgresql_where=given_back
    )


def downgrade() -> None:
    """A gold task that was given back would be handed to anybody: it goes, and is made anew when one is due."""
    op.drop_index("ix_annotation_tasks_open_gold", table_name="annotation_tasks")
    op.execute("UPDATE annotation_tasks SET state = 'cancelled' WHERE state = 'open' AND kind = 'gold'")
    op.drop_table("annotation_guides")
