"""merge requests, their conflicts, and who answered for them

Revision ID: 0003
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "merge_requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("base_id", sa.Integer(), nullable=True),
        sa.Column("ours_id", sa.Integer(), nullable=False),
        sa.Column("theirs_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column(
            "report", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("closed_by", sa.String(length=250), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(state = 'merged') = (version_id IS NOT NULL)", name=op.f("ck_merge_requests_version")),
        sa.CheckConstraint("(state = 'open') = (closed_by IS NULL)", name=op.f("ck_merge_requests_closed")),
        sa.CheckConstraint("state IN ('open', 'merged', 'cancelled')", name=op.f("ck_merge_requests_state")),
        sa.ForeignKeyConstraint(
            ["base_id"], ["dataset_versions.id"], name=op.f("fk_merge_requests_base_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_merge_requests_dataset_id")),
        sa.ForeignKeyConstraint(
            ["ours_id"], ["dataset_versions.id"], name=op.f("fk_merge_requests_ours_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["theirs_id"], ["dataset_versions.id"], name=op.f("fk_merge_requests_theirs_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["dataset_versions.id"], name=op.f("fk_merge_requests_version_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merge_requests")),
    )
    op.create_index("ix_merge_requests_dataset_id_id", "merge_requests", ["dataset_id", "id"], unique=False)
    op.create_index(
        "uq_merge_requests_live",
        "merge_requests",
        ["theirs_id"],
        unique=True,
        postgresql_where=sa.text("state <> 'cancelled'"),
    )
    op.create_table(
        "merge_conflicts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("merge_id", sa.Integer(), nullable=False),
        sa.Column("place", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=7), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column(
            "values", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column(
            "advice", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("answer", sa.String(length=6), nullable=True),
        sa.Column("answer_reason", sa.Text(), nullable=False),
        sa.Column("answered_by", sa.String(length=250), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("answer IN ('ours', 'theirs', 'base')", name=op.f("ck_merge_conflicts_answer")),
        sa.CheckConstraint("kind IN ('file', 'record', 'setting')", name=op.f("ck_merge_conflicts_kind")),
        sa.CheckConstraint("(answer IS NULL) = (answered_by IS NULL)", name=op.f("ck_merge_conflicts_answered")),
        sa.ForeignKeyConstraint(
            ["merge_id"], ["merge_requests.id"], name=op.f("fk_merge_conflicts_merge_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merge_conflicts")),
        sa.UniqueConstraint("merge_id", "place", name=op.f("uq_merge_conflicts_merge_id_place")),
    )
    op.create_table(
        "responders",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dag_id", sa.String(length=250), nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("task_id", sa.String(length=250), nullable=False),
        sa.Column(
            "roles", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_responders")),
        sa.UniqueConstraint(
            "dag_id", "run_id", "task_id", "owner", name=op.f("uq_responders_dag_id_run_id_task_id_owner")
        ),
    )


def downgrade() -> None:
    op.drop_table("responders")
    op.drop_table("merge_conflicts")
    op.drop_index(
        "uq_merge_requests_live", table_name="merge_requests", postgresql_where=sa.text("state <> 'cancelled'")
    )
    op.drop_index("ix_merge_requests_dataset_id_id", table_name="merge_requests")
    op.drop_table("merge_requests")
