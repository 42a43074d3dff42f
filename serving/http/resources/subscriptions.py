"""/v1/subscriptions: who wants to be told of events, and where (REST hooks)."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import anyio
import sqlalchemy as sa
from starlette.responses import Response

from crm.store.service.deliveries import drop_deliveries_of
from crm.store.service.subscriptions import (
    Subscription,
    add_subscription,
    end_subscription,
    subscription,
    subscriptions_of,
)
from serving.answering.event_schemas import (
    NewSubscriptionAnswer,
    SubscriptionAnswer,
    SubscriptionRequest,
    SubscriptionsAnswer,
    SubscriptionsQuery,
)
from serving.http.endpoint import ALL, Call, Endpoint
from serving.http.problems import INVALID_REQUEST, STORE_BUSY, STORE_FULL, Fault, ProblemKind, Refusal
from serving.http.resources.asking import in_store
from serving.http.resources.writing import in_store_writing
from serving.jobs.webhook_targets import TargetRefused, addresses, read_target

NO_SUBSCRIPTION = ProblemKind(
    "no_subscription", 404, "There is no such subscription", "see GET /v1/subscriptions for those of the key"
)
TOO_MANY_SUBSCRIPTIONS = ProblemKind(
    "too_many_subscriptions",
    409,
    "The key has as many live subscriptions as it may",
    "delete one that is not needed",
)


def sees(call: Call, one: Subscription) -> bool:
    """Say whether a subscription is the caller's: its own, or any for an admin."""
    return call.caller.role == "admin" or (one.key_id is not None and one.key_id == call.caller.key_id)


def own_subscriptions(call: Call, connection: sa.Connection, *, live_only: bool) -> list[Subscription]:
    """Give the caller's subscriptions."""
    return [one for one in subscriptions_of(connection, live_only=live_only) if sees(call, one)]


async def _subscribe(call: Call) -> Response:
    """Make a subscription, where its target is fit now; it is looked at again at each delivery."""
    request: SubscriptionRequest = call.body
    settings = call.state.settings.webhooks
    try:
        target = read_target(request.target_url)
        with anyio.fail_after(settings.timeout_seconds):
            await addresses(target, [ip_network(one) for one in settings.allow_networks])
    except TargetRefused as refused:
        raise _refuse(str(refused)) from None
    except TimeoutError:
        raise _refuse("names a host that cannot be found in time") from None

    def write(connection: sa.Connection) -> bytes:
        live = [one for one in subscriptions_of(connection) if one.key_id == call.caller.key_id]
        if len(live) >= settings.most_per_key:
            raise Refusal(TOO_MANY_SUBSCRIPTIONS, f"it has {len(live)}")
        owners = call.caller.owners(connection)
        made = add_subscription(
            connection,
            target_url=request.target_url,
            events=list(dict.fromkeys(request.events)),
            key_id=call.caller.key_id,
            owners=None if owners is None else sorted(owners),
            now=call.now,
        )
        answer = NewSubscriptionAnswer(**_shown(made), secret=made.secret)
        return answer.model_dump_json().encode()

    return await in_store_writing(call, write, 201)


def _refuse(remedy: str) -> Refusal:
    # The address is not shown again: it may hold what should not be in a log.
    fault = Fault(field="target_url", code="invalid_target", value="", remedy=remedy)
    return Refusal(INVALID_REQUEST, "events cannot be sent to this target", (fault,))


async def _list(call: Call) -> SubscriptionsAnswer:
    """Give the caller's subscriptions."""
    query: SubscriptionsQuery = call.query

    def read(connection: sa.Connection) -> SubscriptionsAnswer:
        found = own_subscriptions(call, connection, live_only=not query.ended)
        return SubscriptionsAnswer(subscriptions=[SubscriptionAnswer(**_shown(one)) for one in found])

    return await in_store(call, read)


async def _get(call: Call) -> SubscriptionAnswer:
    """Give one of them, also one that has ended."""

    def read(connection: sa.Connection) -> SubscriptionAnswer:
        return SubscriptionAnswer(**_shown(_own(call, connection)))

    return await in_store(call, read)


async def _unsubscribe(call: Call) -> Response:
    """End one of them; what waits for it is not sent any more."""

    def write(connection: sa.Connection) -> bytes:
        one = _own(call, connection)
        end_subscription(connection, one.subscription_id, "deleted", call.now)
        drop_deliveries_of(connection, one.subscription_id)
        return b""

    return await in_store_writing(call, write, 204)


def _own(call: Call, connection: sa.Connection) -> Subscription:
    found = subscription(connection, call.path["subscription_id"])
    if found is None or not sees(call, found):
        raise Refusal(NO_SUBSCRIPTION)
    return found


def _shown(one: Subscription) -> dict[str, Any]:
    return {
        "subscription_id": one.subscription_id,
        "target_url": one.target_url,
        "events": list(one.events),
        "created_at": one.created_at,
        "ended_at": one.ended_at,
        "ended_why": one.ended_why,
    }


_EXAMPLE: dict[str, Any] = {
    "subscription_id": "sub_5b0c7f1e9a3d4c2b8f6e7d10",
    "target_url": "https://hooks.example.com/vigie/7c1f",
    "events": ["score_changed"],
    "created_at": "2026-03-02T09:00:00+00:00",
    "ended_at": None,
    "ended_why": None,
}

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/subscriptions",
        operation="subscribe",
        summary="Subscribe to events",
        description="Events are sent as POST requests, signed as Standard Webhooks does, at least once, with "
        "the same webhook-id each time. A key of a rep or manager is told only of records that it may see. "
        "A target that answers 410 ends its subscription; other failures are tried again for about a day, "
        "then kept as dead letters. Redirects are not followed.",
        roles=ALL,
        handle=_subscribe,
        body=SubscriptionRequest,
        answer=NewSubscriptionAnswer,
        problems=(INVALID_REQUEST, TOO_MANY_SUBSCRIPTIONS, STORE_BUSY, STORE_FULL),
        example={"target_url": "https://hooks.example.com/vigie/7c1f", "events": ["score_changed"]},
        answer_example={**_EXAMPLE, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
        idempotent=True,
        status=201,
    ),
    Endpoint(
        method="GET",
        path="/v1/subscriptions",
        operation="list_subscriptions",
        summary="Subscriptions",
        description="Those that were made with the key; with a key of an admin all.",
        roles=ALL,
        handle=_list,
        query=SubscriptionsQuery,
        answer=SubscriptionsAnswer,
        example={"ended": "true"},
        answer_example={"subscriptions": [_EXAMPLE]},
    ),
    Endpoint(
        method="GET",
        path="/v1/subscriptions/{subscription_id}",
        operation="get_subscription",
        summary="One subscription",
        description="Also one that has ended, with the reason.",
        roles=ALL,
        handle=_get,
        answer=SubscriptionAnswer,
        problems=(NO_SUBSCRIPTION,),
        answer_example=_EXAMPLE,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/subscriptions/{subscription_id}",
        operation="unsubscribe",
        summary="End a subscription",
        description="What waits for it is not sent any more. To end it again changes nothing.",
        roles=ALL,
        handle=_unsubscribe,
        problems=(NO_SUBSCRIPTION, STORE_BUSY, STORE_FULL),
        status=204,
    ),
)
