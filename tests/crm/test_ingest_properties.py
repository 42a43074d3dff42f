"""What holds of any ingest: order and partition do not matter, and nothing that was known changes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from crm.history import History
from crm.ingesting.ingest import Ingested, ingest
from crm.known import known_at
from crm.moments import in_micros
from crm.schema import TABLE_OF
from crm.store import Store
from crm.store.address import StoreAddress
from crm.store.service.engine import ServiceStore

START = datetime(2026, 1, 1, tzinfo=UTC)
#: Before everything that is sent: ingesting looks back from here.
NOW = datetime(2026, 3, 1, tzinfo=UTC)
#: A record that was sent: its table, and its fields.
Sent = tuple[str, dict[str, Any]]

FIELDS: dict[str, Any] = {
    "stage": st.sampled_from(["new", "talk", "offer", None]),
    "owner_id": st.sampled_from(["ann", "bob", None]),
    "city": st.sampled_from(["Lyon", "Bern", None]),
    "employees": st.sampled_from([1.0, 250.0, None]),
}
DEAL_FIELDS: dict[str, Any] = FIELDS | {"amount": st.sampled_from([100.0, 2500.5, None])}
ATTRIBUTES = ("city", "employees")
READ = ("leads", "deals", "activities", "changes")


def minute(number: int) -> int:
    """Give a moment of January, in microseconds."""
    return in_micros(START + timedelta(minutes=number))


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """Give a store's file that holds nothing yet."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        Store.open(f"sqlite:///{path}", create=True)
        yield path


@contextmanager
def fresh(template: Path) -> Iterator[ServiceStore]:
    """Give a store that holds nothing yet."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(template, Path(folder) / "crm.db")
        # Without a look at its version, which takes longer than the rest.
        store = ServiceStore(Store(StoreAddress.parse(str(Path(folder) / "crm.db"))), pool_size=1)
        try:
            yield store
        finally:
            store.close()


def take(store: ServiceStore, sent: Sequence[Sent], now: datetime = NOW) -> Ingested:
    """Ingest records in the order in which they are given."""
    batch: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for table, record in sent:
        batch.setdefault(table, []).append((len(batch.get(table, [])), record))
    with store.writing() as connection:
        return ingest(connection, batch, source="test", clock=lambda: now)


@st.composite
def states(draw: st.DrawFn, table: str, key: str, record_id: str, at: int) -> Sent:
    """Draw what a CRM says a record is at a moment: some of its fields."""
    fields = DEAL_FIELDS if table == "deals" else FIELDS
    chosen = draw(st.sets(st.sampled_from(sorted(fields))))
    given = {name: draw(fields[name]) for name in sorted(chosen)}
    record: dict[str, Any] = {key: record_id, "updated_at": minute(at), "created_at": minute(0)}
    record |= {name: value for name, value in given.items() if name not in ATTRIBUTES}
    attributes = {name: value for name, value in given.items() if name in ATTRIBUTES}
    if attributes:
        record["attributes"] = attributes
    return table, record


@st.composite
def changes(draw: st.DrawFn, table: str, record_id: str, at: int) -> Sent:
    """Draw a change of one field."""
    fields = DEAL_FIELDS if table == "deals" else FIELDS
    name = draw(st.sampled_from(sorted(fields)))
    return "changes", {
        "change_id": f"H-{record_id}-{at}",
        "entity": table.removesuffix("s"),
        "record_id": record_id,
        "field": name,
        "old_value": draw(fields[name]),
        "new_value": draw(fields[name]),
        "changed_at": minute(at),
    }


@st.composite
def activities(draw: st.DrawFn, number: int, at: int) -> Sent:
    """Draw one state of an activity."""
    return "activities", {
        "activity_id": f"T-{number}",
        "lead_id": "L-1",
        "kind": "call",
        "status": draw(st.sampled_from(["scheduled", "done", "cancelled"])),
        "occurred_at": minute(draw(st.integers(0, 60))),
        "updated_at": minute(at),
    }


@st.composite
def histories(draw: st.DrawFn) -> list[Sent]:
    """Draw what a CRM tells of two leads, a deal and two activities, at moments that differ."""
    sent: list[Sent] = []
    for at in range(1, draw(st.integers(2, 9))):
        kind = draw(st.sampled_from(["state", "state", "change", "activity"]))
        if kind == "activity":
            sent.append(draw(activities(draw(st.integers(1, 2)), at)))
            continue
        table, key, name = draw(
            st.sampled_from(
                [("leads", "lead_id", "L-1"), ("leads", "lead_id", "L-2"), ("deals", "deal_id", "D-1")]
            )
        )
        sent.append(draw(states(table, key, name, at)) if kind == "state" else draw(changes(table, name, at)))
    return sent


@st.composite
def split(draw: st.DrawFn, sent: list[Sent]) -> list[list[Sent]]:
    """Draw an order, and a partition into batches that follow each other."""
    order = draw(st.permutations(sent))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(order) - 1)))))
    return [part for part in (order[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)) if part]


def shown(history: History) -> dict[str, Any]:
    """Give what is so in the end, without when it was learned, nor in which row it stands."""
    facts: dict[str, Any] = {}
    for entity, table in TABLE_OF.items():
        frame = getattr(history, table.name)
        for row in frame.drop(columns="recorded_at").to_dict("records"):
            present = {str(name): str(value) for name, value in row.items() if not pd.isna(value)}
            facts[f"{entity} {row[table.key]}"] = present
    bases = [name.partition("@")[0] for name in history.activities["activity_id"]]
    last = history.activities.assign(base=bases)
    last = last.sort_values("recorded_at", kind="stable").drop_duplicates("base", keep="last")
    for row in last.to_dict("records"):
        facts[f"activity {row['base']}"] = (row["status"], str(row["occurred_at"]))
    return facts


#: Histories are short as they are drawn; to shrink one that fails would take minutes.
QUICK = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


@given(data=st.data())
@QUICK
def test_order_and_partition_do_not_matter(template: Path, data: st.DataObject) -> None:
    """However a history is cut and shuffled, the store holds the same of it in the end."""
    sent = data.draw(histories())
    one, other = data.draw(split(sent)), data.draw(split(sent))
    found = []
    for parts in ([sent], one, other):
        with fresh(template) as store:
            for part in parts:
                assert not take(store, part).refused
            found.append(shown(store.history.read(["leads", "deals", "activities"])))
    assert found[0] == found[1] == found[2]


@given(data=st.data())
@QUICK
def test_sent_twice_is_sent_once(template: Path, data: st.DataObject) -> None:
    """A batch that comes again, whatever came between, changes nothing and is counted as unchanged."""
    sent = data.draw(histories())
    parts = data.draw(split(sent))
    with fresh(template) as store:
        for part in parts:
            take(store, part)
        before = store.history.read(READ).frames()
        for part in data.draw(split(sent)):
            again = take(store, part, NOW + timedelta(hours=1))
            assert not again.is_change
            assert sum(counts.unchanged for counts in again.counts.values()) == len(part)
        after = store.history.read(READ).frames()
    for name, frame in before.items():
        assert_frame_equal(frame, after[name])


@given(data=st.data())
@QUICK
def test_what_was_known_stays_as_it_was(template: Path, data: st.DataObject) -> None:
    """As of any moment before a batch was learned, the history is the same with it and without it."""
    parts = data.draw(split(data.draw(histories())))
    moments = [NOW + timedelta(hours=number) for number in range(len(parts) + 1)]
    with fresh(template) as store:
        known: list[History] = []
        for number, part in enumerate(parts):
            take(store, part, moments[number])
            history = store.history.read(READ)
            # As of the moment at which the batch was learned nothing of it is known.
            known.append(known_at(history, pd.Timestamp(moments[number])))
            for moment, then in zip(moments, known, strict=False):
                same_records(then, known_at(history, pd.Timestamp(moment)))
            # And the changes lead to the rows.
            same_records(history, known_at(history, pd.Timestamp(moments[number + 1])))


def same_records(expected: History, found: History) -> None:
    """Compare two histories, in which columns may lack that hold nothing."""
    for name, frame in expected.frames().items():
        other = found.frames()[name]
        extra = [one for one in other.columns if one not in frame.columns]
        assert other[extra].isna().all(axis=None)
        assert_frame_equal(
            frame.dropna(axis="columns", how="all"), other[frame.columns].dropna(axis="columns", how="all")
        )
