"""What the service keeps: scores, keys, the audit log, jobs, events; and indexes to read single records."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _number_type() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, null: bool = False, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null, primary_key=key)


def _whole(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=null)


def _number(name: str, *, null: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=null)


def _numbered(name: str) -> sa.Column[int]:
    return sa.Column(name, _number_type(), primary_key=True, autoincrement=True)


def _place(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)


def upgrade() -> None:
    """Add the tables and indexes; what the store holds stays as it is."""
    _make_scores()
    _make_access()
    _make_work()
    for table, columns in (
        ("activities", ("lead_id", "deal_id")),
        ("changes", ("record_id",)),
        ("deals", ("account_id", "lead_id")),
        ("leads", ("account_id",)),
    ):
        for column in columns:
            op.create_index(f"{table}_by_{column}", table, [column])


def _make_scores() -> None:
    op.create_table("revisions", _text("name", key=True), _whole("value"))
    op.create_table("ingest_states", _text("entity", key=True), _text("record_id", key=True), _text("state"))
    op.create_table(
        "scoring_models", _text("version", key=True), _text("entity", key=True), _text("card"), _text("spec")
    )
    op.create_table(
        "scores",
        _text("entity", key=True),
        _text("record_id", key=True),
        _whole("as_of"),
        _whole("scored_at"),
        _text("model_version"),
        _number("probability"),
        _number("base_probability"),
        _text("grade"),
        _whole("close_p10", null=True),
        _whole("close_p50", null=True),
        _whole("close_p90", null=True),
        _number("expected_amount", null=True),
        _number("expected_value", null=True),
        _text("reasons"),
        _number("other_effects"),
        _number("previous_probability", null=True),
        _whole("previous_as_of", null=True),
        _text("change_reasons"),
        _text("risks"),
        _whole("valid_until"),
        _text("input_hash"),
        _text("owner_id", null=True),
        _text("stage", null=True),
        _number("amount", null=True),
        _number("moved", null=True),
        _number("logged_probability"),
        _text("logged_version"),
    )
    for name in ("probability", "expected_value", "moved"):
        # What is filtered by is there too, so that what is not asked for need not be read.
        filters = [one for one in ("owner_id", "stage", "grade", "probability") if one != name]
        sorted_by: list[str | sa.TextClause] = ["entity", sa.text(f"{name} DESC"), "record_id", *filters]
        op.create_index(f"scores_by_{name}", "scores", sorted_by)
    op.create_table(
        "score_log",
        _numbered("position"),
        _text("entity"),
        _text("record_id"),
        _whole("as_of"),
        _whole("scored_at"),
        _text("model_version"),
        _number("probability"),
        _text("reasons"),
    )
    op.create_index("score_log_by_record", "score_log", ["entity", "record_id", "as_of"])
    op.create_table(
        "marks",
        _text("entity", key=True),
        _text("record_id", key=True),
        _text("kind"),
        _whole("until"),
        _whole("at"),
        _text("key_id", null=True),
    )


def _make_access() -> None:
    op.create_table(
        "api_keys",
        _text("key_id", key=True),
        _text("name"),
        _text("role"),
        _text("owner_id", null=True),
        _text("teams"),
        _text("digest"),
        _text("old_digest", null=True),
        _whole("old_until", null=True),
        _whole("created_at"),
        _whole("last_used_at", null=True),
        _whole("revoked_at", null=True),
    )
    op.create_table(
        "audit_log",
        sa.Column("position", _number_type(), primary_key=True, autoincrement=False),
        _whole("at"),
        _text("key_id", null=True),
        _text("role"),
        _text("operation"),
        _whole("status"),
        _text("request_id"),
        _whole("n_records"),
    )
    op.create_index("audit_log_by_moment", "audit_log", ["at"])
    op.create_table("audit_records", _place("position"), _place("number"), _text("record_id"))
    op.create_index("audit_records_by_record", "audit_records", ["record_id"])
    op.create_table(
        "remembered",
        _text("key_id", key=True),
        _text("operation", key=True),
        _text("name", key=True),
        _text("body_hash"),
        _whole("status"),
        _text("answer"),
        _text("media_type"),
        _whole("at"),
    )


def _make_work() -> None:
    op.create_table(
        "jobs",
        _numbered("job_id"),
        _text("kind"),
        _text("name", null=True),
        _text("payload"),
        _whole("attempts"),
        _whole("due_at"),
        _whole("created_at"),
        _whole("is_dead"),
        _text("error", null=True),
    )
    op.create_index("jobs_by_due", "jobs", ["is_dead", "due_at"])
    op.create_table("leases", _text("name", key=True), _text("holder"), _whole("token"), _whole("beat"))
    op.create_table(
        "subscriptions_to_events",
        _text("subscription_id", key=True),
        _text("target_url"),
        _text("events"),
        _text("secret"),
        _text("key_id", null=True),
        _text("owners", null=True),
        _whole("created_at"),
        _whole("ended_at", null=True),
        _text("ended_why", null=True),
    )
    op.create_table(
        "deliveries",
        _numbered("delivery_id"),
        _text("event_id"),
        _text("subscription_id"),
        _text("event_type"),
        _text("record_id", null=True),
        _text("payload"),
        _whole("attempts"),
        _whole("due_at"),
        _whole("created_at"),
        _text("state"),
        _whole("ended_at", null=True),
        _text("error", null=True),
    )
    op.create_index("deliveries_by_due", "deliveries", ["state", "due_at"])
    op.create_table(
        "forgotten",
        _numbered("position"),
        _text("entity"),
        _text("digest"),
        _text("counts"),
        _text("why"),
        _text("by"),
        _whole("at"),
    )
