"""slow answers: a reviewer may be asked about an answer that took far longer than usual

Revision ID: 0028
Revises: 0027
"""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

BEFORE = ("disagreement", "fast", "policy", "skipped", "suspicion", "requested")


def _allow(kinds: tuple[str, ...]) -> None:
    op.drop_constraint(op.f("ck_reviews_kind"), "reviews", type_="check")
    op.create_check_constraint(op.f("ck_reviews_kind"), "reviews", f"kind IN ({', '.join(map(repr, kinds))})")


def upgrade() -> None:
    _allow((*BEFORE, "slow"))


def downgrade() -> None:
    op.execute("UPDATE reviews SET kind = 'fast' WHERE kind = 'slow'")  # the other kind that is about time
    _allow(BEFORE)
