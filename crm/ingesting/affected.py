"""Which open records' scores may change by what was ingested, and which have none any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from crm.ingesting.rows import ids_there, pieces
from crm.ingesting.states import Known
from crm.schema import TABLE_OF
from crm.store.layout import STORED

_LINKS = ("account_id", "lead_id")


@dataclass
class Touched:
    """Records that something new is known of, and those that they are linked to.

    Parameters
    ----------
    ids : dict of str to set of str
        By entity.
    linked : dict of str to set of str
        Accounts and leads, whose records are affected too.
    """

    ids: dict[str, set[str]] = field(default_factory=lambda: {"lead": set(), "deal": set(), "account": set()})
    linked: dict[str, set[str]] = field(default_factory=lambda: {"lead": set(), "account": set()})

    def add_record(self, record: Known) -> None:
        """Note a record of which something new is known, and its links of before and now."""
        self.ids[record.entity].add(record.record_id)
        if record.entity in self.linked:
            self.linked[record.entity].add(record.record_id)
        for name in _LINKS:
            found = {record.row.get(name)} if record.row is not None else set()
            for change in record.changes:
                if change["field"] == name:
                    found |= {change["old_value"], change["new_value"]}
            self.linked[name.removesuffix("_id")] |= {str(one) for one in found if one}

    def add_activity(self, row: Mapping[str, Any]) -> None:
        """Note an activity: it counts for its lead and deal, and the lead's for the lead's deals."""
        for entity in ("lead", "deal"):
            if row.get(f"{entity}_id"):
                self.ids[entity].add(row[f"{entity}_id"])
        if row.get("lead_id") and not row.get("deal_id"):
            self.linked["lead"].add(row["lead_id"])

    def open_and_closed(self, connection: sa.Connection) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Give the ids of the leads and deals that are open, and of those that are not, in order."""
        return (
            {entity: self._affected(connection, entity, is_open=True) for entity in ("lead", "deal")},
            {entity: self._ended(connection, entity) for entity in ("lead", "deal")},
        )

    def _affected(self, connection: sa.Connection, entity: str, *, is_open: bool) -> list[str]:
        stored = STORED[TABLE_OF[entity].name].c
        key = stored[TABLE_OF[entity].key]
        wanted: list[tuple[Any, Iterable[str]]] = [(key, self.ids[entity])]
        wanted.append((stored.account_id, self.linked["account"]))
        if entity == "deal":
            wanted.append((stored.lead_id, self.linked["lead"]))
        found: set[str] = set()
        for column, ids in wanted:
            for some in pieces(sorted(ids)):
                query = sa.select(key).where(
                    column.in_(some), stored.outcome.is_(None), stored.gone_at.is_(None)
                )
                found |= set(connection.execute(query).scalars())
        return sorted(found)

    def _ended(self, connection: sa.Connection, entity: str) -> list[str]:
        stored = STORED[TABLE_OF[entity].name].c
        key = stored[TABLE_OF[entity].key]
        found: set[str] = set()
        for some in pieces(sorted(self.ids[entity])):
            ended = sa.or_(stored.outcome.is_not(None), stored.gone_at.is_not(None))
            found |= set(connection.execute(sa.select(key).where(key.in_(some), ended)).scalars())
        return sorted(found)


def missing_records(
    connection: sa.Connection, batch: Mapping[str, Sequence[tuple[int, Mapping[str, Any]]]]
) -> list[str]:
    """Say how many activities and changes are about records that the store does not have."""
    notices = []
    for entity, table in TABLE_OF.items():
        about = [one.get(f"{entity}_id") for _, one in batch.get("activities", ())]
        about += [one["record_id"] for _, one in batch.get("changes", ()) if one["entity"] == entity]
        named = [name for name in about if name]
        lacking = sorted(set(named) - ids_there(connection, table.name, table.key, named))
        if lacking:
            n_rows = sum(name in set(lacking) for name in named)
            notices.append(
                f"{n_rows} activities and changes are about {len(lacking)} {table.name} that the store does "
                f"not have, for example {lacking[0]}; they count once it has them"
            )
    return notices
