"""job usage, beside what was asked for; indexes for what a scrape asks of each model version

Revision ID: 0026
Revises: 0025
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    task = ("dag_id", "run_id", "task_id")
    op.create_table(
        "job_usages",
        sa.Column("id", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.String(length=250), nullable=False) for name in task),
        sa.Column("map_index", sa.Integer(), nullable=False),
        sa.Column("try_number", sa.Integer(), nullable=False),
        sa.Column("runner", sa.String(length=20), nullable=False),
        sa.Column("asked_cpu", sa.Float(), nullable=False),
        sa.Column("asked_memory", sa.BigInteger(), nullable=False),
        sa.Column("asked_gpu", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("cpu_seconds", sa.Float(), nullable=True),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("gpu_memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_usages")),
        sa.UniqueConstraint(
            *task, "map_index", "try_number", name=op.f("uq_job_usages_dag_id_run_id_task_id_map_index_try_number")
        ),
    )
    op.create_index("ix_job_usages_created_at", "job_usages", ["created_at"])
    op.drop_index("ix_annotation_tasks_random", table_name="annotation_tasks")
    random = sa.text("kind = 'label' AND reason ->> 'strategy' = 'random'")
    version = sa.text("((reason ->> 'model_version')::integer)")
    op.create_index(
        "ix_annotation_tasks_random", "annotation_tasks", ["dataset_id", version, "id"], postgresql_where=random
    )
    op.create_index(
        "ix_decisions_model_version",
        "decisions",
        ["dataset_id", sa.text("((comparison ->> 'model_version')::integer)"), "id"],
    )


def downgrade() -> None:
    op.drop_index("ix_decisions_model_version", table_name="decisions")
    op.drop_index("ix_annotation_tasks_random", table_name="annotation_tasks")
    random = sa.text("kind = 'label' AND reason ->> 'strategy' = 'random'")
    op.create_index("ix_annotation_tasks_random", "annotation_tasks", ["dataset_id", "id"], postgresql_where=random)
    op.drop_table("job_usages")
