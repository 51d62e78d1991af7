"""quality: reviews, answers that were taken back, checks of all answers

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

OUTCOMES = "'pending', 'confirmed', 'second_opinion', 'rejected', 'gold_right', 'gold_wrong', 'skipped'"
NEW_OUTCOMES = f"{OUTCOMES}, 'checked', 'withdrawn'"
STATES = "'open', 'claimed', 'answered', 'confirmed', 'cancelled'"
NEW_STATES = "'open', 'claimed', 'answered', 'review', 'confirmed', 'rejected', 'cancelled'"


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    op.create_table(
        "reviews",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("facts", json, nullable=False),
        sa.Column("decision", sa.String(length=20), nullable=True),
        sa.Column("label", sa.String(length=200), nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.String(length=250), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('disagreement', 'fast', 'policy', 'skipped', 'suspicion', 'requested')",
            name=op.f("ck_reviews_kind"),
        ),
        sa.CheckConstraint("decision IN ('confirm', 'send_back', 'reject')", name=op.f("ck_reviews_decision")),
        sa.CheckConstraint("(decision IS NULL) = (decided_by IS NULL)", name=op.f("ck_reviews_decided")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_reviews_dataset_id")),
        sa.ForeignKeyConstraint(["task_id"], ["annotation_tasks.id"], name=op.f("fk_reviews_task_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
    )
    undecided = sa.text("decision IS NULL")
    op.create_index("uq_reviews_open_task", "reviews", ["task_id"], unique=True, postgresql_where=undecided)
    op.create_index("ix_reviews_open", "reviews", ["dataset_id", "id"], postgresql_where=undecided)
    op.create_index("ix_reviews_dataset_id_id", "reviews", ["dataset_id", "id"])
    op.create_index(op.f("ix_reviews_task_id"), "reviews", ["task_id"])
    op.create_table(
        "quality_checks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("answers", sa.Integer(), nullable=False),
        sa.Column("confirmed", sa.Integer(), nullable=False),
        sa.Column("suspected", sa.Integer(), nullable=False),
        sa.Column("reliability", json, nullable=True),
        sa.Column("owner", sa.String(length=250), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_quality_checks_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quality_checks")),
    )
    op.create_index("ix_quality_checks_dataset_id_id", "quality_checks", ["dataset_id", "id"])

    op.add_column("annotations", sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("annotations", sa.Column("review_id", sa.Integer(), nullable=True))
    op.create_foreign_key(op.f("fk_annotations_review_id"), "annotations", "reviews", ["review_id"], ["id"])
    op.drop_constraint(op.f("uq_annotations_task_id_owner"), "annotations", type_="unique")
    op.create_index(
        "uq_annotations_task_id_owner",
        "annotations",
        ["task_id", "owner"],
        unique=True,
        postgresql_where=sa.text("withdrawn_at IS NULL AND review_id IS NULL"),
    )
    op.create_index("ix_annotations_dataset_id_id", "annotations", ["dataset_id", "id"])
    _check("annotations", "outcome", f"outcome IN ({NEW_OUTCOMES})")
    _check("annotations", "label", "outcome = 'withdrawn' OR (outcome = 'skipped') = (label IS NULL)")
    _check("annotation_tasks", "state", f"state IN ({NEW_STATES})")
    op.create_index(
        "ix_confirmed_annotations_dataset_id_sample_id", "confirmed_annotations", ["dataset_id", "sample_id", "id"]
    )


def downgrade() -> None:
    """What did not exist before goes: answers that were taken back. A reviewer's decision stays as an answer."""
    op.drop_index("ix_confirmed_annotations_dataset_id_sample_id", table_name="confirmed_annotations")
    op.execute("UPDATE annotation_tasks SET state = 'open' WHERE state = 'review'")  # more opinions, then
    op.execute("UPDATE annotation_tasks SET state = 'cancelled' WHERE state = 'rejected'")
    _check("annotation_tasks", "state", f"state IN ({STATES})")
    op.execute("DELETE FROM annotations WHERE withdrawn_at IS NOT NULL")
    op.execute("UPDATE annotations SET outcome = 'pending' WHERE outcome = 'checked'")
    op.execute(
        "UPDATE annotations AS decided SET owner = left(owner, 230) || ' (review ' || review_id || ')'"
        " WHERE review_id IS NOT NULL AND EXISTS (SELECT 1 FROM annotations AS other"
        " WHERE other.task_id = decided.task_id AND other.owner = decided.owner AND other.id <> decided.id)"
    )
    _check("annotations", "label", "(outcome = 'skipped') = (label IS NULL)")
    _check("annotations", "outcome", f"outcome IN ({OUTCOMES})")
    op.drop_index("ix_annotations_dataset_id_id", table_name="annotations")
    op.drop_index("uq_annotations_task_id_owner", table_name="annotations")
    op.create_unique_constraint(op.f("uq_annotations_task_id_owner"), "annotations", ["task_id", "owner"])
    op.drop_constraint(op.f("fk_annotations_review_id"), "annotations", type_="foreignkey")
    op.drop_column("annotations", "review_id")
    op.drop_column("annotations", "withdrawn_at")
    op.drop_index("ix_quality_checks_dataset_id_id", table_name="quality_checks")
    op.drop_table("quality_checks")
    op.drop_index(op.f("ix_reviews_task_id"), table_name="reviews")
    op.drop_index("ix_reviews_dataset_id_id", table_name="reviews")
    op.drop_index("ix_reviews_open", table_name="reviews", postgresql_where=sa.text("decision IS NULL"))
    op.drop_index("uq_reviews_open_task", table_name="reviews", postgresql_where=sa.text("decision IS NULL"))
    op.drop_table("reviews")


def _check(table: str, name: str, condition: str) -> None:
    op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)
