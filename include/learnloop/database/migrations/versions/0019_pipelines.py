"""pipelines: declarations in versions, their runs and stages

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    op.create_table(
        "pipelines",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("personal_to", sa.String(length=250), nullable=True),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipelines")),
        sa.UniqueConstraint("name", name=op.f("uq_pipelines_name")),
    )
    op.create_table(
        "pipeline_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pipeline_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("declaration", sa.Text(), nullable=False),
        sa.Column("graph", json, nullable=False),
        sa.Column("base_id", sa.Integer(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("provenance", json, nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["pipeline_id"], ["pipelines.id"], name=op.f("fk_pipeline_versions_pipeline_id")),
        sa.ForeignKeyConstraint(["base_id"], ["pipeline_versions.id"], name=op.f("fk_pipeline_versions_base_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline_versions")),
        sa.UniqueConstraint("pipeline_id", "number", name=op.f("uq_pipeline_versions_pipeline_id_number")),
    )
    op.create_index(
        "ix_pipeline_versions_base_id",
        "pipeline_versions",
        ["base_id"],
        postgresql_where=sa.text("base_id IS NOT NULL"),
    )
    op.create_table(
        "pipeline_runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("dag_id", sa.String(length=250), nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("pins", json, nullable=False),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["pipeline_versions.id"], name=op.f("fk_pipeline_runs_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline_runs")),
        sa.UniqueConstraint("dag_id", "run_id", name=op.f("uq_pipeline_runs_dag_id_run_id")),
    )
    op.create_index("ix_pipeline_runs_version_id_id", "pipeline_runs", ["version_id", "id"])
    op.create_table(
        "stage_runs",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(length=63), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("spec", json, nullable=False),
        sa.Column("result", json, nullable=True),
        sa.Column("results_dir", sa.Text(), nullable=False),
        sa.Column("models_dir", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["pipeline_runs.id"], name=op.f("fk_stage_runs_run_id")),
        sa.PrimaryKeyConstraint("run_id", "stage", name=op.f("pk_stage_runs")),
    )


def downgrade() -> None:
    op.drop_table("stage_runs")
    op.drop_index("ix_pipeline_runs_version_id_id", table_name="pipeline_runs")
    op.drop_table("pipeline_runs")
    op.drop_index("ix_pipeline_versions_base_id", table_name="pipeline_versions")
    op.drop_table("pipeline_versions")
    op.drop_table("pipelines")
