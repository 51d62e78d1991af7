"""queue for locks, branches, read leases, deleted versions

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A read lease from before names no version; it is a lease, and its holder takes another.
    op.execute("DELETE FROM locks WHERE mode = 'read'")
    op.add_column("locks", sa.Column("version_id", sa.Integer(), nullable=True))
    op.add_column("locks", sa.Column("key", sa.String(length=250), nullable=True))
    op.create_foreign_key(op.f("fk_locks_version_id"), "locks", "dataset_versions", ["version_id"], ["id"])
    op.create_index(op.f("ix_locks_version_id"), "locks", ["version_id"], unique=False)
    op.create_check_constraint(op.f("ck_locks_version"), "locks", "(mode = 'read') = (version_id IS NOT NULL)")
    op.create_check_constraint(op.f("ck_locks_token"), "locks", "(mode = 'read') = (token = 0)")
    op.create_table(
        "lock_requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name=op.f("fk_lock_requests_dataset_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lock_requests")),
        sa.UniqueConstraint("dataset_id", "owner", "key", name=op.f("uq_lock_requests_dataset_id_owner_key")),
    )
    op.create_index(
        "ix_lock_requests_order",
        "lock_requests",
        ["dataset_id", sa.literal_column("priority DESC"), "id"],
        unique=False,
    )
    op.create_table(
        "dataset_branches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("major", sa.Integer(), nullable=False),
        sa.Column("minor", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("base_id", sa.Integer(), nullable=True),
        sa.Column("version_id", sa.Integer(), nullable=True),
        sa.Column("key", sa.String(length=250), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state IN ('open', 'committed', 'abandoned')", name=op.f("ck_dataset_branches_state")),
        sa.CheckConstraint(
            "state <> 'open' OR (base_id IS NOT NULL AND version_id IS NULL)", name=op.f("ck_dataset_branches_open")
        ),
        sa.CheckConstraint("state <> 'abandoned' OR version_id IS NULL", name=op.f("ck_dataset_branches_abandoned")),
        sa.ForeignKeyConstraint(
            ["base_id"], ["dataset_versions.id"], name=op.f("fk_dataset_branches_base_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name=op.f("fk_dataset_branches_dataset_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["dataset_versions.id"], name=op.f("fk_dataset_branches_version_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_branches")),
        sa.UniqueConstraint("dataset_id", "major", "minor", name=op.f("uq_dataset_branches_dataset_id_major_minor")),
        sa.UniqueConstraint("dataset_id", "owner", "key", name=op.f("uq_dataset_branches_dataset_id_owner_key")),
        sa.UniqueConstraint("version_id", name=op.f("uq_dataset_branches_version_id")),
    )
    op.create_table(
        "deleted_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=400), nullable=False),
        sa.Column("major", sa.Integer(), nullable=False),
        sa.Column("minor", sa.Integer(), nullable=False),
        sa.Column("personal_to", sa.String(length=250), nullable=True),
        sa.Column(
            "details", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name=op.f("fk_deleted_versions_dataset_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deleted_versions")),
        sa.UniqueConstraint("name", name=op.f("uq_deleted_versions_name")),
    )
    op.create_index(
        "ix_deleted_versions_dataset_id_major_minor",
        "deleted_versions",
        ["dataset_id", "major", "minor"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_table("deleted_versions")
    op.drop_table("dataset_branches")
    op.drop_table("lock_requests")
    op.execute("DELETE FROM locks WHERE mode = 'read'")
    op.drop_constraint(op.f("ck_locks_token"), "locks", type_="check")
    op.drop_constraint(op.f("ck_locks_version"), "locks", type_="check")
    op.drop_index(op.f("ix_locks_version_id"), table_name="locks")
    op.drop_constraint(op.f("fk_locks_version_id"), "locks", type_="foreignkey")
    op.drop_column("locks", "key")
    op.drop_column("locks", "version_id")
