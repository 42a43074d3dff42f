"""What is asked of lists and single records, and how they come back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from serving.answering.figure_schemas import Zone
from serving.answering.schemas import MAX_REASONS, Id, Language, Moment, Reason

_QUERY = ConfigDict(extra="forbid", frozen=True)
_CLOSED = ConfigDict(extra="forbid")

Sort = Literal["propensity", "expected_value", "change"]
Grade = Literal["A", "B", "C", "D"]
Cursor = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2400),
    Field(description="next_cursor of the page before; for the same question and key"),
]
Top = Annotated[int, Field(ge=0, le=MAX_REASONS, description="the strongest reasons, so many at most")]


class ListQuery(BaseModel):
    """Which scored open records, in which order."""

    model_config = _QUERY

    sort: Annotated[
        Sort,
        Field(
            description="by probability; by probability times amount; by how far the score moved, up or down "
            "being told by its sign: the largest rise first"
        ),
    ] = "propensity"
    owner: Annotated[Id | None, Field(description="only this rep's")] = None
    team: Annotated[Id | None, Field(description="only those of this team's reps")] = None
    stage: Id | None = None
    grade: Grade | None = None
    account: Annotated[Id | None, Field(description="only those of this company")] = None
    min_probability: Annotated[float | None, Field(ge=0, le=1)] = None
    limit: Annotated[int, Field(ge=1, le=200, description="records on a page")] = 50
    cursor: Cursor | None = None
    reasons: Top = 1
    language: Language | None = None


class Contact(BaseModel):
    """What somebody of us last did with a record, as far as the store knows."""

    model_config = _CLOSED

    at: Moment
    kind: str
    channel: str | None


class Mark(BaseModel):
    """That a record is done with for the day, or put off."""

    model_config = _CLOSED

    kind: Literal["done", "snoozed"]
    until: Annotated[Moment | None, Field(description="from then on the record is on the call list again")]
    at: Moment


class RecordFacts(BaseModel):
    """What the CRM says of a record."""

    model_config = _CLOSED

    id: str
    name: Annotated[str | None, Field(description="where the CRM gives one; else that of the company")]
    account_id: str | None
    account_name: str | None
    owner_id: str | None
    owner_name: str | None
    team: str | None
    source: str | None
    stage: str | None
    amount: float | None
    currency: str | None
    expected_close_at: Annotated[Moment | None, Field(description="the rep's own expectation")]
    created_at: Moment | None
    last_contact: Contact | None


class ShownScore(BaseModel):
    """A stored score."""

    model_config = _CLOSED

    probability: float
    grade: Grade | None
    change: Annotated[float | None, Field(description="since the score before, in probability")]
    expected_amount: float | None
    expected_value: Annotated[float | None, Field(description="probability times expected amount")]
    close_p10: Moment | None
    close_p50: Moment | None
    close_p90: Moment | None
    reasons: Annotated[list[Reason], Field(description="strongest first, whichever way they point")]
    risks: list[dict[str, Any]]
    as_of: Moment
    scored_at: Moment
    model_version: str


class Listed(RecordFacts):
    """A record of a ranked list."""

    score: ShownScore


class ListAnswer(BaseModel):
    """A page of a ranked list."""

    model_config = _CLOSED

    records: list[Listed]
    next_cursor: Annotated[str | None, Field(description="null on the last page")]


class RecordQuery(BaseModel):
    """How to tell of one record."""

    model_config = _QUERY

    reasons: Top = 5
    language: Language | None = None


class WholeScore(ShownScore):
    """A stored score with all that is kept of it."""

    base_probability: float
    other_effects: Annotated[float, Field(description="what the effects that are not shown sum to")]
    rank: Annotated[int, Field(description="among the scored open records of the store; 1 is the highest")]
    of: Annotated[int, Field(description="how many are ranked")]
    previous_probability: float | None
    previous_as_of: Moment | None
    change_reasons: Annotated[list[Reason], Field(description="what moved it since, by its part")]
    valid_until: Moment | None
    input_hash: str


class RecordAnswer(RecordFacts):
    """One record with its stored score."""

    outcome: Annotated[Literal["won", "lost"] | None, Field(description="null while it is open")]
    closed_at: Moment | None
    mark: Mark | None
    score: Annotated[WholeScore | None, Field(description="null: closed, or not scored yet")]


class HistoryQuery(BaseModel):
    """Which part of a score's past."""

    model_config = _QUERY

    limit: Annotated[int, Field(ge=1, le=500)] = 100
    before: Annotated[Moment | None, Field(description="scores as of before; for the next page")] = None
    reasons: Top = 3
    language: Language | None = None


class PastScore(BaseModel):
    """A score as it was."""

    model_config = _CLOSED

    as_of: Moment
    scored_at: Moment
    probability: float
    change: Annotated[float | None, Field(description="since the point before it")]
    grade: Grade | None
    model_version: str
    reasons: list[Reason]


class HistoryAnswer(BaseModel):
    """A record's score over time; a point where it moved, or another model looked at it."""

    model_config = _CLOSED

    id: str
    points: Annotated[list[PastScore], Field(description="the latest first")]
    next_before: Annotated[Moment | None, Field(description="before of the next page; null on the last")]


class CallQuery(BaseModel):
    """Whose calls, and how many."""

    model_config = _QUERY

    n: Annotated[int, Field(ge=1, le=100, description="calls today")] = 10
    owner: Annotated[Id | None, Field(description="this rep's; a rep's own without it")] = None
    zone: Zone = "UTC"
    reasons: Top = 1
    language: Language | None = None


class Call(RecordFacts):
    """A record to call."""

    entity: Literal["lead", "deal"]
    place: Annotated[int, Field(description="1 comes first")]
    value: Annotated[float | None, Field(description="what a sale brings: its own amount, or a typical one")]
    is_typical_value: bool
    if_contacted: Annotated[float, Field(description="the chance associated with a contact now")]
    if_left: Annotated[float, Field(description="the chance after a week of silence")]
    gain: Annotated[float, Field(description="value times the difference; in probability without a value")]
    silent_days: Annotated[float | None, Field(description="since the last contact; null: never")]
    suggested_kind: Annotated[str | None, Field(description="the contact that reps make most")]
    suggested_channel: str | None
    score: ShownScore


class CallAnswer(BaseModel):
    """Whom to call first today."""

    model_config = _CLOSED

    as_of: Moment
    day_began_at: Annotated[Moment, Field(description="in the zone asked for")]
    model_version: Annotated[str, Field(description="of the model asked about contacts and silence")]
    n_candidates: int
    n_contacted_today: Annotated[int, Field(description="left out: contacted since the day began")]
    n_marked: Annotated[int, Field(description="left out: done today, or snoozed")]
    calls: list[Call]


class MarkBody(BaseModel):
    """What to do with a record on the call list."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    action: Annotated[
        Literal["done", "snooze", "undo"],
        Field(description="done for the day; put off until a moment; or take back either"),
    ]
    until: Annotated[
        AwareDatetime | None, Field(description="of a snooze: ISO 8601 with a zone, ahead, by a year at most")
    ] = None

    @model_validator(mode="after")
    def _until_of_a_snooze(self) -> MarkBody:
        if (self.action == "snooze") != (self.until is not None):
            raise ValueError("until belongs to a snooze, and a snooze needs it")
        return self


class MarkAnswer(BaseModel):
    """The mark that the record has now."""

    model_config = _CLOSED

    id: str
    mark: Mark | None
