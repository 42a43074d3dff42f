"""Events reach their targets: signed, at least once, only public addresses, and none waits for another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crm.store import Store
from crm.store.service.deliveries import (
    Delivery,
    Event,
    dead_letters,
    due_deliveries,
    emit,
    retry_dead_letter,
    waiting_deliveries,
)
from crm.store.service.engine import ServiceStore
from crm.store.service.keys import add_key, revoke_key
from crm.store.service.leases import Lease, take_lease
from crm.store.service.subscriptions import Subscription, add_subscription, subscription
from serving.answering.webhook_signing import check, read_secret
from serving.http.state import State
from serving.jobs.webhook_targets import TargetRefused, read_target
from serving.jobs.webhooks import deliver_due
from serving.served_model import ServedModel
from serving.settings import ServiceSettings
from serving.webhook_settings import DELAYS, WebhookSettings

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
LOCAL = WebhookSettings(allow_networks=("127.0.0.0/8",), timeout_seconds=5.0)


class Bench:
    """A store, the state of a worker, its lease, and a clock that is set by hand."""

    def __init__(self, url: str, settings: WebhookSettings = LOCAL) -> None:
        Store.open(url, create=True)
        self.now = NOW
        self.store = ServiceStore.open(url)
        self.state = State(served=ServedModel(), clock=lambda: self.now, store=self.store)
        self.state.use_settings(ServiceSettings(webhooks=settings))
        self.lease = self.take_lease()

    def take_lease(self) -> Lease:
        """Take the lease, as a worker that starts."""
        from crm.store.service.leases import read_lease

        with self.store.writing() as connection:
            lease = take_lease(connection, "worker", "me", read_lease(connection, "worker"))
        assert lease is not None
        return lease

    def subscribe(
        self, url: str, key_id: str | None = None, owners: Sequence[str] | None = None
    ) -> Subscription:
        """Make a subscription."""
        with self.store.writing() as connection:
            return add_subscription(
                connection,
                target_url=url,
                events=["score_changed"],
                key_id=key_id,
                owners=owners,
                now=self.now,
            )

    def emit(self, count: int = 1, owner: str | None = "ann") -> list[str]:
        """Let scores change."""
        events = [Event(f"L-{number}", owner, {"id": f"L-{number}"}) for number in range(count)]
        with self.store.writing() as connection:
            return emit(connection, "score_changed", events, self.now)

    def waiting(self) -> int:
        """Give how many deliveries wait."""
        with self.store.reading() as connection:
            found = waiting_deliveries(connection)
        return 0 if found is None else found.n

    def due(self) -> list[Delivery]:
        """Give what is due within days."""
        with self.store.reading() as connection:
            return due_deliveries(connection, self.now + timedelta(days=9), 1000)

    def dead(self) -> list[Delivery]:
        """Give the dead letters."""
        with self.store.reading() as connection:
            return dead_letters(connection, limit=100)

    def of(self, one: Subscription) -> Subscription:
        """Give a subscription as it is now."""
        with self.store.reading() as connection:
            found = subscription(connection, one.subscription_id)
        assert found is not None
        return found

    async def deliver(self, targets: Any) -> int:
        """Deliver what is due."""
        return await deliver_due(self.state, self.lease, find=targets.find)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Give a store with nothing in it."""
    return Bench(f"sqlite:///{tmp_path / 'crm.db'}")


def run(scene: Callable[[], Awaitable[None]]) -> None:
    """Play a scene."""

    async def play() -> None:
        async with asyncio.timeout(60):
            await scene()

    asyncio.run(play())


def test_an_event_arrives_signed(store_url: str, targets: Any) -> None:
    """The body is the event, and headers and signature are those of Standard Webhooks."""
    bench = Bench(store_url)

    async def scene() -> None:
        async with targets() as server:
            made = bench.subscribe(server.url("/hook?key=1"))
            (event_id,) = bench.emit()
            assert await bench.deliver(server) == 1
            (request,) = server.received
        assert request.path == "/hook?key=1"
        assert request.headers["host"] == f"hooks.example.com:{server.port}"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["webhook-id"] == event_id
        assert check([read_secret(made.secret)], request.headers, request.body, NOW) is None
        assert json.loads(request.body) == {
            "type": "score_changed",
            "timestamp": NOW.isoformat(),
            "data": {"id": "L-0"},
        }
        assert bench.waiting() == 0
        assert bench.dead() == []

    run(scene)
    bench.store.close()


def test_a_failed_event_is_tried_again_with_the_same_id(bench: Bench, targets: Any) -> None:
    """After an error it waits five seconds, is not due before, and arrives under the id that it had."""
    told = [(500, {}), (200, {})]

    async def scene() -> None:
        async with targets(lambda _: told.pop(0)) as server:
            bench.subscribe(server.url())
            bench.emit()
            await bench.deliver(server)
            (waits,) = bench.due()
            assert (waits.attempts, waits.error) == (1, "answered 500")
            assert timedelta(seconds=5) <= waits.due_at - NOW <= timedelta(seconds=6)
            assert await bench.deliver(server) == 0
            bench.now += timedelta(seconds=6)
            assert await bench.deliver(server) == 1
            first, second = server.received
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body
        assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 6
        assert bench.waiting() == 0

    run(scene)


def test_what_fails_for_a_day_is_a_dead_letter_that_can_be_sent_again(bench: Bench, targets: Any) -> None:
    """The pauses grow as they are documented; the letter is kept, and goes out anew when asked for."""
    status = [500]

    async def scene() -> None:
        async with targets(lambda _: (status[0], {})) as server:
            bench.subscribe(server.url())
            bench.emit()
            for delay in DELAYS:
                assert await bench.deliver(server) == 1
                (waits,) = bench.due()
                pause = (waits.due_at - bench.now).total_seconds()
                assert delay <= pause <= delay * 1.2
                bench.now = waits.due_at
            assert await bench.deliver(server) == 1
            assert bench.waiting() == 0
            (letter,) = bench.dead()
            assert (letter.attempts, letter.error) == (8, "answered 500")
            status[0] = 204
            with bench.store.writing() as connection:
                assert retry_dead_letter(connection, letter.delivery_id, bench.now)
            assert await bench.deliver(server) == 1
            assert bench.dead() == []
            assert {one.headers["webhook-id"] for one in server.received} == {letter.event_id}

    run(scene)


def test_410_ends_a_subscription(bench: Bench, targets: Any) -> None:
    """What waits for it goes, no further event is made for it, and the reason is kept."""

    async def scene() -> None:
        async with targets(lambda _: (410, {})) as server:
            made = bench.subscribe(server.url())
            bench.emit(20)
            await bench.deliver(server)
            # The first few were on their way together.
            assert len(server.received) == 8
            assert bench.waiting() == 0
            assert bench.of(made).ended_why == "the target answered 410 Gone"
            bench.emit()
            assert bench.waiting() == 0
            assert bench.dead() == []

    run(scene)


def test_a_pause_that_the_target_asks_for_is_kept(bench: Bench, targets: Any) -> None:
    """Retry-After with 503 puts an event off for longer than the usual pause, a day at most."""
    asked = iter(["90", "99999999", "Mon, 02 Mar 2026 09:05:00 GMT", "soon"])

    async def scene() -> None:
        async with targets(lambda _: (503, {"retry-after": next(asked)})) as server:
            bench.subscribe(server.url())
            pauses = []
            for _ in range(4):
                bench.emit()
                await bench.deliver(server)
                pauses.append((bench.due()[-1].due_at - NOW).total_seconds())
                with bench.store.writing() as connection:
                    connection.exec_driver_sql("DELETE FROM deliveries")
                await asyncio.sleep(0)
        assert pauses[:3] == [90, 86_400, 300]
        assert 5 <= pauses[3] <= 6

    run(scene)


def test_a_redirect_is_not_followed(bench: Bench, targets: Any) -> None:
    """An event does not go where the target points to, which nobody has looked at."""

    async def scene() -> None:
        async with targets(lambda one: (302, {"location": f"https://127.0.0.1{one.path}/x"})) as server:
            bench.subscribe(server.url("/a"))
            bench.emit()
            await bench.deliver(server)
            assert [one.path for one in server.received] == ["/a"]
            (waits,) = bench.due()
            assert waits.error is not None
            assert waits.error.startswith("answered 302; redirects are not followed")

    run(scene)


def test_a_name_that_means_a_private_address_is_not_connected_to(tmp_path: Path, targets: Any) -> None:
    """A name that was public when it was subscribed and then means this machine gets nothing, not even a
    connection."""
    bench = Bench(f"sqlite:///{tmp_path / 'crm.db'}", WebhookSettings(timeout_seconds=5.0))

    async def scene() -> None:
        async with targets() as server:
            bench.subscribe(server.url())
            bench.emit()
            await bench.deliver(server)
            assert server.n_connections == 0
            (waits,) = bench.due()
            assert waits.error is not None
            assert "means an address that is not public" in waits.error

    run(scene)


def test_the_address_that_was_checked_is_the_one_connected_to(bench: Bench, targets: Any) -> None:
    """A name is looked up once for an attempt: its second meaning is never asked for."""
    asked: list[str] = []

    async def scene() -> None:
        async with targets() as server:

            async def find(host: str, port: int) -> Sequence[str]:
                asked.append(host)
                return ["127.0.0.1"]

            # No system knows this name, so whatever looked it up again would fail.
            bench.subscribe(server.url())
            bench.emit()
            await deliver_due(bench.state, bench.lease, find=find)
            assert len(server.received) == 1
        assert asked == ["hooks.example.com"]

    run(scene)


def test_one_private_address_among_public_ones_is_enough_to_refuse(bench: Bench, targets: Any) -> None:
    """Which of them would be connected to is not left to chance."""

    async def find(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1", "10.0.0.7"]

    async def scene() -> None:
        async with targets() as server:
            bench.subscribe(server.url())
            bench.emit()
            await deliver_due(bench.state, bench.lease, find=find)
            assert server.n_connections == 0

    run(scene)


def test_a_slow_target_holds_up_no_other(bench: Bench, targets: Any) -> None:
    """While one target does not answer, the others get what is due, and what comes meanwhile."""

    def answer(one: Any) -> Any:
        return 4.0 if one.path == "/slow" else (200, {})

    async def scene() -> None:
        async with targets(answer) as server:
            bench.subscribe(server.url("/slow", "slow.example.com"))
            bench.emit(30)
            bench.subscribe(server.url("/quick"))
            bench.emit(30)
            turn = asyncio.create_task(bench.deliver(server))
            loop = asyncio.get_running_loop()
            began = loop.time()

            def quick() -> int:
                return sum(one.path == "/quick" for one in server.received)

            while quick() < 30:
                await asyncio.sleep(0.02)
            await asyncio.to_thread(bench.emit, 5)
            while quick() < 35:
                await asyncio.sleep(0.02)
            assert loop.time() - began < 3.5
            assert not turn.done()
            turn.cancel()
            await asyncio.gather(turn, return_exceptions=True)

    run(scene)


def test_a_target_that_does_not_answer_in_time_has_failed(tmp_path: Path, targets: Any) -> None:
    """Its events wait for their next attempt; the turn does not."""
    settings = WebhookSettings(allow_networks=("127.0.0.0/8",), timeout_seconds=0.3)
    bench = Bench(f"sqlite:///{tmp_path / 'crm.db'}", settings)

    async def scene() -> None:
        async with targets(lambda _: 30.0) as server:
            bench.subscribe(server.url())
            bench.emit()
            began = asyncio.get_running_loop().time()
            await bench.deliver(server)
            assert asyncio.get_running_loop().time() - began < 3
            (waits,) = bench.due()
            assert waits.error == "no answer within 0.3 s"

    run(scene)


def test_a_certificate_of_another_name_is_refused(bench: Bench, targets: Any) -> None:
    """Nothing is sent to who cannot show the certificate of the name that was subscribed."""

    async def scene() -> None:
        async with targets() as server:
            bench.subscribe(server.url(host="other.example.com"))
            bench.emit()
            await bench.deliver(server)
            assert server.received == []
            (waits,) = bench.due()
            assert waits.error is not None
            assert waits.error.startswith("the target's certificate is not valid: Hostname mismatch")

    run(scene)


def test_a_proxy_of_the_environment_is_not_used(
    bench: Bench, targets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would connect to what was not looked at here."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")

    async def scene() -> None:
        async with targets() as server:
            bench.subscribe(server.url())
            bench.emit()
            await bench.deliver(server)
            assert len(server.received) == 1

    run(scene)


def test_without_the_lease_nothing_is_sent(bench: Bench, targets: Any) -> None:
    """Another process delivers from now on."""

    async def scene() -> None:
        async with targets() as server:
            bench.subscribe(server.url())
            bench.emit()
            bench.take_lease()
            assert await bench.deliver(server) == 0
            assert server.received == []
            assert bench.waiting() == 1

    run(scene)


def test_a_lease_lost_while_sending_is_noticed(bench: Bench, targets: Any) -> None:
    """What arrived is noted all the same; of a failure the new holder takes count, and no more is sent."""

    def answer(one: Any) -> Any:
        if len(server_received) == 0:
            bench.take_lease()
        server_received.append(one)
        return (200, {}) if len(server_received) % 2 else (500, {})

    server_received: list[Any] = []

    async def scene() -> None:
        async with targets(answer) as server:
            bench.subscribe(server.url())
            bench.emit(24)
            await bench.deliver(server)
            assert len(server.received) == 8
            assert [one.attempts for one in bench.due()] == [0] * 20

    run(scene)


def test_a_revoked_key_has_no_subscriptions(bench: Bench, targets: Any) -> None:
    """What waits for them is not sent, and they end."""

    async def scene() -> None:
        async with targets() as server:
            with bench.store.writing() as connection:
                key, _ = add_key(connection, name="crm", role="crm", now=NOW)
            made = bench.subscribe(server.url(), key.key_id)
            bench.emit()
            with bench.store.writing() as connection:
                revoke_key(connection, key.key_id, NOW)
            assert await bench.deliver(server) == 0
            assert server.received == []
            assert bench.waiting() == 0
            assert bench.of(made).ended_why == "its key was revoked"

    run(scene)


def test_a_subscription_is_told_of_its_own_records_only(bench: Bench) -> None:
    """A rep's of the rep's, a manager's of the teams as they are now, an admin's of all."""
    with bench.store.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO users (user_id, team, position, load_id) VALUES ('ann', 'North', 1, 1), "
            "('bob', 'South', 2, 1)"
        )
        rep, _ = add_key(connection, name="r", role="rep", owner_id="ann", now=NOW)
        manager, _ = add_key(connection, name="m", role="manager", teams=["North"], now=NOW)
        admin, _ = add_key(connection, name="a", role="admin", now=NOW)
    names = {
        bench.subscribe("https://a.example.com/", rep.key_id, ["ann"]).subscription_id: "rep",
        bench.subscribe("https://a.example.com/", manager.key_id, ["ann"]).subscription_id: "manager",
        bench.subscribe("https://a.example.com/", admin.key_id).subscription_id: "admin",
    }

    def told(owner: str | None) -> set[str]:
        (event_id,) = bench.emit(1, owner)
        return {names[one.subscription_id] for one in bench.due() if one.event_id == event_id}

    assert told("ann") == {"rep", "manager", "admin"}
    assert told("bob") == {"admin"}
    assert told(None) == {"admin"}
    with bench.store.writing() as connection:
        connection.exec_driver_sql("UPDATE users SET team = 'North' WHERE user_id = 'bob'")
        connection.exec_driver_sql("UPDATE users SET team = 'South' WHERE user_id = 'ann'")
    assert told("bob") == {"manager", "admin"}
    assert told("ann") == {"rep", "admin"}


def test_a_clock_that_was_set_back_holds_nothing_up(bench: Bench, targets: Any) -> None:
    """An event that was made at a moment which the clock has not reached again is sent."""

    async def scene() -> None:
        async with targets() as server:
            bench.subscribe(server.url())
            bench.emit()
            bench.now -= timedelta(minutes=10)
            assert await bench.deliver(server) == 1

    run(scene)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example.com/", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"),
        ("https:///x", "names no host"),
        ("https://user:word@hooks.example.com/", "must hold no user and password"),
        ("https://hooks.example.com/#x", "must hold no #fragment"),
        ("https://hooks.example.com:0/", "must have a port from 1 to 65535"),
        ("https://hooks.example.com:99999/", "must have a port from 1 to 65535"),
        ("https://hooks.example.com/\n", "is no address"),
        ("https://hooks.example.com/" + "x" * 2000, "must have at most 2000 characters"),
    ],
)
def test_an_address_that_is_no_target_is_refused(url: str, why: str) -> None:
    """Whatever its name means."""
    with pytest.raises(TargetRefused, match=why):
        read_target(url)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_an_address_that_is_not_public_is_not_sent_to(address: str) -> None:
    """Also where an IPv6 address leads to an IPv4 one."""
    from ipaddress import ip_address, ip_network

    from serving.jobs.webhook_targets import is_fit

    assert not is_fit(ip_address(address), [])
    assert not is_fit(ip_address(address), [ip_network("203.0.113.0/24")])
    assert is_fit(ip_address("93.184.215.14"), [])
    assert is_fit(ip_address("2606:4700::1"), [])
    assert is_fit(ip_address("::ffff:10.0.0.1"), [ip_network("10.0.0.0/8")])
