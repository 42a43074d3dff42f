"""The canonical tables: every column's kind, unit, nullability and meaning, stated once.

The store, the importers, the simulator, the doctor and the service all read these definitions; none
repeats them. A moment is a timezone-aware timestamp in UTC; money is in the currency its row names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["id", "text", "category", "number", "timestamp"]

#: pandas dtype of each kind of column, in memory.
DTYPES: dict[Kind, str] = {
    "id": "str",
    "text": "str",
    "category": "str",
    "number": "float64",
    "timestamp": "datetime64[us, UTC]",
}


@dataclass(frozen=True)
class Column:
    """One column of a canonical table.

    Parameters
    ----------
    name : str
    kind : {"id", "text", "category", "number", "timestamp"}
    meaning : str
    required : bool
        Whether a value must be there.
    default_from : str, optional
        The column whose value fills a missing one.
    default : str, optional
        The value that fills a missing one.
    unit : str
    choices : tuple of str
        The values allowed; empty for any.
    """

    name: str
    kind: Kind
    meaning: str
    required: bool = False
    default_from: str | None = None
    default: str | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One canonical table.

    Parameters
    ----------
    name : str
    grain : str
        What one row is.
    columns : tuple of Column
        The first is the key.
    open_ended : bool
        Whether further columns are kept, as attributes.
    """

    name: str
    grain: str
    columns: tuple[Column, ...]
    open_ended: bool = False

    @property
    def key(self) -> str:
        """The name of the key column."""
        return self.columns[0].name

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the canonical columns, in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Give the column of that name; KeyError where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


OUTCOMES = ("won", "lost")
DIRECTIONS = ("in", "out")
STATUSES = ("scheduled", "started", "done", "cancelled")
ENTITIES = ("lead", "deal", "account")

_RECORDED = "when the CRM knew the row; nothing is used before that moment"
_OUTCOME = (
    Column("outcome", "category", "how the record ended; empty while it is open", choices=OUTCOMES),
    Column("closed_at", "timestamp", "when it ended; empty with an outcome means the export gives no time"),
    Column(
        "closed_recorded_at", "timestamp", "when the CRM knew that it had ended", default_from="closed_at"
    ),
    Column("sequence", "number", "order of records that carry no time", unit="rank"),
    Column("gone_at", "timestamp", "first full export that no longer held the record"),
)

LEADS = Table(
    "leads",
    "one lead: a person or company that may buy",
    (
        Column("lead_id", "id", "the CRM's id of the lead", required=True),
        Column("created_at", "timestamp", "when the lead came in; empty where the export gives no time"),
        Column("recorded_at", "timestamp", _RECORDED, required=True, default_from="created_at"),
        Column("account_id", "id", "the company"),
        Column("owner_id", "id", "the rep who owns it"),
        Column("source", "category", "where it came from"),
        Column("stage", "category", "status in the qualification process"),
        *_OUTCOME,
    ),
    open_ended=True,
)

DEALS = Table(
    "deals",
    "one deal: a possible sale with an amount",
    (
        Column("deal_id", "id", "the CRM's id of the deal", required=True),
        Column("created_at", "timestamp", "when the deal was opened; empty where the export gives no time"),
        Column("recorded_at", "timestamp", _RECORDED, required=True, default_from="created_at"),
        Column("lead_id", "id", "the lead it came from"),
        Column("account_id", "id", "the company"),
        Column("owner_id", "id", "the rep who owns it"),
        Column("source", "category", "where it came from"),
        Column("stage", "category", "step of the sales process"),
        Column(
            "amount", "number", "value of the deal as now believed; of the sale, once won", unit="currency"
        ),
        Column("currency", "category", "ISO 4217 code of the amount"),
        Column("expected_close_at", "timestamp", "the rep's own expectation"),
        *_OUTCOME,
    ),
    open_ended=True,
)

ACCOUNTS = Table(
    "accounts",
    "one company",
    (
        Column("account_id", "id", "the CRM's id of the company", required=True),
        Column("created_at", "timestamp", "when it was entered; empty where the export gives no time"),
        Column("recorded_at", "timestamp", _RECORDED, required=True, default_from="created_at"),
        Column("name", "text", "the company's name"),
        Column("parent_id", "id", "the company it belongs to"),
        Column("gone_at", "timestamp", "first full export that no longer held the record"),
    ),
    open_ended=True,
)

USERS = Table(
    "users",
    "one rep or manager",
    (
        Column("user_id", "id", "the CRM's id of the user", required=True),
        Column("name", "text", "as shown"),
        Column("team", "category", "the team"),
        Column("manager_id", "id", "the user's manager"),
        Column("region", "category", "the sales region"),
    ),
)

ACTIVITIES = Table(
    "activities",
    "one thing done, or planned, with or by a lead, deal or account",
    (
        Column("activity_id", "id", "the CRM's id of the activity", required=True),
        Column("lead_id", "id", "the lead concerned"),
        Column("deal_id", "id", "the deal concerned"),
        Column("account_id", "id", "the company concerned"),
        Column("user_id", "id", "the rep who did it"),
        Column("kind", "category", "what was done, in the CRM's words", required=True),
        Column("channel", "category", "email, call, meeting, web, form, chat, social, …"),
        Column("direction", "category", "in: the prospect acted; out: we did", choices=DIRECTIONS),
        Column(
            "status", "category", "planned work counts apart from work done", default="done", choices=STATUSES
        ),
        Column("occurred_at", "timestamp", "when it happened, or was planned", required=True),
        Column("recorded_at", "timestamp", _RECORDED, required=True, default_from="occurred_at"),
    ),
)

CHANGES = Table(
    "changes",
    "one change of one field of one record",
    (
        Column("change_id", "id", "the CRM's id of the change", required=True),
        Column("entity", "category", "whose field", required=True, choices=ENTITIES),
        Column("record_id", "id", "id of the lead, deal or account", required=True),
        Column("field", "category", "the canonical column or attribute that changed", required=True),
        Column("old_value", "text", "as text: ISO 8601 for a moment, a plain decimal for a number"),
        Column("new_value", "text", "as text: ISO 8601 for a moment, a plain decimal for a number"),
        Column("user_id", "id", "who changed it"),
        Column("changed_at", "timestamp", "when it changed", required=True),
        Column("recorded_at", "timestamp", _RECORDED, required=True, default_from="changed_at"),
    ),
)

TARGETS = Table(
    "targets",
    "one goal of one KPI for one rep, team or the company over one period",
    (
        Column("target_id", "id", "the CRM's id of the target", required=True),
        Column("kpi", "category", "name of the KPI; revenue for a quota", required=True),
        Column("scope", "category", "whose goal", required=True, choices=("user", "team", "company")),
        Column("scope_id", "id", "id of the user, or name of the team"),
        Column("period_start", "timestamp", "first moment of the period", required=True),
        Column("period_end", "timestamp", "first moment after the period", required=True),
        Column("value", "number", "the goal", required=True, unit="as the KPI's"),
        Column("recorded_at", "timestamp", _RECORDED, required=True, default_from="period_start"),
    ),
)

SURVEYS = Table(
    "surveys",
    "one answer to one survey",
    (
        Column("survey_id", "id", "the CRM's id of the answer", required=True),
        Column("kind", "category", "nps (0 to 10) or ces (1 to 7)", required=True, choices=("nps", "ces")),
        Column("account_id", "id", "the company that answered"),
        Column("lead_id", "id", "the lead concerned"),
        Column("deal_id", "id", "the deal concerned"),
        Column("user_id", "id", "the rep concerned"),
        Column("score", "number", "the answer", required=True, unit="points"),
        Column("answered_at", "timestamp", "when", required=True),
        Column("recorded_at", "timestamp", _RECORDED, required=True, default_from="answered_at"),
    ),
)

SUBSCRIPTIONS = Table(
    "subscriptions",
    "one running contract",
    (
        Column("subscription_id", "id", "the CRM's id of the contract", required=True),
        Column("account_id", "id", "the customer", required=True),
        Column("deal_id", "id", "the deal that began it"),
        Column("product", "category", "what is subscribed to"),
        Column("started_at", "timestamp", "first moment paid for", required=True),
        Column("ended_at", "timestamp", "first moment no longer paid for; empty while it runs"),
        Column("monthly_amount", "number", "recurring revenue", unit="currency per month"),
        Column("currency", "category", "ISO 4217 code"),
        Column("recorded_at", "timestamp", _RECORDED, required=True, default_from="started_at"),
        Column("ended_recorded_at", "timestamp", "when the CRM knew the end", default_from="ended_at"),
    ),
)

ORDERS = Table(
    "orders",
    "one order",
    (
        Column("order_id", "id", "the CRM's id of the order", required=True),
        Column("account_id", "id", "the customer"),
        Column("deal_id", "id", "the deal that brought it"),
        Column("user_id", "id", "the rep"),
        Column("ordered_at", "timestamp", "when", required=True),
        Column("amount", "number", "total", unit="currency"),
        Column("currency", "category", "ISO 4217 code"),
        Column("recorded_at", "timestamp", _RECORDED, required=True, default_from="ordered_at"),
    ),
)

ORDER_LINES = Table(
    "order_lines",
    "one product of one order",
    (
        Column("order_line_id", "id", "the CRM's id of the line", required=True),
        Column("order_id", "id", "the order", required=True),
        Column("product", "category", "what was bought", required=True),
        Column("quantity", "number", "how many", unit="pieces"),
        Column("amount", "number", "of the line", unit="currency"),
    ),
)

#: Every canonical table by name, referred-to tables before those that refer.
TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        USERS,
        ACCOUNTS,
        LEADS,
        DEALS,
        ACTIVITIES,
        CHANGES,
        TARGETS,
        SURVEYS,
        SUBSCRIPTIONS,
        ORDERS,
        ORDER_LINES,
    )
}

#: The table that holds each kind of record whose fields have a history.
TABLE_OF: dict[str, Table] = {"lead": LEADS, "deal": DEALS, "account": ACCOUNTS}
