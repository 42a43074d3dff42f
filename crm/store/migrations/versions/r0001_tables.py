"""The first schema: the canonical tables, their attributes and the loads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _number_type() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _row() -> tuple[sa.Column[int], sa.Column[int]]:
    return (
        sa.Column("position", _number_type(), primary_key=True, autoincrement=False),
        sa.Column("load_id", sa.BigInteger, nullable=False),
    )


def upgrade() -> None:
    """Make the tables in an empty database."""
    op.create_table(
        "users",
        *_row(),
        sa.Column("user_id", sa.Text, unique=True, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("team", sa.Text),
        sa.Column("manager_id", sa.Text),
        sa.Column("region", sa.Text),
    )
    op.create_table(
        "accounts",
        *_row(),
        sa.Column("account_id", sa.Text, unique=True, nullable=False),
        sa.Column("created_at", sa.BigInteger),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("parent_id", sa.Text),
        sa.Column("gone_at", sa.BigInteger),
        sa.Column("attributes", sa.Text, nullable=False),
    )
    op.create_table(
        "leads",
        *_row(),
        sa.Column("lead_id", sa.Text, unique=True, nullable=False),
        sa.Column("created_at", sa.BigInteger),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("account_id", sa.Text),
        sa.Column("owner_id", sa.Text),
        sa.Column("source", sa.Text),
        sa.Column("stage", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.Column("closed_at", sa.BigInteger),
        sa.Column("closed_recorded_at", sa.BigInteger),
        sa.Column("sequence", sa.Double),
        sa.Column("gone_at", sa.BigInteger),
        sa.Column("attributes", sa.Text, nullable=False),
    )
    op.create_table(
        "deals",
        *_row(),
        sa.Column("deal_id", sa.Text, unique=True, nullable=False),
        sa.Column("created_at", sa.BigInteger),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("lead_id", sa.Text),
        sa.Column("account_id", sa.Text),
        sa.Column("owner_id", sa.Text),
        sa.Column("source", sa.Text),
        sa.Column("stage", sa.Text),
        sa.Column("amount", sa.Double),
        sa.Column("currency", sa.Text),
        sa.Column("expected_close_at", sa.BigInteger),
        sa.Column("outcome", sa.Text),
        sa.Column("closed_at", sa.BigInteger),
        sa.Column("closed_recorded_at", sa.BigInteger),
        sa.Column("sequence", sa.Double),
        sa.Column("gone_at", sa.BigInteger),
        sa.Column("attributes", sa.Text, nullable=False),
    )
    op.create_table(
        "activities",
        *_row(),
        sa.Column("activity_id", sa.Text, unique=True, nullable=False),
        sa.Column("lead_id", sa.Text),
        sa.Column("deal_id", sa.Text),
        sa.Column("account_id", sa.Text),
        sa.Column("user_id", sa.Text),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("channel", sa.Text),
        sa.Column("direction", sa.Text),
        sa.Column("status", sa.Text),
        sa.Column("occurred_at", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "changes",
        *_row(),
        sa.Column("change_id", sa.Text, unique=True, nullable=False),
        sa.Column("entity", sa.Text, nullable=False),
        sa.Column("record_id", sa.Text, nullable=False),
        sa.Column("field", sa.Text, nullable=False),
        sa.Column("old_value", sa.Text),
        sa.Column("new_value", sa.Text),
        sa.Column("user_id", sa.Text),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "targets",
        *_row(),
        sa.Column("target_id", sa.Text, unique=True, nullable=False),
        sa.Column("kpi", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("scope_id", sa.Text),
        sa.Column("period_start", sa.BigInteger, nullable=False),
        sa.Column("period_end", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "surveys",
        *_row(),
        sa.Column("survey_id", sa.Text, unique=True, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("account_id", sa.Text),
        sa.Column("lead_id", sa.Text),
        sa.Column("deal_id", sa.Text),
        sa.Column("user_id", sa.Text),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("answered_at", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "subscriptions",
        *_row(),
        sa.Column("subscription_id", sa.Text, unique=True, nullable=False),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("deal_id", sa.Text),
        sa.Column("product", sa.Text),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("monthly_amount", sa.Double),
        sa.Column("currency", sa.Text),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("ended_recorded_at", sa.BigInteger),
    )
    op.create_table(
        "orders",
        *_row(),
        sa.Column("order_id", sa.Text, unique=True, nullable=False),
        sa.Column("account_id", sa.Text),
        sa.Column("deal_id", sa.Text),
        sa.Column("user_id", sa.Text),
        sa.Column("ordered_at", sa.BigInteger, nullable=False),
        sa.Column("amount", sa.Double),
        sa.Column("currency", sa.Text),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "order_lines",
        *_row(),
        sa.Column("order_line_id", sa.Text, unique=True, nullable=False),
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("product", sa.Text, nullable=False),
        sa.Column("quantity", sa.Double),
        sa.Column("amount", sa.Double),
    )
    op.create_table(
        "attributes",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "loads",
        sa.Column("load_id", _number_type(), primary_key=True, autoincrement=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("exported_at", sa.BigInteger),
        sa.Column("mapping_digest", sa.Text, nullable=False),
        sa.Column("loaded_at", sa.BigInteger),
        sa.Column("counts", sa.Text, nullable=False),
    )
