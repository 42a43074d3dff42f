"""What a caller may send: strict, closed and bounded.

Records are validated to plain mappings (TypedDict), which the feature kernel reads as they are; their keys
are the canonical columns of :mod:`crm.schema`. Every limit is in the published OpenAPI document.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from typing_extensions import TypedDict

from crm.validation import EARLIEST, LATEST
from serving.answering.grades import Grade
from serving.http.problems import Fault

#: Limits of one call.
MAX_RECORDS = 1000
MAX_ROWS = 5000
MAX_ATTRIBUTES = 300
MAX_REASONS = 10
MAX_HELPS = 10

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


class Account(TypedDict):
    """The company of the record."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    account_id: Id
    created_at: NotRequired[Moment | None]
    recorded_at: NotRequired[
        Annotated[Moment | None, Field(description="when the CRM knew; else created_at, else as the record")]
    ]
    name: NotRequired[Text | None]
    parent_id: NotRequired[Id | None]
    attributes: NotRequired[Annotated[Attributes, Field(description="the CRM's own fields, by name")]]


class _Record(TypedDict):
    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    created_at: NotRequired[
        Annotated[
            Moment,
            Field(description="when the record came in; without it, the record is read from the store"),
        ]
    ]
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
    account: NotRequired[
        Annotated[Account | None, Field(description="of account_id, which need not be said again")]
    ]


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
    helps: Annotated[
        int, Field(ge=0, le=MAX_HELPS, description="at most so many things that a rep could do")
    ] = 3
    use_store: Annotated[
        bool,
        Field(
            description="true: what a record says is laid on top of what the store has of it, even with "
            "created_at"
        ),
    ] = False
    model_version: Annotated[
        Id | None, Field(description="answer by this version of the model only, else refuse with 409")
    ] = None


class LeadBatch(_Batch):
    """Leads to score, each on its own: one that cannot be used does not stop the others."""

    expected_close: Annotated[bool, Field(description="whether to say when they are decided")] = False
    leads: Annotated[list[Lead], Field(min_length=1, max_length=MAX_RECORDS)]


class DealBatch(_Batch):
    """Deals to score, each on its own: one that cannot be used does not stop the others."""

    expected_close: Annotated[bool, Field(description="whether to say when they close")] = True
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


class Help(BaseModel):
    """Something that a rep can do, and what it goes together with in what the model learned from.

    An association, no promise: records with which this was done just now had, all else equal, a probability
    that is so much higher.
    """

    action: Annotated[str, Field(description="never changes for one model")]
    label: str
    text: Annotated[str, Field(description="the association in a sentence")]
    effect: Annotated[float, Field(gt=0, description="in probability: 0.02 is two points")]


class Since(BaseModel):
    """What changed since the record's last score in the store, and why.

    ``previous_probability``, the effects shown and ``other_effects`` sum to the probability of now. Both
    scores are explained by the model that answers; what another model said differently then, and what was
    recorded late, is in ``other_effects``.
    """

    previous_as_of: Moment
    previous_probability: Annotated[float, Field(ge=0, le=1)]
    previous_version: Annotated[str, Field(description="of the model that gave it")]
    difference: float
    raising: list[Reason]
    lowering: list[Reason]
    other_effects: float


class Receipt(BaseModel):
    """What the score was made of. The same record, ``as_of`` and ``version`` give the same score again.

    ``rank`` and ``since`` are of the moment of the call, and so is nothing else.
    """

    model: str
    version: str
    trained_through: Moment
    as_of: Moment
    input_hash: Annotated[str, Field(description="of the id, as_of and all that the model was given")]
    valid_until: Annotated[
        Moment, Field(description="until then the score holds, if nothing new is recorded of the record")
    ]


class Risk(BaseModel):
    """One sign that a deal is at risk, with its evidence."""

    flag: Literal["silent", "past_date", "pushed", "backwards", "single_contact", "one_sided"]
    label: str
    evidence: str
    measure: float
    limit: Annotated[float, Field(description="what measure was held against")]
    n_won: Annotated[int, Field(description="won deals behind the limit")]


class _Score(BaseModel):
    index: Annotated[int, Field(description="place in the batch, from 0")]
    horizon_days: Annotated[float | None, Field(description="null: ever")]
    grade: Annotated[Grade, Field(description="A from 0.60, B from 0.30, C from 0.10, else D")]
    rank: Annotated[
        int | None,
        Field(ge=1, description="place among the open records of the store, by their last scores; 1 is best"),
    ]
    ranked_among: Annotated[int | None, Field(ge=1, description="how many, this one included")]
    percentile: Annotated[
        float | None, Field(ge=0, le=100, description="percent of them with at most this probability")
    ]
    close_p10: Annotated[
        Moment | None, Field(description="start of the shortest time that holds 80% of the chances to close")
    ]
    close_p50: Annotated[Moment | None, Field(description="as likely closed before as after")]
    close_p90: Annotated[Moment | None, Field(description="end of that time")]
    reasons: Reasons
    helps: Annotated[list[Help], Field(description="most effect first")]
    since: Annotated[Since | None, Field(description="null where the store has no earlier score")]
    rows_not_known_yet: Annotated[
        int, Field(description="activities and changes left out because they were not known before as_of")
    ]
    warnings: Annotated[
        list[Fault], Field(description="values that training never saw, which count as missing")
    ]
    receipt: Receipt


class LeadScore(_Score):
    """A lead's score."""

    lead_id: str
    propensity: Annotated[float, Field(ge=0, le=1, description="chance of the purchase within the horizon")]


class DealScore(_Score):
    """A deal's score."""

    deal_id: str
    win_probability: Annotated[float, Field(ge=0, le=1)]
    expected_amount: Annotated[float | None, Field(description="of the sale, if it is won")]
    expected_value: Annotated[float | None, Field(description="win_probability times expected_amount")]
    risks: Annotated[list[Risk], Field(description="most telling first")]


#: Why a valid record has no score.
Unscored = Literal["unknown", "not_known_yet", "closed", "gone", "too_early"]


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
