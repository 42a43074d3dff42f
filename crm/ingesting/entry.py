"""The entry of an ingest in the store's list of loads: one a source and day, and one writer at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

from crm.moments import in_micros
from crm.store.layout import LOADS
from crm.store.reports import RowCounts, dump_counts, read_counts

#: A clock that was set back by less is waited out; one that was set back by more was wrong before.
SET_BACK: Final = 3_600_000_000
#: How the entry of an ingest begins in the place where a load has the digest of its mapping.
INGESTED_ON: Final = "ingested "


@dataclass(frozen=True)
class Entry:
    """What a batch is entered under.

    Parameters
    ----------
    load_id : int
    learned : int
        Microseconds since 1970.
    is_new : bool
        Whether the day has no entry of this source yet.
    source, day : str
    """

    load_id: int
    learned: int
    is_new: bool
    source: str
    day: str


def begin_entry(connection: sa.Connection, source: str, clock: Callable[[], datetime]) -> Entry:
    """Wait for other writers, and say when, and as which load, the batch is learned."""
    if connection.dialect.name == "postgresql":
        # As a load does: row positions and the order of moments allow one writer at a time.
        connection.exec_driver_sql("LOCK TABLE loads IN SHARE ROW EXCLUSIVE MODE")
    now = clock().astimezone(UTC)
    learned = in_micros(now)
    days = LOADS.c.mapping_digest.startswith(INGESTED_ON)
    last = connection.execute(sa.select(sa.func.max(LOADS.c.loaded_at)).where(days)).scalar()
    if last is not None and learned <= last < learned + SET_BACK:
        learned = last + 1
    day = f"{INGESTED_ON}{now:%Y-%m-%d}"
    mine = (LOADS.c.source == source) & (LOADS.c.mapping_digest == day)
    found = connection.execute(sa.select(LOADS.c.load_id).where(mine)).scalar()
    if found is not None:
        return Entry(found, learned, False, source, day)
    highest = connection.execute(sa.select(sa.func.coalesce(sa.func.max(LOADS.c.load_id), 0))).scalar_one()
    return Entry(highest + 1, learned, True, source, day)


def end_entry(connection: sa.Connection, entry: Entry, counts: Mapping[str, RowCounts]) -> None:
    """Enter what was ingested, where it was something."""
    told = {name: one for name, one in counts.items() if one.new or one.changed}
    if not told:
        return
    if entry.is_new:
        row = {
            "load_id": entry.load_id,
            "source": entry.source,
            "exported_at": None,
            "mapping_digest": entry.day,
            "loaded_at": entry.learned,
            "counts": dump_counts(told),
        }
        connection.execute(LOADS.insert().values(row))
        return
    mine = LOADS.c.load_id == entry.load_id
    before = read_counts(connection.execute(sa.select(LOADS.c.counts).where(mine)).scalar_one())
    sums = {name: _sum(before.get(name), told.get(name)) for name in dict.fromkeys([*before, *told])}
    connection.execute(LOADS.update().where(mine).values(loaded_at=entry.learned, counts=dump_counts(sums)))


def _sum(*parts: RowCounts | None) -> RowCounts:
    some = [part for part in parts if part is not None]
    return RowCounts(
        sum(part.new for part in some),
        sum(part.changed for part in some),
        sum(part.unchanged for part in some),
    )
