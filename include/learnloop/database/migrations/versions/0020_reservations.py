"""admission: what jobs hold of the nodes, or wait for

Revision ID: 0020
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "reservations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("runner", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("dag_id", sa.String(length=250), nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("task_id", sa.String(length=250), nullable=False),
        sa.Column("map_index", sa.Integer(), nullable=False),
        sa.Column("try_number", sa.Integer(), nullable=False),
        sa.Column("cpu", sa.BigInteger(), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=False),
        sa.Column("gpu", sa.Integer(), nullable=False),
        sa.Column("node_pool", sa.String(length=250), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("place", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("node", sa.String(length=253), nullable=True),
        sa.Column("planned_at", moment, nullable=True),
        sa.Column("seen_at", moment, nullable=False),
        sa.Column("admitted_at", moment, nullable=True),
        sa.Column("begun_at", moment, nullable=True),
        sa.Column("released_at", moment, nullable=True),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'admitted', 'begun', 'released')", name=op.f("ck_reservations_state")),
        sa.CheckConstraint(
            "state IN ('waiting', 'released') OR admitted_at IS NOT NULL", name=op.f("ck_reservations_admitted")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reservations")),
    )
    op.create_index(
        "ix_reservations_live",
        "reservations",
        ["runner", "owner", "key"],
        unique=True,
        postgresql_where=sa.text("state <> 'released'"),
    )
    op.create_index(
        "ix_reservations_released_at", "reservations", ["released_at"], postgresql_where=sa.text("state = 'released'")
    )
    op.create_table(
        "capacity",
        sa.Column("runner", sa.String(length=20), nullable=False),
        sa.Column("decided_at", moment, nullable=False),
        sa.Column(
            "report", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.PrimaryKeyConstraint("runner", name=op.f("pk_capacity")),
    )


def downgrade() -> None:
    op.drop_table("capacity")
    op.drop_table("reservations")
