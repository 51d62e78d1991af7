"""live requests to models in pods: who may read what the pods noted, and what was read

Revision ID: 0025
Revises: 0024
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "live_readers",
        sa.Column("model_name", sa.String(length=200), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("model_name", name=op.f("pk_live_readers")),
    )
    op.create_table(
        "live_readings",
        sa.Column("pod", sa.String(length=36), nullable=False),
        sa.Column("instance", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("pod", name=op.f("pk_live_readings")),
    )


def downgrade() -> None:
    op.drop_table("live_readings")
    op.drop_table("live_readers")
