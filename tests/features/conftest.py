"""Small random histories with everything that makes features hard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from crm.history import History, empty_frame
from crm.schema import TABLES

HOUR = 3_600_000_000
DAY = 24 * HOUR
#: First moment of every random history: 2024-01-01 in UTC, as microseconds.
BEGIN = 1_704_067_200_000_000
SPAN_DAYS = 120


def frame_of(table: str, rows: list[dict[str, Any]], extra: dict[str, str] | None = None) -> pd.DataFrame:
    """Make a canonical table of rows; moments are microseconds since 1970, or None."""
    frame = empty_frame(TABLES[table])
    dtypes = {str(name): str(dtype) for name, dtype in frame.dtypes.items()} | (extra or {})
    columns = {}
    for name, dtype in dtypes.items():
        values = [row.get(name) for row in rows]
        if dtype.startswith("datetime"):
            moments = np.array(
                [np.datetime64(v, "us") if v is not None else np.datetime64("NaT", "us") for v in values]
            )
            columns[name] = pd.Series(moments.astype("datetime64[us]")).dt.tz_localize("UTC")
        elif dtype == "float64":
            columns[name] = pd.Series([np.nan if v is None else v for v in values], dtype="float64")
        else:
            columns[name] = pd.Series(values, dtype="str")
    return pd.DataFrame(columns)


class _Maker:
    """Draws one history; moments fall on whole hours, often the same, often on an edge of a window."""

    def __init__(self, seed: int, size: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.size = size
        self.changes: list[dict[str, Any]] = []

    def maybe(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def moment(self, low: int = 0, high: int = SPAN_DAYS) -> int:
        hours = int(self.rng.integers(low * 4, high * 4)) * 6
        return BEGIN + hours * HOUR

    def late(self, moment: int) -> int:
        return moment + int(self.pick(0, 0, 0, 6, 48)) * HOUR

    def change(self, entity: str, record: str, field: str, values: list[Any], first: int) -> Any:
        """Let a field step through values; give the one it has at the end."""
        old = values[0]
        when = first
        for new in values[1:]:
            when = when + int(self.pick(0, 6, 24, 24 * 7, 24 * 20)) * HOUR
            self.changes.append(
                {
                    "change_id": str(len(self.changes)),
                    "entity": entity,
                    "record_id": record,
                    "field": field,
                    "old_value": old,
                    "new_value": new,
                    "user_id": self.pick("u1", "u2", None),
                    "changed_at": when,
                    "recorded_at": self.late(when),
                }
            )
            old = new
        return old

    def walk(self, *choices: Any) -> list[Any]:
        return [self.pick(*choices) for _ in range(int(self.rng.integers(1, 5)))]

    def outcome(self, created: int) -> dict[str, Any]:
        if self.maybe(0.45):
            return {"gone_at": self.moment(60) if self.maybe(0.1) else None}
        closed = created + int(self.rng.integers(1, 70)) * DAY
        return {
            "outcome": self.pick("won", "lost"),
            "closed_at": None if self.maybe(0.05) else closed,
            "closed_recorded_at": None if self.maybe(0.3) else self.late(closed),
        }

    def record(self, entity: str, number: int, name: str) -> dict[str, Any]:
        # One record is old, so that the history is long enough for the calendar's features.
        created = self.moment(0, 90) - (750 * DAY if number == 0 else 0)
        stages = ["new", "qualified", "proposal", "negotiation"]
        reached = stages[: int(self.rng.integers(1, 5))]
        if self.maybe(0.3):
            reached.append(self.pick(*stages))
        row: dict[str, Any] = {
            f"{entity}_id": name,
            "created_at": None if self.maybe(0.1) else created,
            "recorded_at": self.late(created),
            "account_id": self.change(
                entity, name, "account_id", self.walk("a1", "a2", "a3", None)[:2], created
            ),
            "owner_id": self.change(entity, name, "owner_id", self.walk("u1", "u2", "u3", None), created),
            "source": self.pick("web", "fair", "web", None),
            "stage": self.change(entity, name, "stage", reached, created),
            "size": self.pick(1.0, 10.0, 250.5, None),
            "rating": self.change(entity, name, "rating", self.walk("hot", "cold", None), created),
            **self.outcome(created),
        }
        if entity == "deal":
            amounts = self.walk("100", "250.5", "1000", "0", None)
            amount = self.change(entity, name, "amount", amounts, created)
            dates = [f"2024-0{self.rng.integers(2, 8)}-15T00:00:00+00:00" for _ in range(3)]
            close = self.change(
                entity, name, "expected_close_at", dates[: int(self.rng.integers(1, 4))], created
            )
            leads = self.walk("l1", "l2", "l3", "l4", "l5", None)[:2]
            row |= {
                "amount": None if amount is None else float(amount),
                "currency": self.pick("EUR", "USD"),
                "expected_close_at": int(pd.Timestamp(close).timestamp()) * 1_000_000,
                "lead_id": self.change(entity, name, "lead_id", leads, created),
            }
        return row

    def activity(self, number: int) -> dict[str, Any]:
        when = self.moment(0)
        deal = self.pick(None, f"d{self.rng.integers(self.size)}")
        return {
            "activity_id": str(number),
            "deal_id": deal,
            "lead_id": f"l{self.rng.integers(self.size)}" if deal is None or self.maybe(0.3) else None,
            "user_id": self.pick("u1", "u2", "u3", None),
            "kind": self.pick("call", "call", "demo", "mail"),
            "channel": self.pick("phone", "web", None),
            "direction": self.pick("in", "out", None),
            "status": self.pick("scheduled", "started", "done", "done", "cancelled", None),
            "occurred_at": when,
            "recorded_at": self.late(when),
        }

    def history(self) -> History:
        accounts = [
            {
                "account_id": name,
                "recorded_at": self.moment(0, 30),
                "industry": self.change(
                    "account", name, "industry", self.walk("steel", "food", "law"), BEGIN
                ),
                "staff": float(self.pick(5, 50, 500)),
            }
            for name in ("a1", "a2")
        ]
        leads = [self.record("lead", n, f"l{n}") for n in range(self.size)]
        deals = [self.record("deal", n, f"d{n}") for n in range(self.size)]
        activities = [self.activity(n) for n in range(self.size * 12)]
        attributes = {"size": "float64", "rating": "str"}
        return History.of(
            {
                "accounts": frame_of("accounts", accounts, {"industry": "str", "staff": "float64"}),
                "leads": frame_of("leads", leads, attributes),
                "deals": frame_of("deals", deals, attributes),
                "activities": frame_of("activities", activities),
                "changes": frame_of("changes", self.changes),
            }
        )


@pytest.fixture(scope="session")
def random_history() -> Callable[[int, int], History]:
    """Give what makes a history from a seed and a number of deals and of leads."""
    return lambda seed, size: _Maker(seed, size).history()


@pytest.fixture(scope="session")
def random_snapshots() -> Callable[[History, str, int, int], pd.DataFrame]:
    """Give what draws snapshots of a history's records: from a seed, some number of each record."""

    def draw(history: History, entity: str, seed: int, each: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        ids = history.frames()[f"{entity}s"][f"{entity}_id"]
        names = np.repeat(ids.to_numpy(dtype=object), each)
        hours = rng.integers(0, (SPAN_DAYS + 30) * 4, len(names)) * 6
        moments = (BEGIN + hours * HOUR).astype("datetime64[us]")
        frame = pd.DataFrame(
            {"record_id": pd.Series(names, dtype="str"), "as_of": pd.Series(moments).dt.tz_localize("UTC")}
        )
        return frame.sample(frac=1.0, random_state=seed).reset_index(drop=True)

    return draw
