"""the first schema

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("task_type", sa.String(length=50), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column(
            "loop", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("head_id", sa.Integer(), nullable=True),
        sa.Column("fencing_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
        sa.UniqueConstraint("name", name=op.f("uq_datasets_name")),
    )
    op.create_table(
        "idempotent_requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column(
            "response", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotent_requests")),
    )
    op.create_index("uq_idempotent_requests_owner_key", "idempotent_requests", ["owner", "key"], unique=True)
    op.create_table(
        "model_leases",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_name", sa.String(length=200), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(length=250), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_leases")),
        sa.UniqueConstraint(
            "model_name", "model_version", "holder", name=op.f("uq_model_leases_model_name_model_version_holder")
        ),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("topic", sa.String(length=100), nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column(
            "payload", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("key", name=op.f("uq_outbox_key")),
    )
    op.create_index(
        "ix_outbox_undelivered", "outbox", ["id"], unique=False, postgresql_where=sa.text("delivered_at IS NULL")
    )
    op.create_table(
        "server_replicas",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_server_replicas")),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("tree", sa.String(length=36), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column(
            "provenance", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_batches_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("dataset_id", "name", name=op.f("uq_batches_dataset_id_name")),
        sa.UniqueConstraint("dataset_id", "tree", name=op.f("uq_batches_dataset_id_tree")),
    )
    op.create_table(
        "dataset_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=400), nullable=False),
        sa.Column("major", sa.Integer(), nullable=False),
        sa.Column("minor", sa.Integer(), nullable=False),
        sa.Column("personal_to", sa.String(length=250), nullable=True),
        sa.Column("tree", sa.String(length=36), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column(
            "provenance", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("idempotency_key", sa.String(length=250), nullable=True),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_dataset_versions_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_versions")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_dataset_versions_idempotency_key")),
        sa.UniqueConstraint("name", name=op.f("uq_dataset_versions_name")),
    )
    op.create_index("ix_dataset_versions_dataset_id_id", "dataset_versions", ["dataset_id", "id"], unique=False)
    op.create_index(
        "uq_dataset_versions_shared_number",
        "dataset_versions",
        ["dataset_id", "major", "minor"],
        unique=True,
        postgresql_where=sa.text("personal_to IS NULL"),
    )
    op.create_table(
        "deployments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("model_name", sa.String(length=200), nullable=False),
        sa.Column("alias", sa.String(length=50), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("previous_version", sa.Integer(), nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_deployments_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployments")),
        sa.UniqueConstraint("model_name", "alias", name=op.f("uq_deployments_model_name_alias")),
    )
    op.create_table(
        "gold_questions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("sample_id", sa.String(length=250), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("object", sa.String(length=32), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column(
            "prediction", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_gold_questions_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gold_questions")),
        sa.UniqueConstraint("dataset_id", "sample_id", name=op.f("uq_gold_questions_dataset_id_sample_id")),
    )
    op.create_table(
        "locks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(length=5), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("mode IN ('read', 'write')", name=op.f("ck_locks_mode")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_locks_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_locks")),
    )
    op.create_index(
        "uq_locks_one_writer", "locks", ["dataset_id"], unique=True, postgresql_where=sa.text("mode = 'write'")
    )
    op.create_table(
        "policy_evaluations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("due", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "facts", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_policy_evaluations_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_evaluations")),
    )
    op.create_index("ix_policy_evaluations_dataset_id_id", "policy_evaluations", ["dataset_id", "id"], unique=False)
    op.create_table(
        "dataset_version_parents",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["dataset_versions.id"], name=op.f("fk_dataset_version_parents_parent_id")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["dataset_versions.id"],
            name=op.f("fk_dataset_version_parents_version_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("version_id", "parent_id", name=op.f("pk_dataset_version_parents")),
    )
    op.create_table(
        "deployment_statuses",
        sa.Column("replica", sa.String(length=100), nullable=False),
        sa.Column("deployment_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("served_version", sa.Integer(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"], ["deployments.id"], name=op.f("fk_deployment_statuses_deployment_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("replica", "deployment_id", name=op.f("pk_deployment_statuses")),
    )
    op.create_table(
        "rounds",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("base_version_id", sa.Integer(), nullable=True),
        sa.Column("version_id", sa.Integer(), nullable=True),
        sa.Column("model_name", sa.String(length=200), nullable=True),
        sa.Column("parent_model_version", sa.Integer(), nullable=True),
        sa.Column("model_version", sa.Integer(), nullable=True),
        sa.Column(
            "metrics", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("labels", sa.Integer(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("served_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('requested', 'running', 'accepted', 'rejected', 'failed')", name=op.f("ck_rounds_state")
        ),
        sa.ForeignKeyConstraint(["base_version_id"], ["dataset_versions.id"], name=op.f("fk_rounds_base_version_id")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_rounds_dataset_id")),
        sa.ForeignKeyConstraint(["version_id"], ["dataset_versions.id"], name=op.f("fk_rounds_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rounds")),
        sa.UniqueConstraint("dataset_id", "number", name=op.f("uq_rounds_dataset_id_number")),
    )
    op.create_index(
        "uq_rounds_one_open",
        "rounds",
        ["dataset_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('requested', 'running')"),
    )
    op.create_table(
        "scoring_runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("model_name", sa.String(length=200), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("predictions", sa.Text(), nullable=False),
        sa.Column("strategy", sa.String(length=100), nullable=False),
        sa.Column("scored", sa.Integer(), nullable=False),
        sa.Column("chosen", sa.Integer(), nullable=False),
        sa.Column(
            "summary", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_scoring_runs_batch_id")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_scoring_runs_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scoring_runs")),
        sa.UniqueConstraint("run_id", name=op.f("uq_scoring_runs_run_id")),
    )
    op.create_table(
        "annotation_tasks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=True),
        sa.Column("scoring_run_id", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(length=5), nullable=False),
        sa.Column("sample_id", sa.String(length=250), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("object", sa.String(length=32), nullable=False),
        sa.Column(
            "prediction", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column(
            "reason", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("gold_label", sa.String(length=200), nullable=True),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("claimed_by", sa.String(length=250), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(kind = 'gold') = (gold_label IS NOT NULL)", name=op.f("ck_annotation_tasks_gold")),
        sa.CheckConstraint(
            "(state = 'claimed') = (claimed_by IS NOT NULL AND lease_expires_at IS NOT NULL)",
            name=op.f("ck_annotation_tasks_lease"),
        ),
        sa.CheckConstraint("kind IN ('label', 'gold')", name=op.f("ck_annotation_tasks_kind")),
        sa.CheckConstraint(
            "state IN ('open', 'claimed', 'answered', 'confirmed', 'cancelled')", name=op.f("ck_annotation_tasks_state")
        ),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_annotation_tasks_batch_id")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_annotation_tasks_dataset_id")),
        sa.ForeignKeyConstraint(
            ["scoring_run_id"], ["scoring_runs.id"], name=op.f("fk_annotation_tasks_scoring_run_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotation_tasks")),
    )
    op.create_index(
        "ix_annotation_tasks_claimed",
        "annotation_tasks",
        ["dataset_id", "lease_expires_at"],
        unique=False,
        postgresql_where=sa.text("state = 'claimed'"),
    )
    op.create_index(
        "ix_annotation_tasks_open",
        "annotation_tasks",
        ["dataset_id", sa.literal_column("priority DESC"), "id"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        "uq_annotation_tasks_live_sample",
        "annotation_tasks",
        ["dataset_id", "sample_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'label' AND state <> 'cancelled'"),
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("round_id", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(length=30), nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "comparison", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_decisions_dataset_id")),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_decisions_round_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("kind", "run_id", name=op.f("uq_decisions_kind_run_id")),
    )
    op.create_table(
        "annotations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=True),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("outcome_reason", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(outcome = 'skipped') = (label IS NULL)", name=op.f("ck_annotations_label")),
        sa.CheckConstraint(
            "outcome IN ('pending', 'confirmed', 'second_opinion', 'rejected', 'gold_right', 'gold_wrong', 'skipped')",
            name=op.f("ck_annotations_outcome"),
        ),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_annotations_dataset_id")),
        sa.ForeignKeyConstraint(["task_id"], ["annotation_tasks.id"], name=op.f("fk_annotations_task_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotations")),
        sa.UniqueConstraint("task_id", "owner", name=op.f("uq_annotations_task_id_owner")),
    )
    op.create_index("ix_annotations_dataset_id_owner_id", "annotations", ["dataset_id", "owner", "id"], unique=False)
    op.create_index(
        "ix_annotations_pending",
        "annotations",
        ["dataset_id", "owner"],
        unique=False,
        postgresql_where=sa.text("outcome = 'pending'"),
    )
    op.create_table(
        "confirmed_annotations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("annotation_id", sa.Integer(), nullable=False),
        sa.Column("sample_id", sa.String(length=250), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("confirmed_by", sa.Text(), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("supersedes_id", sa.Integer(), nullable=True),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotation_id"], ["annotations.id"], name=op.f("fk_confirmed_annotations_annotation_id")
        ),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_confirmed_annotations_batch_id")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_confirmed_annotations_dataset_id")),
        sa.ForeignKeyConstraint(
            ["supersedes_id"], ["confirmed_annotations.id"], name=op.f("fk_confirmed_annotations_supersedes_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_confirmed_annotations")),
        sa.UniqueConstraint("annotation_id", name=op.f("uq_confirmed_annotations_annotation_id")),
        sa.UniqueConstraint("supersedes_id", name=op.f("uq_confirmed_annotations_supersedes_id")),
    )
    op.create_index(
        "ix_confirmed_annotations_dataset_id_id", "confirmed_annotations", ["dataset_id", "id"], unique=False
    )
    op.create_table(
        "round_annotations",
        sa.Column("confirmed_id", sa.Integer(), nullable=False),
        sa.Column("round_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["confirmed_id"], ["confirmed_annotations.id"], name=op.f("fk_round_annotations_confirmed_id")
        ),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_round_annotations_round_id")),
        sa.PrimaryKeyConstraint("confirmed_id", name=op.f("pk_round_annotations")),
    )
    op.create_index(op.f("ix_round_annotations_round_id"), "round_annotations", ["round_id"], unique=False)
    # Datasets and their versions refer to each other: the second of the two references comes last.
    op.create_foreign_key(op.f("fk_datasets_head_id"), "datasets", "dataset_versions", ["head_id"], ["id"])


def downgrade() -> None:
    op.drop_constraint(op.f("fk_datasets_head_id"), "datasets", type_="foreignkey")
    op.drop_index(op.f("ix_round_annotations_round_id"), table_name="round_annotations")
    op.drop_table("round_annotations")
    op.drop_index("ix_confirmed_annotations_dataset_id_id", table_name="confirmed_annotations")
    op.drop_table("confirmed_annotations")
    op.drop_index("ix_annotations_pending", table_name="annotations", postgresql_where=sa.text("outcome = 'pending'"))
    op.drop_index("ix_annotations_dataset_id_owner_id", table_name="annotations")
    op.drop_table("annotations")
    op.drop_table("decisions")
    op.drop_index(
        "uq_annotation_tasks_live_sample",
        table_name="annotation_tasks",
        postgresql_where=sa.text("kind = 'label' AND state <> 'cancelled'"),
    )
    op.drop_index("ix_annotation_tasks_open", table_name="annotation_tasks", postgresql_where=sa.text("state = 'open'"))
    op.drop_index(
        "ix_annotation_tasks_claimed", table_name="annotation_tasks", postgresql_where=sa.text("state = 'claimed'")
    )
    op.drop_table("annotation_tasks")
    op.drop_table("scoring_runs")
    op.drop_index(
        "uq_rounds_one_open", table_name="rounds", postgresql_where=sa.text("state IN ('requested', 'running')")
    )
    op.drop_table("rounds")
    op.drop_table("deployment_statuses")
    op.drop_table("dataset_version_parents")
    op.drop_index("ix_policy_evaluations_dataset_id_id", table_name="policy_evaluations")
    op.drop_table("policy_evaluations")
    op.drop_index("uq_locks_one_writer", table_name="locks", postgresql_where=sa.text("mode = 'write'"))
    op.drop_table("locks")
    op.drop_table("gold_questions")
    op.drop_table("deployments")
    op.drop_index(
        "uq_dataset_versions_shared_number",
        table_name="dataset_versions",
        postgresql_where=sa.text("personal_to IS NULL"),
    )
    op.drop_index("ix_dataset_versions_dataset_id_id", table_name="dataset_versions")
    op.drop_table("dataset_versions")
    op.drop_table("batches")
    op.drop_table("server_replicas")
    op.drop_index("ix_outbox_undelivered", table_name="outbox", postgresql_where=sa.text("delivered_at IS NULL"))
    op.drop_table("outbox")
    op.drop_table("model_leases")
    op.drop_index("uq_idempotent_requests_owner_key", table_name="idempotent_requests")
    op.drop_table("idempotent_requests")
    op.drop_table("datasets")
