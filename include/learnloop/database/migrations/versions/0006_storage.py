"""storage: tiers, uses, leases on the store

Revision ID: 0006
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "store_leases",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("tree", sa.String(length=36), nullable=False),
        sa.Column("holder", sa.String(length=250), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_store_leases")),
        sa.UniqueConstraint("tree", "holder", name=op.f("uq_store_leases_tree_holder")),
    )
    op.create_index(op.f("ix_store_leases_expires_at"), "store_leases", ["expires_at"])
    op.create_table(
        "version_storage",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("tier", sa.String(length=4), server_default="hot", nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("uses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("warm_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cold_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bundle", sa.Text(), nullable=True),
        sa.Column("bundle_sha256", sa.String(length=64), nullable=True),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("tier IN ('hot', 'warm', 'cold')", name=op.f("ck_version_storage_tier")),
        sa.CheckConstraint("tier <> 'cold' OR bundle IS NOT NULL", name=op.f("ck_version_storage_cold_has_bundle")),
        sa.CheckConstraint(
            "(bundle IS NULL) = (bundle_sha256 IS NULL)", name=op.f("ck_version_storage_bundle_has_checksum")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["dataset_versions.id"],
            name=op.f("fk_version_storage_version_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_version_storage")),
    )
    op.create_table(
        "version_uses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=30), nullable=False),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["dataset_versions.id"], name=op.f("fk_version_uses_version_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_version_uses")),
    )
    op.create_index("ix_version_uses_version_id_id", "version_uses", ["version_id", "id"])


def downgrade() -> None:
    op.drop_table("version_uses")
    op.drop_table("version_storage")
    op.drop_table("store_leases")
