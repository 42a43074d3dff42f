"""What sources say about the history as a whole, and the ledger of forecasts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _number_type() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _place_in_entry() -> tuple[sa.Column[int], sa.Column[int]]:
    return (
        sa.Column("entry", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    )


def upgrade() -> None:
    """Add the tables; what the store holds stays as it is."""
    op.create_table(
        "history_facts",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("load_id", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "forecast_entries",
        sa.Column("position", _number_type(), primary_key=True, autoincrement=False),
        sa.Column("entry_id", sa.Text, unique=True, nullable=False),
        sa.Column("format", sa.BigInteger, nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("as_of", sa.BigInteger, nullable=False),
        sa.Column("period_start", sa.BigInteger, nullable=False),
        sa.Column("period_end", sa.BigInteger, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("grouped_by", sa.Text),
        sa.Column("level", sa.Double, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("n_deals", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "forecast_rows",
        *_place_in_entry(),
        sa.Column("group_name", sa.Text, nullable=False),
        sa.Column("closed_cents", sa.BigInteger, nullable=False),
        sa.Column("open_cents", sa.BigInteger, nullable=False),
        sa.Column("new_cents", sa.BigInteger, nullable=False),
        sa.Column("mean_cents", sa.BigInteger, nullable=False),
        sa.Column("median_cents", sa.BigInteger, nullable=False),
        sa.Column("low_cents", sa.BigInteger, nullable=False),
        sa.Column("high_cents", sa.BigInteger, nullable=False),
        sa.Column("stage_weighted_cents", sa.BigInteger),
        sa.Column("run_rate_cents", sa.BigInteger),
        sa.Column("series_cents", sa.BigInteger),
        sa.Column("quota_cents", sa.BigInteger),
        sa.Column("commit_cents", sa.BigInteger),
        sa.Column("quantiles", sa.Text, nullable=False),
    )
    op.create_table(
        "forecast_deals",
        *_place_in_entry(),
        sa.Column("deal_id", sa.Text, nullable=False),
        sa.Column("group_name", sa.Text, nullable=False),
        sa.Column("owner_id", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("stage", sa.Text),
        sa.Column("amount", sa.Double),
        sa.Column("expected_amount", sa.Double),
        sa.Column("win_probability", sa.Double),
        sa.Column("in_period", sa.Double),
        sa.Column("mean_cents", sa.BigInteger, nullable=False),
    )
