"""serving: canaries; what live requests were like, and samples of them that people are to label

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    op.add_column("deployments", sa.Column("canary_version", sa.Integer(), nullable=True))
    op.add_column("deployments", sa.Column("canary_percent", sa.Integer(), server_default="0", nullable=False))
    op.create_check_constraint(op.f("ck_deployments_canary_percent"), "deployments", "canary_percent BETWEEN 0 AND 99")
    op.create_check_constraint(
        op.f("ck_deployments_canary"), "deployments", "(canary_version IS NULL) = (canary_percent = 0)"
    )
    op.create_table(
        "live_windows",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("model_name", sa.String(length=200), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("counts", json, nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_live_windows_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_live_windows")),
        sa.UniqueConstraint(
            "model_name",
            "model_version",
            "started_at",
            name=op.f("uq_live_windows_model_name_model_version_started_at"),
        ),
    )
    op.create_table(
        "live_samples",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("md5", sa.String(length=32), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_live_samples_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_live_samples")),
        sa.UniqueConstraint("dataset_id", "md5", name=op.f("uq_live_samples_dataset_id_md5")),
    )


def downgrade() -> None:
    op.drop_table("live_samples")
    op.drop_table("live_windows")
    op.drop_constraint(op.f("ck_deployments_canary"), "deployments")
    op.drop_constraint(op.f("ck_deployments_canary_percent"), "deployments")
    op.drop_column("deployments", "canary_percent")
    op.drop_column("deployments", "canary_version")
