"""The service's tables. Every moment is a BIGINT of microseconds since 1970 in UTC; lists are JSON."""

from __future__ import annotations

import sqlalchemy as sa

from crm.store.layout import METADATA, ROW_NUMBER, STORED


def _text(name: str, *, null: bool = False, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null, primary_key=key)


def _whole(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=null)


def _number(name: str, *, null: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=null)


def _numbered(name: str) -> sa.Column[int]:
    return sa.Column(name, ROW_NUMBER, primary_key=True, autoincrement=True)


#: How often each part of the store has changed.
REVISIONS = sa.Table("revisions", METADATA, _text("name", key=True), _whole("value"))

#: What ingesting keeps: for a lead, deal or account, the moment of the last state that gave each field; for
#: an activity that was sent again, the row that holds its last state and the moment of that. One JSON object.
STATED = sa.Table(
    "ingest_states", METADATA, _text("entity", key=True), _text("record_id", key=True), _text("state")
)

#: What is needed to put the reasons of stored scores into words: the features of each model that made some.
SCORING_MODELS = sa.Table(
    "scoring_models",
    METADATA,
    _text("version", key=True),
    _text("entity", key=True),
    _text("card"),
    _text("spec"),
)

#: The last score of each open record. ``moved`` is its change since the one before, ``logged_…`` what the log
#: has of it.
SCORES = sa.Table(
    "scores",
    METADATA,
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
#: What lists are sorted by. Each has an index, which also holds what lists are filtered by: a record that is
#: not asked for is passed over without reading its row.
SORTED_BY = ("probability", "expected_value", "moved")
FILTERED_BY = ("owner_id", "stage", "grade", "probability")
for _name in SORTED_BY:
    sa.Index(
        f"scores_by_{_name}",
        SCORES.c.entity,
        SCORES.c[_name].desc(),
        SCORES.c.record_id,
        *(SCORES.c[name] for name in FILTERED_BY if name != _name),
    )

#: Scores over time: appended where a probability moved, or another model looked at the record.
SCORE_LOG = sa.Table(
    "score_log",
    METADATA,
    _numbered("position"),
    _text("entity"),
    _text("record_id"),
    _whole("as_of"),
    _whole("scored_at"),
    _text("model_version"),
    _number("probability"),
    _text("reasons"),
    sa.Index("score_log_by_record", "entity", "record_id", "as_of"),
)

#: What reps said of records on their call list: done for today, or put off.
MARKS = sa.Table(
    "marks",
    METADATA,
    _text("entity", key=True),
    _text("record_id", key=True),
    _text("kind"),
    _whole("until"),
    _whole("at"),
    _text("key_id", null=True),
)

#: The keys of callers; of a secret only its SHA-256 is there.
API_KEYS = sa.Table(
    "api_keys",
    METADATA,
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

#: Who read or changed what; the records of each entry are apart, so that a record can be looked for.
AUDIT_LOG = sa.Table(
    "audit_log",
    METADATA,
    sa.Column("position", ROW_NUMBER, primary_key=True, autoincrement=False),
    _whole("at"),
    _text("key_id", null=True),
    _text("role"),
    _text("operation"),
    _whole("status"),
    _text("request_id"),
    _whole("n_records"),
    sa.Index("audit_log_by_moment", "at"),
)
AUDIT_RECORDS = sa.Table(
    "audit_records",
    METADATA,
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    _text("record_id"),
    sa.Index("audit_records_by_record", "record_id"),
)

#: Answers to writes that named an ``Idempotency-Key``.
REMEMBERED = sa.Table(
    "remembered",
    METADATA,
    _text("key_id", key=True),
    _text("operation", key=True),
    _text("name", key=True),
    _text("body_hash"),
    _whole("status"),
    _text("answer"),
    _text("media_type"),
    _whole("at"),
)

#: Work that waits; what failed too often stays, dead.
JOBS = sa.Table(
    "jobs",
    METADATA,
    _numbered("job_id"),
    _text("kind"),
    _text("name", null=True),
    _text("payload"),
    _whole("attempts"),
    _whole("due_at"),
    _whole("created_at"),
    _whole("is_dead"),
    _text("error", null=True),
    sa.Index("jobs_by_due", "is_dead", "due_at"),
)

#: Who may do the work of which one process at a time does.
LEASES = sa.Table(
    "leases", METADATA, _text("name", key=True), _text("holder"), _whole("token"), _whole("beat")
)

#: Who wants to be told of events. The secret is needed to sign, so it is there as it is.
SUBSCRIPTIONS = sa.Table(
    "subscriptions_to_events",
    METADATA,
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

#: Events on their way: one row an event and subscription; ``state`` is waiting, delivered or dead.
DELIVERIES = sa.Table(
    "deliveries",
    METADATA,
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
    sa.Index("deliveries_by_due", "state", "due_at"),
)

#: Whom the store has forgotten: no personal data, so that it can be shown that it was done.
FORGOTTEN = sa.Table(
    "forgotten",
    METADATA,
    _numbered("position"),
    _text("entity"),
    _text("digest"),
    _text("counts"),
    _text("why"),
    _text("by"),
    _whole("at"),
)
#: Indexes on the history by which single records are read.
for _table, _columns in {
    "activities": ("lead_id", "deal_id"),
    "changes": ("record_id",),
    "deals": ("account_id", "lead_id"),
    "leads": ("account_id",),
}.items():
    for _name in _columns:
        sa.Index(f"{_table}_by_{_name}", STORED[_table].c[_name])
