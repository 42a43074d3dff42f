"""What may be ingested, and what is answered: strict, closed and bounded."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from serving.answering.schemas import Attributes, Direction, Id, Moment, Number, Outcome, Status, Text
from serving.http.problems import Fault

#: Records of one call, over all tables.
MAX_INGESTED = 5000

_CLOSED = ConfigDict(extra="forbid", strict=True)

TableName = Literal["users", "accounts", "leads", "deals", "activities", "changes"]

UpdatedAt = Annotated[
    Moment | None,
    Field(
        description="when the CRM's record was so; what it says of a field is ignored where something "
        "later is known of that field. Now, where it is not given"
    ),
]
Gone = Annotated[bool | None, Field(description="true: the CRM deleted it; it may come back")]


class IngestedUser(TypedDict):
    """One rep or manager."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    user_id: Id
    name: NotRequired[Text | None]
    team: NotRequired[Id | None]
    manager_id: NotRequired[Id | None]
    region: NotRequired[Id | None]


class _State(TypedDict):
    """What records have in common: a field that is not there keeps what the store has, null clears it."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    updated_at: NotRequired[UpdatedAt]
    created_at: NotRequired[Annotated[Moment | None, Field(description="when the CRM's record was made")]]
    gone: NotRequired[Gone]
    attributes: NotRequired[Annotated[Attributes, Field(description="the CRM's own fields, by name")]]


class IngestedAccount(_State):
    """One company, or some of its fields."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    account_id: Id
    name: NotRequired[Text | None]
    parent_id: NotRequired[Id | None]


class _Closing(_State):
    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    account_id: NotRequired[Id | None]
    owner_id: NotRequired[Annotated[Id | None, Field(description="the rep who owns it")]]
    source: NotRequired[Id | None]
    stage: NotRequired[Id | None]
    outcome: NotRequired[
        Annotated[Outcome | None, Field(description="won or lost closes it; null opens it again")]
    ]
    closed_at: NotRequired[Annotated[Moment | None, Field(description="updated_at, where it is not given")]]


class IngestedLead(_Closing):
    """One lead, or some of its fields."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    lead_id: Id


class IngestedDeal(_Closing):
    """One deal, or some of its fields."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    deal_id: Id
    lead_id: NotRequired[Id | None]
    amount: NotRequired[Number | None]
    currency: NotRequired[Annotated[Id | None, Field(description="ISO 4217")]]
    expected_close_at: NotRequired[Annotated[Moment | None, Field(description="the rep's own expectation")]]


class IngestedActivity(TypedDict):
    """One thing done, or planned; sent again when it changes, for example from scheduled to done."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    activity_id: Id
    kind: Annotated[Id, Field(description="what was done, in the CRM's words")]
    occurred_at: Annotated[Moment, Field(description="when it happened, or is planned")]
    updated_at: NotRequired[UpdatedAt]
    lead_id: NotRequired[Id | None]
    deal_id: NotRequired[Id | None]
    account_id: NotRequired[Id | None]
    user_id: NotRequired[Id | None]
    channel: NotRequired[Annotated[Id | None, Field(description="email, call, meeting, web, form, chat, …")]]
    direction: NotRequired[Annotated[Direction | None, Field(description="in: the prospect acted")]]
    status: NotRequired[Annotated[Status | None, Field(description="done where it is not said")]]


class IngestedChange(TypedDict):
    """One change of one field, as the CRM's field history tells it."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    change_id: NotRequired[Annotated[Id | None, Field(description="made of the other fields where absent")]]
    entity: Literal["lead", "deal", "account"]
    record_id: Id
    field: Annotated[Id, Field(description="the canonical column or attribute that changed")]
    changed_at: Moment
    old_value: NotRequired[Text | Number | None]
    new_value: NotRequired[Text | Number | None]
    user_id: NotRequired[Id | None]


class IngestBatch(BaseModel):
    """Records of any kinds, in any order; at most 5,000 in all. One that cannot be used stops no other."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    users: Annotated[list[IngestedUser], Field(max_length=MAX_INGESTED)] = []
    accounts: Annotated[list[IngestedAccount], Field(max_length=MAX_INGESTED)] = []
    leads: Annotated[list[IngestedLead], Field(max_length=MAX_INGESTED)] = []
    deals: Annotated[list[IngestedDeal], Field(max_length=MAX_INGESTED)] = []
    activities: Annotated[list[IngestedActivity], Field(max_length=MAX_INGESTED)] = []
    changes: Annotated[list[IngestedChange], Field(max_length=MAX_INGESTED)] = []


class Counts(BaseModel):
    """What became of the usable records of one table."""

    new: int
    changed: int
    unchanged: Annotated[int, Field(description="known already, or older than what is known")]


class IngestError(BaseModel):
    """Why one record was not ingested; nothing of it was."""

    table: TableName
    index: Annotated[int, Field(description="place in its list, from 0")]
    id: str | None
    code: Literal["invalid_record", "duplicate_id", "conflict"]
    faults: Annotated[list[Fault], Field(min_length=1)]


class Rescoring(BaseModel):
    """How many open records will be scored anew within seconds."""

    leads: int
    deals: int


class IngestAnswer(BaseModel):
    """What was learned. It is stored when this answer comes."""

    learned_at: Annotated[
        Moment, Field(description="from then on scores know of it; none as of an earlier moment changes")
    ]
    tables: Annotated[dict[TableName, Counts], Field(description="those that had a usable record")]
    errors: list[IngestError]
    notices: Annotated[list[str], Field(description="what may be worth a look, in words")]
    rescoring: Rescoring
