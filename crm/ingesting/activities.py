"""Activities that a CRM sends: each stays as it was known, and its next state is a row of its own.

As an import does for an activity whose status moved on: the new row is named ``id@moment``, so that what was
planned was known as planned until then. An activity that was corrected is treated alike, for what scores were
made of is not rewritten.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from crm.ingesting.rows import Writer, keep_states, pieces, rows_of, states_of
from crm.ingesting.values import change_text
from crm.store.layout import STORED
from crm.store.reports import RowCounts

_ENTITY: Final = "activity"
_VERSION: Final = re.compile(r"@\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$")
_ENDED: Final = ("done", "cancelled")
_COLUMNS: Final = (
    "activity_id",
    "lead_id",
    "deal_id",
    "account_id",
    "user_id",
    "kind",
    "channel",
    "direction",
    "status",
    "occurred_at",
    "recorded_at",
)

Row = Mapping[str, Any]


def take_activities(
    connection: sa.Connection, writer: Writer, sent: Sequence[tuple[int, Row]], learned: int
) -> tuple[RowCounts, list[Row]]:
    """Take in activities.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    writer : Writer
    sent : sequence of (int, mapping)
        Place and activity.
    learned : int
        When they are known, microseconds since 1970.

    Returns
    -------
    counts : RowCounts
    about : list of mapping
        The rows that are new, and those that they follow: with ``lead_id``, ``deal_id``, ``account_id``.
    """
    order = sorted(sent, key=lambda one: (min(one[1].get("updated_at") or learned, learned), one[0]))
    ids = [one["activity_id"] for _, one in order]
    states = states_of(connection, _ENTITY, ids)
    last = _last_rows(connection, [one for _, one in order], states)
    rows: list[dict[str, Any]] = []
    about: list[Row] = []
    kept: dict[str, dict[str, Any]] = {}
    n_new = n_changed = 0
    for _, one in order:
        name = one["activity_id"]
        before, at = last.get(name), min(one.get("updated_at") or learned, learned)
        if before is None:
            row = {column: one.get(column) for column in _COLUMNS}
            row["status"] = row["status"] or "done"
            n_new += 1
        elif _is_news(one, before, at, states.get(name, {}).get("at")):
            given = {key: one[key] for key in _COLUMNS if key in one}
            row = {**{column: before[column] for column in _COLUMNS}, **given}
            row["status"] = one.get("status") or before["status"]
            row["activity_id"] = _version_of(name, learned, [*rows])
            about.append(before)
            n_changed += 1
        else:
            continue
        row["recorded_at"] = learned
        rows.append(row)
        about.append(row)
        last[name] = row
        if before is not None or one.get("updated_at") is not None:
            kept[name] = states[name] = {"row": row["activity_id"], "at": at}
    writer.add("activities", rows)
    if kept:
        keep_states(connection, _ENTITY, kept)
    return RowCounts(n_new, n_changed, len(sent) - n_new - n_changed), about


def _is_news(sent: Row, before: Row, at: int, stated: int | None) -> bool:
    """Say whether an activity that was sent again differs, and is not older than what is known."""
    if stated is not None and at < stated:
        return False
    named = [key for key in _COLUMNS if key in sent and key != "activity_id"]
    moved = [key for key in named if sent[key] != before[key] and not (key == "status" and sent[key] is None)]
    # What is done was planned before: a plan that comes afterwards without a moment of its own is late.
    is_late_plan = (
        sent.get("updated_at") is None
        and before["status"] in _ENDED
        and sent.get("status") in ("scheduled", "started")
        and "occurred_at" not in moved
    )
    return bool(moved) and not is_late_plan


def _version_of(name: str, learned: int, rows: Sequence[Row]) -> str:
    taken = {row["activity_id"] for row in rows}
    while True:
        moment = (change_text("timestamp", learned) or "").replace("+00:00", "Z")
        version = f"{name}@{moment}"
        if version not in taken:
            return version
        learned += 1


def _last_rows(connection: sa.Connection, sent: Iterable[Row], states: Mapping[str, Row]) -> dict[str, Row]:
    """Give the row that holds the last state of each activity that the store has."""
    given = {one["activity_id"]: one for one in sent}
    found = {row["activity_id"]: row for row in rows_of(connection, "activities", "activity_id", given)}
    if not found:
        return {}
    named = {states[name]["row"]: name for name in found if name in states}
    last: dict[str, Row] = dict(found)
    last |= {
        named[row["activity_id"]]: row for row in rows_of(connection, "activities", "activity_id", named)
    }
    unsure = {name for name in found if name not in states}
    for row in _versions(connection, [found[name] for name in unsure] + [given[name] for name in unsure]):
        name = _VERSION.sub("", row["activity_id"])
        if name in unsure and row["recorded_at"] >= last[name]["recorded_at"]:
            last[name] = row
    return last


def _versions(connection: sa.Connection, rows: Sequence[Row]) -> list[Row]:
    """Give later states that imports made, among the activities of the same leads and deals."""
    stored = STORED["activities"]
    versions: list[Row] = []
    for column in ("lead_id", "deal_id"):
        for some in pieces(row[column] for row in rows if row.get(column)):
            query = sa.select(stored).where(
                stored.c[column].in_(some), stored.c.activity_id.like("%@____-__-__T%Z")
            )
            versions += [dict(row) for row in connection.execute(query).mappings()]
    return sorted(versions, key=lambda row: (row["recorded_at"], row["position"]))
