"""Records of the history store as rows: their own, and those of what they are or were linked to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

import orjson
import sqlalchemy as sa

from crm.schema import TABLE_OF
from crm.store.layout import STORED
from features.spec import FeatureSpec
from serving.answering.record_rows import RecordRows, Row

#: Ids of one query.
PIECE: Final = 500
#: What features and risks read of activities and changes.
_COLUMNS: Final = {
    "activities": (
        "activity_id",
        "lead_id",
        "deal_id",
        "user_id",
        "kind",
        "channel",
        "direction",
        "status",
        "occurred_at",
        "recorded_at",
    ),
    "changes": (
        "change_id",
        "entity",
        "record_id",
        "field",
        "old_value",
        "new_value",
        "changed_at",
        "recorded_at",
    ),
}


class StoredRows:
    """Reads records by their ids, in one snapshot of the store.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    spec : FeatureSpec
        What the features need: rows that none of them reads are not fetched.
    as_of : int
        In microseconds; rows known later are counted.
    """

    def __init__(self, connection: sa.Connection, spec: FeatureSpec, as_of: int) -> None:
        self._connection, self._as_of = connection, as_of
        self._entity = spec.entity
        self._wants = {
            one: any(field.startswith(f"{one}.") for field in spec.fields)
            for one in ("account", "lead", "deal")
        }
        self._wants_deals = self._wants["deal"] or any(kind.source == "deal" for kind in spec.kinds)
        self._mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"

    def read(self, ids: Collection[str]) -> dict[str, RecordRows]:
        """Give the rows of the records that there are, by id."""
        entity = self._entity
        table = TABLE_OF[entity]
        found = {
            row[table.key]: RecordRows(row[table.key], row[table.key], row, [], [])
            for row in self._rows(table.name, table.key, ids)
        }
        if not found:
            return found
        key = f"{entity}_id"
        for row in self._rows("activities", key, found):
            rows = found[row[key]]
            rows.activities.append(row)
            rows.late += max(row["occurred_at"], row["recorded_at"]) >= self._as_of
        for row in self._changes(entity, found):
            rows = found[row["record_id"]]
            rows.changes.append(row)
            rows.late += max(row["changed_at"], row["recorded_at"]) >= self._as_of
        if self._wants["account"]:
            self._link(found, "account", with_activities=False)
        if entity == "deal":
            self._link(found, "lead", with_activities=True)
        elif self._wants_deals:
            self._deals(found)
        return found

    def _link(self, found: dict[str, RecordRows], other: str, *, with_activities: bool) -> None:
        """Add the rows of the accounts or leads that records hold, or ever held."""
        field = f"{other}_id"
        held = {
            name: {
                text
                for text in (
                    rows.record.get(field),
                    *(c[side] for c in rows.changes if c["field"] == field for side in _SIDES),
                )
                if text is not None
            }
            for name, rows in found.items()
        }
        wanted = set[str]().union(*held.values())
        table = TABLE_OF[other]
        parts: dict[str, dict[str, list[Row]]] = {}
        if self._wants[other]:
            parts[table.name] = _by(self._rows(table.name, table.key, wanted), table.key)
            parts["changes"] = _by(self._changes(other, wanted), "record_id")
        if with_activities:
            own = self._rows("activities", field, wanted, " AND deal_id IS NULL")
            parts["activities"] = _by(own, field)
        for name, links in held.items():
            for part, by_id in parts.items():
                more = [row for link in sorted(links) for row in by_id.get(link, ())]
                if more:
                    found[name].others.setdefault(part, []).extend(more)

    def _deals(self, found: dict[str, RecordRows]) -> None:
        """Add the deals of leads, and those that were once theirs."""
        of_lead: dict[str, set[str]] = {name: set() for name in found}
        deals = {row["deal_id"]: row for row in self._rows("deals", "lead_id", found)}
        for deal_id, row in deals.items():
            of_lead[row["lead_id"]].add(deal_id)
        for side in _SIDES:
            moved = self._rows("changes", side, found, " AND entity = 'deal' AND field = 'lead_id'")
            for row in moved:
                of_lead[row[side]].add(row["record_id"])
        once = set[str]().union(*of_lead.values()) - set(deals)
        deals |= {row["deal_id"]: row for row in self._rows("deals", "deal_id", once)}
        changes = _by(self._changes("deal", deals), "record_id")
        for name, ids in of_lead.items():
            mine = [deal for deal in sorted(ids) if deal in deals]
            if mine:
                others = found[name].others
                others["deals"] = [deals[deal] for deal in mine]
                others.setdefault("changes", []).extend(row for deal in mine for row in changes.get(deal, ()))

    def _changes(self, entity: str, ids: Collection[str]) -> Iterator[Row]:
        return self._rows("changes", "record_id", ids, f" AND entity = '{entity}'")

    def _rows(self, table: str, column: str, ids: Iterable[str], more: str = "") -> Iterator[Row]:
        """Give the rows of a table whose column holds one of some ids, attributes among the columns."""
        wanted = list(ids)
        names = _COLUMNS.get(table) or _names(table)
        query = f"SELECT {', '.join(names)} FROM {table} WHERE {column} IN ("
        for first in range(0, len(wanted), PIECE):
            piece = wanted[first : first + PIECE]
            text = f"{query}{', '.join([self._mark] * len(piece))}){more}"
            # All of a piece at once: row by row each would pass through six calls.
            for values in self._connection.exec_driver_sql(text, tuple(piece)).all():
                row = dict(zip(names, values, strict=True))
                attributes = row.pop("attributes", None)
                yield row if not attributes else orjson.loads(attributes) | row


_SIDES: Final = ("old_value", "new_value")


def _names(table: str) -> tuple[str, ...]:
    return tuple(
        column.name for column in STORED[table].columns if column.name not in ("position", "load_id")
    )


def _by(rows: Iterable[Row], key: str) -> dict[Any, list[Row]]:
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return found
