"""what people are told, and how far their jobs are

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def _now(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("key", sa.String(600), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("link", sa.Text, nullable=False),
        sa.Column("dag_id", sa.String(250), nullable=False),
        sa.Column("run_id", sa.String(250), nullable=False),
        sa.Column("owner", sa.String(250), nullable=False),
        _now("created_at"),
        sa.CheckConstraint("kind IN ('admitted', 'needs_answer', 'finished', 'failed')", name=op.f("ck_events_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("key", name=op.f("uq_events_key")),
    )
    op.create_index("ix_events_owner_id", "events", ["owner", "id"])
    op.create_index("ix_events_created_at", "events", ["created_at"])
    op.create_table(
        "event_deliveries",
        sa.Column("event_id", sa.BigInteger, nullable=False),
        sa.Column("channel", sa.String(10), nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        _now("next_try_at", nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("channel IN ('mail', 'webhook')", name=op.f("ck_event_deliveries_channel")),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], ondelete="CASCADE", name=op.f("fk_event_deliveries_event_id_events")
        ),
        sa.PrimaryKeyConstraint("event_id", "channel", name=op.f("pk_event_deliveries")),
    )
    op.create_index(
        "ix_event_deliveries_waiting", "event_deliveries", ["next_try_at"], postgresql_where=sa.text("sent_at IS NULL")
    )
    op.create_table(
        "notification_settings",
        sa.Column("owner", sa.String(250), nullable=False),
        sa.Column("mail", sa.String(320), nullable=True),
        sa.Column("webhook", sa.Text, nullable=True),
        sa.Column("kinds", _JSON, nullable=False),
        _now("updated_at"),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_notification_settings")),
    )
    op.create_table(
        "job_progress",
        sa.Column("dag_id", sa.String(250), nullable=False),
        sa.Column("run_id", sa.String(250), nullable=False),
        sa.Column("task_id", sa.String(250), nullable=False),
        sa.Column("map_index", sa.Integer, nullable=False),
        sa.Column("line", _JSON, nullable=False),
        _now("updated_at"),
        sa.Column("owner", sa.String(250), nullable=False),
        _now("created_at"),
        sa.PrimaryKeyConstraint("dag_id", "run_id", "task_id", "map_index", name=op.f("pk_job_progress")),
    )
    op.create_index("ix_job_progress_updated_at", "job_progress", ["updated_at"])


def downgrade() -> None:
    for table in ("job_progress", "notification_settings", "event_deliveries", "events"):
        op.drop_table(table)
