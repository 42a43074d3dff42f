"""Subscriptions to events, and events that could not be delivered."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.answering.schemas import Moment

EventType = Literal["score_changed"]
MAX_LETTERS = 100

_CLOSED = ConfigDict(extra="forbid", strict=True, frozen=True)


class SubscriptionRequest(BaseModel):
    """Where to send which events."""

    model_config = _CLOSED

    target_url: Annotated[
        str,
        Field(
            min_length=1,
            max_length=2000,
            description="https, at a public address; whoever knows it can be sent to, so let it hold a part "
            "that cannot be guessed",
        ),
    ]
    events: Annotated[list[EventType], Field(min_length=1, max_length=10)] = ["score_changed"]


class SubscriptionAnswer(BaseModel):
    """One subscription."""

    subscription_id: str
    target_url: str
    events: list[str]
    created_at: Moment
    ended_at: Moment | None
    ended_why: str | None


class NewSubscriptionAnswer(SubscriptionAnswer):
    """One that was made now."""

    secret: Annotated[
        str, Field(description="that deliveries are signed with, as Standard Webhooks does; shown only here")
    ]


class SubscriptionsQuery(BaseModel):
    """Which subscriptions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ended: Annotated[bool, Field(description="also those that have ended")] = False


class SubscriptionsAnswer(BaseModel):
    """The key's own subscriptions, an admin's key sees all; the oldest first."""

    subscriptions: list[SubscriptionAnswer]


class DeadLettersQuery(BaseModel):
    """A page of dead letters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=MAX_LETTERS)] = 20
    before: Annotated[
        int | None, Field(ge=1, le=2**62, description="next_before of the page before this one")
    ] = None


class DeadLetter(BaseModel):
    """An event that was tried so often that it is tried no more."""

    delivery_id: int
    event_id: Annotated[str, Field(description="the webhook-id that it was sent with")]
    event_type: str
    subscription_id: str
    attempts: int
    error: str | None
    created_at: Moment
    event: Annotated[dict[str, Any], Field(description="the body that was sent")]


class DeadLettersAnswer(BaseModel):
    """Dead letters of the key's own subscriptions, the latest first."""

    dead_letters: list[DeadLetter]
    next_before: int | None


class RetryAnswer(BaseModel):
    """A dead letter that is on its way again."""

    delivery_id: int
    due_at: Moment
