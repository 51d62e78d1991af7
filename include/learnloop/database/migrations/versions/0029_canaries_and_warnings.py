"""canaries: by which rules they are judged, and what was counted of them; events that warn of a job

Revision ID: 0029
Revises: 0028
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

KINDS = ("admitted", "needs_answer", "finished", "failed")


def kinds(*names: str) -> None:
    op.drop_constraint(op.f("ck_events_kind"), "events", type_="check")
    listed = ", ".join(f"'{name}'" for name in names)
    op.create_check_constraint(op.f("ck_events_kind"), "events", f"kind IN ({listed})")


def upgrade() -> None:
    op.create_table(
        "canary_watches",
        sa.Column("deployment_id", sa.Integer(), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("canary_version", sa.Integer(), nullable=False),
        sa.Column("rules", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("seen", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"],
            ["deployments.id"],
            name=op.f("fk_canary_watches_deployment_id_deployments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("deployment_id", name=op.f("pk_canary_watches")),
    )
    kinds(*KINDS, "warning")


def downgrade() -> None:
    op.execute("UPDATE events SET kind = 'admitted' WHERE kind = 'warning'")  # the older schema has no word for it
    kinds(*KINDS)
    op.drop_table("canary_watches")
