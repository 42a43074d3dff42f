"""What a caller may send: strict, closed and bounded.

Records are validated to plain mappings (TypedDict), which the feature kernel reads as they are; their keys
are the canonical columns of :mod:`crm.schema`. Every limit is in the published OpenAPI document.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from typing_extensions import TypedDict

from crm.validation import EARLIEST, LATEST

#: Limits of one call.
MAX_RECORDS = 1000
MAX_ROWS = 5000
MAX_ATTRIBUTES = 300
MAX_REASONS = 10

Id = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Text = Annotated[str, StringConstraints(max_length=2000)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Moment = Annotated[
    AwareDatetime,
    Field(
        ge=EARLIEST.to_pydatetime(),
        lt=LATEST.to_pydatetime(),
        description="ISO 8601 with a time zone, for example 2026-01-31T12:00:00+00:00; from 1970 to 2199",
    ),
]
Direction = Literal["in", "out"]
Status = Literal["scheduled", "started", "done", "cancelled"]
Outcome = Literal["won", "lost"]
Language = Literal["en", "fr"]
Attributes = Annotated[dict[Id, Text | Number | None], Field(max_length=MAX_ATTRIBUTES)]

_CLOSED = ConfigDict(extra="forbid", strict=True)


class Activity(TypedDict):
    """Something done, or planned, with or by the record's person or company."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    kind: Annotated[Id, Field(description="what was done, in the CRM's words")]
    occurred_at: Annotated[Moment, Field(description="when it happened, or is planned")]
    recorded_at: NotRequired[
        Annotated[Moment | None, Field(description="when the CRM knew; else occurred_at")]
    ]
    activity_id: NotRequired[Id | None]
    channel: NotRequired[Annotated[Id | None, Field(description="email, call, meeting, web, form, chat, …")]]
    direction: NotRequired[Annotated[Direction | None, Field(description="in: the prospect acted")]]
    status: NotRequired[Annotated[Status | None, Field(description="done where it is not said")]]
    user_id: NotRequired[Id | None]


class Change(TypedDict):
    """One change of one field of the record."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    field: Annotated[Id, Field(description="the canonical column or attribute that changed")]
    changed_at: Moment
    old_value: NotRequired[Annotated[Text | None, Field(description="as text")]]
    new_value: NotRequired[Annotated[Text | None, Field(description="as text")]]
    recorded_at: NotRequired[
        Annotated[Moment | None, Field(description="when the CRM knew; else changed_at")]
    ]
    change_id: NotRequired[Id | None]
    user_id: NotRequired[Id | None]


class _Record(TypedDict):
    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    created_at: Annotated[Moment, Field(description="when the record came in")]
    recorded_at: NotRequired[
        Annotated[Moment | None, Field(description="when the CRM knew; else created_at")]
    ]
    account_id: NotRequired[Id | None]
    owner_id: NotRequired[Annotated[Id | None, Field(description="the rep who owns it")]]
    source: NotRequired[Id | None]
    stage: NotRequired[Id | None]
    outcome: NotRequired[Annotated[Outcome | None, Field(description="empty while the record is open")]]
    closed_at: NotRequired[Moment | None]
    closed_recorded_at: NotRequired[Moment | None]
    attributes: NotRequired[Annotated[Attributes, Field(description="the CRM's own fields, by name")]]
    activities: NotRequired[Annotated[list[Activity], Field(max_length=MAX_ROWS)]]
    changes: NotRequired[Annotated[list[Change], Field(max_length=MAX_ROWS)]]


class Lead(_Record):
    """One lead, with what is known of it."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    lead_id: Id


class Deal(_Record):
    """One deal, with what is known of it."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    deal_id: Id
    lead_id: NotRequired[Id | None]
    amount: NotRequired[Number | None]
    currency: NotRequired[Annotated[Id | None, Field(description="ISO 4217")]]
    expected_close_at: NotRequired[Annotated[Moment | None, Field(description="the rep's own expectation")]]


class _Batch(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    as_of: Annotated[
        Moment | None,
        Field(
            description="the moment to score at; now, where it is not given. What was known later is ignored."
        ),
    ] = None
    language: Annotated[Language, Field(description="of the reasons")] = "en"
    reasons: Annotated[
        int, Field(ge=0, le=MAX_REASONS, description="at most so many raising, and so many lowering")
    ] = 3


class LeadBatch(_Batch):
    """Leads to score, each on its own: one that cannot be used does not stop the others."""

    leads: Annotated[list[Lead], Field(min_length=1, max_length=MAX_RECORDS)]


class DealBatch(_Batch):
    """Deals to score, each on its own: one that cannot be used does not stop the others."""

    deals: Annotated[list[Deal], Field(min_length=1, max_length=MAX_RECORDS)]


class Reason(BaseModel):
    """One feature's part in a probability."""

    feature: str
    label: str
    value: str
    effect: Annotated[float, Field(description="in probability: 0.02 is two points")]


class Reasons(BaseModel):
    """The strongest effects, and what all others sum to.

    ``base_probability``, the effects shown and ``other_effects`` sum to the probability.
    """

    base_probability: float
    raising: list[Reason]
    lowering: list[Reason]
    other_effects: float


class _Score(BaseModel):
    index: Annotated[int, Field(description="place in the batch, from 0")]
    reasons: Reasons
    rows_not_known_yet: Annotated[
        int, Field(description="activities and changes left out because they were not known before as_of")
    ]


class LeadScore(_Score):
    """A lead's score."""

    lead_id: str
    propensity: Annotated[float, Field(ge=0, le=1, description="chance of the purchase within the horizon")]


class DealScore(_Score):
    """A deal's score."""

    deal_id: str
    win_probability: Annotated[float, Field(ge=0, le=1)]
    close_p10: Annotated[
        Moment | None, Field(description="start of the shortest time that holds 80% of the chances to close")
    ]
    close_p50: Annotated[Moment | None, Field(description="as likely closed before as after")]
    close_p90: Annotated[Moment | None, Field(description="end of that time")]
    expected_amount: Annotated[float | None, Field(description="of the sale, if it is won")]


class Fault(BaseModel):
    """One fault in a record."""

    field: Annotated[str, Field(description="path in the record, parts divided by /")]
    code: str
    value: Annotated[str, Field(description="as it was read, shortened")]
    remedy: str


#: Why a valid record has no score.
Unscored = Literal["not_known_yet", "closed", "too_early"]


class RecordError(BaseModel):
    """Why a record has no score."""

    index: int
    id: str | None
    code: Literal["invalid_record", "duplicate_id"] | Unscored
    faults: Annotated[list[Fault], Field(min_length=1)]


class ModelFacts(BaseModel):
    """Which model answered."""

    name: str
    version: str
    trained_through: Moment


class _Answer(BaseModel):
    model: ModelFacts
    as_of: Moment
    horizon_days: Annotated[float | None, Field(description="null: ever")]
    signal: Annotated[
        bool, Field(description="false: training found no skill, and the base rate is served for all")
    ]
    errors: list[RecordError]


class LeadAnswer(_Answer):
    """Scores in the order of the batch, and the records that have none."""

    scores: list[LeadScore]


class DealAnswer(_Answer):
    """Scores in the order of the batch, and the records that have none."""

    scores: list[DealScore]
