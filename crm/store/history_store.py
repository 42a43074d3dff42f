"""The history store: a CRM's history in SQLite or PostgreSQL, loaded by key and read whole."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import pandas as pd
import sqlalchemy as sa

from crm.errors import StoreError
from crm.history import History
from crm.ledger import LedgerEntry
from crm.schema import TABLES
from crm.store.address import StoreAddress
from crm.store.bulk import Transaction
from crm.store.facts import enter_facts, read_facts
from crm.store.faults import explain
from crm.store.forecasts import keep_entry, read_entries
from crm.store.layout import FORECAST_ENTRIES, LOADS
from crm.store.libraries import python_driver
from crm.store.reports import Load, LoadReport, RowCounts, dump_counts, read_counts
from crm.store.tables import load_table, read_table
from crm.store.versions import bring_up

_EPOCH = pd.Timestamp(0, tz="UTC")
_LOCK_WAIT_S = 60


class Store:
    """A history store; :meth:`open` makes one.

    Parameters
    ----------
    address : StoreAddress
        Of a store whose schema is the newest.
    """

    def __init__(self, address: StoreAddress) -> None:
        self.address = address

    def __repr__(self) -> str:
        return f"Store({str(self.address)!r})"

    @classmethod
    def open(cls, url: str, *, create: bool = False, upgrade: bool = False) -> Store:
        """Open a history store.

        Parameters
        ----------
        url : str
            ``sqlite:///history.db``, ``postgresql://user:password@host/database``, or the path of a file.
        create : bool
            Whether to make the store where there is none.
        upgrade : bool
            Whether to bring a store made by an older Vigie to the newest schema.

        Raises
        ------
        StoreError
            Where there is none, or it cannot be used; says why and what to do.
        """
        address = StoreAddress.parse(url)
        _check_file(address, create=create)
        options = {"timeout": _LOCK_WAIT_S} if address.kind == "sqlite" else {}
        engine = sa.create_engine(address.for_sqlalchemy, poolclass=sa.NullPool, connect_args=options)
        if address.kind == "sqlite":
            sa.event.listen(engine, "connect", _leave_transactions_alone)
        try:
            with python_driver(address.path):
                bring_up(engine, address, create=create, upgrade=upgrade)
        except sa.exc.DBAPIError as error:
            raise explain(str(error.orig), address) from None
        return cls(address)

    def load(
        self,
        frames: Mapping[str, pd.DataFrame],
        *,
        source: str,
        exported_at: pd.Timestamp | None,
        mapping_digest: str = "",
        loaded_at: pd.Timestamp | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> LoadReport:
        """Merge frames into the store by key, all of them or none.

        A frame's row is the whole row: what it leaves empty becomes empty. A column or attribute that the
        frame does not have keeps its stored values. Stored rows that the frame does not have stay.

        Parameters
        ----------
        frames : mapping of str to DataFrame
            By name of table.
        source : str
            Where the rows come from, for messages and the list of loads.
        exported_at : Timestamp, optional
            When the CRM gave them.
        mapping_digest : str
            Of the mapping that read them.
        loaded_at : Timestamp, optional
            Now.
        facts : mapping of str to str, optional
            What the source says about the history as a whole, see :data:`crm.history.FACTS`; it takes the
            place of what this source said before. None leaves that as it is.

        Raises
        ------
        ExportError
            Where a frame is not valid, see :func:`crm.validation.validate`, or a fact is not known.
        StoreError
            Where the store cannot be written: the disk is full, it is locked.
        """
        unknown = sorted(set(frames) - set(TABLES))
        if unknown:
            raise ValueError(f"no table is called {unknown[0]!r}; the tables are {', '.join(TABLES)}")
        counts: dict[str, RowCounts] = {}
        with Transaction(self.address) as transaction:
            load_id = _begin(transaction, source, exported_at, mapping_digest, loaded_at)
            for name, table in TABLES.items():
                if name in frames:
                    counts[name] = load_table(transaction, table, frames[name], source, load_id)
            is_said_anew = facts is not None and enter_facts(transaction, source, facts, load_id)
            report = LoadReport(load_id, counts, facts_changed=is_said_anew)
            earlier = _same_load(transaction, load_id, source, exported_at, mapping_digest)
            if earlier is not None and not report.is_change:
                return LoadReport(earlier, counts)
            done = LOADS.update().where(LOADS.c.load_id == load_id).values(counts=dump_counts(counts))
            transaction.run(done)
            transaction.note_change("history")
            transaction.commit()
        return report

    def read(self, tables: Iterable[str] | None = None) -> History:
        """Give the history, or those tables of it and the others empty, all as of one moment.

        Where sources differ in a fact about the history, what was said last counts.

        Raises
        ------
        StoreError
            Where the store cannot be read.
        """
        names = list(TABLES) if tables is None else list(tables)
        with Transaction(self.address) as transaction:
            frames = {name: read_table(transaction, TABLES[name]) for name in names}
            return History.of(frames, read_facts(transaction))

    def keep_forecast(self, entry: LedgerEntry) -> bool:
        """Add a forecast to the ledger; say whether it is new there.

        The same forecast kept twice, by its ``entry_id``, adds nothing. Nothing in the ledger is ever
        changed or taken away by this class.

        Parameters
        ----------
        entry : LedgerEntry
            With its deals.

        Raises
        ------
        StoreError
            Where the store cannot be written, or the entry was read without its deals.
        """
        with Transaction(self.address) as transaction:
            is_new = keep_entry(transaction, entry)
            if is_new:
                transaction.commit()
        return is_new

    def forecasts(
        self,
        period_start: pd.Timestamp | None = None,
        period_end: pd.Timestamp | None = None,
        by: str | None = None,
        as_of_before: pd.Timestamp | None = None,
        with_deals: bool = False,
        *,
        entry_ids: Collection[str] | None = None,
    ) -> list[LedgerEntry]:
        """Give forecasts of the ledger, by period, then ``as_of``, then in the order of their keeping.

        Parameters
        ----------
        period_start, period_end : Timestamp, optional
            Only those of a period that starts, and ends, then.
        by : str, optional
            Only those grouped by it; an empty one for those that are not grouped.
        as_of_before : Timestamp, optional
            Only those as of a moment before.
        with_deals : bool
            Whether to read the deals behind them.
        entry_ids : collection of str, optional
            Only these.

        Raises
        ------
        StoreError
            Where one was kept by a newer Vigie, or the store cannot be read.
        """
        table = FORECAST_ENTRIES.c
        conditions: list[sa.ColumnElement[bool]] = []
        if period_start is not None:
            conditions.append(table.period_start == _microseconds(period_start))
        if period_end is not None:
            conditions.append(table.period_end == _microseconds(period_end))
        if by is not None:
            conditions.append(table.grouped_by == by if by else table.grouped_by.is_(None))
        if as_of_before is not None:
            conditions.append(table.as_of < _microseconds(as_of_before))
        if entry_ids is not None:
            conditions.append(table.entry_id.in_(sorted(entry_ids)))
        with Transaction(self.address) as transaction:
            return read_entries(transaction, conditions, with_deals=with_deals)

    def loads(self) -> list[Load]:
        """Give the loads, the first first."""
        with Transaction(self.address) as transaction:
            rows = transaction.fetch(sa.select(LOADS).order_by(LOADS.c.load_id))
        return [
            Load(load_id, source, _moment(exported), digest, _moment(loaded), read_counts(counts))
            for load_id, source, exported, digest, loaded, counts in rows
        ]


def _check_file(address: StoreAddress, *, create: bool) -> None:
    """Say what is wrong with a SQLite file before SQLite makes an empty one in its place."""
    if address.path is None:
        return
    if address.path.is_dir():
        raise StoreError(
            f"{address} is a folder; name a file in it, for example {address.path / 'history.db'}"
        )
    if not address.path.parent.is_dir():
        raise StoreError(f"{address}: there is no folder {address.path.parent}; make it first")
    if not create and not address.path.exists():
        raise StoreError(f"{address} does not exist; make it with: vigie import … --history '{address}'")


def _leave_transactions_alone(connection: object, _: object) -> None:
    # Python's driver would commit before each change of the schema.
    connection.isolation_level = None  # type: ignore[attr-defined]


def _begin(
    transaction: Transaction,
    source: str,
    exported_at: pd.Timestamp | None,
    mapping_digest: str,
    loaded_at: pd.Timestamp | None,
) -> int:
    """Enter the load. It is the first thing written, so that a second load waits from here on."""
    transaction.lock(LOADS)
    following = sa.select(
        sa.func.coalesce(sa.func.max(LOADS.c.load_id), 0) + 1,
        *(
            sa.literal(value, column.type) if value is not None else sa.null()
            for column, value in (
                (LOADS.c.source, source),
                (LOADS.c.exported_at, _microseconds(exported_at)),
                (LOADS.c.mapping_digest, mapping_digest),
                (LOADS.c.loaded_at, _microseconds(loaded_at)),
                (LOADS.c.counts, "{}"),
            )
        ),
    )
    transaction.run(LOADS.insert().from_select(list(LOADS.columns.keys()), following))
    return int(transaction.fetch(sa.select(sa.func.max(LOADS.c.load_id)))[0][0])


def _same_load(
    transaction: Transaction,
    load_id: int,
    source: str,
    exported_at: pd.Timestamp | None,
    mapping_digest: str,
) -> int | None:
    exported = _microseconds(exported_at)
    query = sa.select(sa.func.max(LOADS.c.load_id)).where(
        LOADS.c.load_id < load_id,
        LOADS.c.source == source,
        LOADS.c.mapping_digest == mapping_digest,
        LOADS.c.exported_at == exported if exported is not None else LOADS.c.exported_at.is_(None),
    )
    found = transaction.fetch(query)[0][0]
    return None if found is None else int(found)


def _microseconds(moment: pd.Timestamp | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // pd.Timedelta(microseconds=1)


def _moment(microseconds: int | None) -> pd.Timestamp | None:
    return None if microseconds is None else pd.Timestamp(microseconds, unit="us", tz="UTC")
