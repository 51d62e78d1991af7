"""structure: searches for a better structure, and what each tried

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    op.create_table(
        "structure_searches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("facts", json, nullable=False),
        sa.Column("space", json, nullable=False),
        sa.Column("trials", sa.Integer(), nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("chosen", sa.Integer(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('not_needed', 'searching', 'changed', 'unchanged')", name=op.f("ck_structure_searches_state")
        ),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_structure_searches_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_structure_searches")),
        sa.UniqueConstraint("run_id", name=op.f("uq_structure_searches_run_id")),
    )
    op.create_index("ix_structure_searches_dataset_id_id", "structure_searches", ["dataset_id", "id"])
    op.create_table(
        "structure_trials",
        sa.Column("search_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("candidate", json, nullable=False),
        sa.Column("described", sa.String(length=300), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("result", json, nullable=False),
        sa.Column("models_dir", sa.Text(), nullable=False),
        sa.Column("on_front", sa.Boolean(), nullable=True),
        sa.Column("model_version", sa.Integer(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state IN ('running', 'done', 'failed', 'skipped')", name=op.f("ck_structure_trials_state")),
        sa.ForeignKeyConstraint(["search_id"], ["structure_searches.id"], name=op.f("fk_structure_trials_search_id")),
        sa.PrimaryKeyConstraint("search_id", "number", name=op.f("pk_structure_trials")),
    )


def downgrade() -> None:
    op.drop_table("structure_trials")
    op.drop_index("ix_structure_searches_dataset_id_id", table_name="structure_searches")
    op.drop_table("structure_searches")
