"""Every feature, written a second time as plain SQL on SQLite, is what the kernel gives."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from crm.history import History
from features import CATALOGUE, FeatureSpec, build_features, learn_spec
from features.catalogue import features_of

NEVER = 2**62
DAY = 86_400_000_000.0


def load(history: History, spec: FeatureSpec, snapshots: pd.DataFrame) -> sqlite3.Connection:
    """Put a history, a spec's lists and the snapshots into an SQLite database; moments as microseconds."""
    db = sqlite3.connect(":memory:")
    for name, frame in history.frames().items():
        plain = pd.DataFrame(index=frame.index)
        for column in frame.columns:
            values = frame[column]
            if isinstance(values.dtype, pd.DatetimeTZDtype):
                moments = values.to_numpy(dtype="datetime64[us]")
                cells = [None if np.isnat(m) else int(m.astype(np.int64)) for m in moments]
            else:
                cells = [None if pd.isna(v) else v for v in values.tolist()]
            plain[column] = pd.Series(cells, dtype=object, index=frame.index)
        plain.to_sql(name, db, index=False)
    asked = snapshots["as_of"].to_numpy(dtype="datetime64[us]").astype(np.int64)
    db.execute("CREATE TABLE snap (i INTEGER PRIMARY KEY, id TEXT, at INTEGER)")
    db.executemany(
        "INSERT INTO snap VALUES (?, ?, ?)",
        [(i, r, int(t)) for i, (r, t) in enumerate(zip(snapshots["record_id"], asked, strict=True))],
    )
    db.execute("CREATE TABLE stages (stage TEXT, place INTEGER)")
    db.executemany("INSERT INTO stages VALUES (?, ?)", [(s, p) for p, s in enumerate(spec.stage_order)])
    db.execute("CREATE TABLE levels (field TEXT, value TEXT, code INTEGER)")
    for levels in spec.categorical:
        rows = [(levels.field, value, code) for code, value in enumerate(levels.levels)]
        rows += [(levels.field, value, len(levels.levels)) for value in levels.rare]
        db.executemany("INSERT INTO levels VALUES (?, ?, ?)", rows)
    db.executescript(VIEWS)
    for entity in ("deal", "lead"):
        db.execute(f"CREATE VIEW {entity}_records AS {records(entity)}")
    return db


def records(entity: str) -> str:
    """Select records with when they were known to end."""
    return f"""
        SELECT *, {entity}_id AS id, coalesce(created_at, recorded_at) AS born,
            CASE WHEN outcome IS NULL THEN {NEVER}
                 WHEN coalesce(closed_recorded_at, closed_at) IS NULL THEN -{NEVER}
                 ELSE max(coalesce(closed_recorded_at, closed_at), recorded_at) END AS closed,
            coalesce(gone_at, {NEVER}) AS gone
        FROM {entity}s"""


VIEWS = """
CREATE VIEW steps AS SELECT *, max(changed_at, recorded_at) AS known FROM changes;
CREATE INDEX steps_by ON changes (entity, record_id, field);
CREATE VIEW acts AS
    SELECT *, max(occurred_at, recorded_at) AS known, coalesce(status, 'done') AS state FROM activities;
CREATE VIEW lead_links AS
    SELECT deal_id, lead_id, -4611686018427387904 AS since,
        coalesce((SELECT min(known) FROM steps
            WHERE entity = 'deal' AND record_id = deal_id AND field = 'lead_id'), 4611686018427387904)
        AS until
    FROM (SELECT d.deal_id, CASE WHEN s.change_id IS NULL THEN d.lead_id ELSE s.old_value END AS lead_id
          FROM deals d LEFT JOIN steps s ON s.change_id = (
            SELECT change_id FROM steps WHERE entity = 'deal' AND record_id = d.deal_id AND field = 'lead_id'
            ORDER BY known, changed_at, length(change_id), change_id LIMIT 1))
    UNION ALL
    SELECT record_id, new_value, known,
        lead(known, 1, 4611686018427387904) OVER (
            PARTITION BY record_id ORDER BY known, changed_at, length(change_id), change_id)
    FROM steps WHERE entity = 'deal' AND field = 'lead_id';
"""

ORDER = "ORDER BY known DESC, changed_at DESC, length(change_id) DESC, change_id DESC LIMIT 1"
FIRST = "ORDER BY known, changed_at, length(change_id), change_id LIMIT 1"


def value(entity: str, field: str, record: str, at: str) -> str:
    """Give a field of a record as text, rolled back to what was known strictly before a moment."""
    mine = f"FROM steps WHERE entity = '{entity}' AND record_id = {record} AND field = '{field}'"
    current = f"(SELECT {field} FROM {entity}s WHERE {entity}_id = {record})"
    return f"""(CASE
        WHEN EXISTS (SELECT 1 {mine} AND known < {at}) THEN (SELECT new_value {mine} AND known < {at} {ORDER})
        WHEN EXISTS (SELECT 1 {mine}) THEN (SELECT old_value {mine} {FIRST})
        ELSE {current} END)"""


def attribute(entity: str, field: str) -> str:
    """Give a field of the snapshot's record, or of its account or lead where that was recorded."""
    owner, _, column = field.rpartition(".")
    if not owner:
        return value(entity, column, "snap.id", "snap.at")
    linked = value(entity, f"{owner}_id", "snap.id", "snap.at")
    return f"""(SELECT {value(owner, column, "other.id", "snap.at")} FROM (SELECT {linked} AS id) other
        WHERE (SELECT recorded_at FROM {owner}s WHERE {owner}_id = other.id) < snap.at)"""


def code(field: str, text: str) -> str:
    """Give a level's code."""
    return f"(SELECT code FROM levels WHERE field = '{field}' AND value = {text})"


def activity_rows(entity: str) -> str:
    """Select the activities of the snapshot's record with when each counts for it."""
    if entity == "lead":
        return "SELECT acts.*, known AS counts_at FROM acts WHERE lead_id = snap.id"
    return """
        SELECT acts.*, known AS counts_at FROM acts WHERE deal_id = snap.id
        UNION ALL
        SELECT acts.*, max(known, since) FROM lead_links JOIN acts ON acts.lead_id = lead_links.lead_id
        WHERE lead_links.deal_id = snap.id AND acts.deal_id IS NULL AND known < until"""


def deal_rows() -> str:
    """Select what happened to the deals of the snapshot's lead."""
    parts = []
    for name, moment, condition in (
        ("created", "recorded_at", "1"),
        ("won", "closed", f"outcome = 'won' AND closed > -{NEVER}"),
        ("lost", "closed", f"outcome = 'lost' AND closed > -{NEVER}"),
    ):
        parts.append(
            f"""SELECT '{name}' AS name, max({moment}, since) AS counts_at
            FROM lead_links JOIN deal_records ON deal_records.deal_id = lead_links.deal_id
            WHERE lead_links.lead_id = snap.id AND {condition} AND {moment} < until AND since < until"""
        )
    return " UNION ALL ".join(parts)


def groups(spec: FeatureSpec) -> dict[str, str]:
    """Give, for each group or kind of event, a select of when its events count."""
    entity = spec.entity
    acts = f"SELECT counts_at FROM ({activity_rows(entity)})"
    changes = f"""SELECT known AS counts_at FROM steps
        WHERE entity = '{entity}' AND record_id = snap.id"""
    found = {"activity": f"{acts} WHERE state = 'done'"}
    for direction in spec.directions:
        found[direction] = f"{acts} WHERE state = 'done' AND direction = '{direction}'"
    for channel in spec.channels:
        found[f"channel_{channel}"] = f"{acts} WHERE state = 'done' AND channel = '{channel}'"
    every = f"{acts} UNION ALL {changes}"
    if entity == "lead":
        every += f" UNION ALL SELECT counts_at FROM ({deal_rows()})"
    found["event"] = every
    for kind in spec.kinds:
        if kind.source == "activity":
            sql = f"{acts} WHERE kind = '{kind.name}' AND state = '{kind.value}'"
            found[f"{kind.name}_{kind.value}"] = sql
        elif kind.source == "deal":
            found[f"deal_{kind.name}"] = f"SELECT counts_at FROM ({deal_rows()}) WHERE name = '{kind.name}'"
        elif kind.value:
            sql = f"{changes} AND field = '{kind.name}' AND new_value = '{kind.value}'"
            found[f"{kind.name}_to_{kind.value}"] = sql
        else:
            found[f"{kind.name}_change"] = f"{changes} AND field = '{kind.name}'"
    return found


def aggregate(what: str, rows: str, more: str = "") -> str:
    """Aggregate the events that were known strictly before the moment."""
    return f"(SELECT {what} FROM ({rows}) WHERE counts_at < snap.at {more})"


def in_window(rows: str, days: int) -> str:
    """Count the events of a window."""
    return aggregate("count(*)", rows, f"AND counts_at >= snap.at - {int(days * DAY)}")


def queue(spec: FeatureSpec, kind: str, enters: str) -> str:
    """Give the length of a queue that work enters with one status and leaves when done or cancelled."""
    return f"""(SELECT coalesce((SELECT total - min(0, lowest) FROM (
        SELECT sum(step) AS total, min(running) AS lowest FROM (
            SELECT step, sum(step) OVER (ORDER BY counts_at, CASE state WHEN 'scheduled' THEN 0
                WHEN 'started' THEN 1 WHEN 'done' THEN 2 ELSE 3 END
                ROWS UNBOUNDED PRECEDING) AS running
            FROM (SELECT counts_at, state, CASE WHEN state = '{enters}' THEN 1
                    WHEN state IN ('done', 'cancelled') THEN -1 ELSE 0 END AS step
                  FROM ({activity_rows(spec.entity)})
                  WHERE kind = '{kind}' AND counts_at < snap.at)))), 0))"""


def oldest(spec: FeatureSpec, kind: str) -> str:
    """Give when the oldest planned work of a kind was planned; the latest plans are those that wait."""
    waiting = queue(spec, kind, "scheduled")
    return f"""(SELECT CASE WHEN waiting > 0 THEN (
        SELECT min(counts_at) FROM (SELECT counts_at,
                row_number() OVER (ORDER BY counts_at DESC) AS back
            FROM ({activity_rows(spec.entity)})
            WHERE kind = '{kind}' AND state = 'scheduled' AND counts_at < snap.at) WHERE back <= waiting)
        END FROM (SELECT {waiting} AS waiting))"""


def moved(field: str, number: str, sign: str) -> str:
    """Count the changes of a field that raised or lowered it."""
    old, new = number.format("old_value"), number.format("new_value")
    return f"""(SELECT count(*) FROM steps WHERE entity = 'deal' AND record_id = snap.id
        AND field = '{field}' AND known < snap.at AND {new} {sign} {old})"""


def stage_moves(entity: str, sign: str) -> str:
    """Count the moves to a later or an earlier stage."""
    return f"""(SELECT count(*) FROM steps JOIN stages old ON old.stage = old_value
        JOIN stages new ON new.stage = new_value
        WHERE entity = '{entity}' AND record_id = snap.id AND field = 'stage' AND known < snap.at
        AND new.place {sign} old.place)"""


def others(entity: str, field: str, count: str, condition: str) -> str:
    """Count the other records that share the snapshot's rep or account, each as of then."""
    own = value(entity, field, "snap.id", "snap.at")
    table = "lead" if count == "lead" else "deal"
    theirs = value(table, field, "o.id", "snap.at")
    return f"""(SELECT CASE WHEN own.v IS NULL THEN NULL ELSE (
        SELECT count(*) FROM {table}_records o
        WHERE {condition} AND {theirs} = own.v AND NOT ('{table}' = '{entity}' AND o.id = snap.id))
        END FROM (SELECT {own} AS v) own)"""


OPEN = "o.recorded_at < snap.at AND o.closed >= snap.at AND o.gone >= snap.at"


def outcomes(entity: str, field: str, table: str, outcome: str) -> str:
    """Count outcomes recorded before the moment by who held the record when it closed."""
    own = value(entity, field, "snap.id", "snap.at")
    theirs = value(table, field, "o.id", "o.closed + 1")
    return f"""(SELECT CASE WHEN own.v IS NULL THEN NULL ELSE (
        SELECT count(*) FROM {table}_records o WHERE o.outcome = '{outcome}' AND o.closed > -{NEVER}
        AND o.closed < snap.at AND {theirs} = own.v) END FROM (SELECT {own} AS v) own)"""


def win_rate(spec: FeatureSpec) -> str:
    """Give the rep's win rate, drawn to the company's."""
    won = outcomes(spec.entity, "owner_id", spec.outcomes_of, "won")
    lost = outcomes(spec.entity, "owner_id", spec.outcomes_of, "lost")
    every = f"""SELECT sum(outcome = 'won') AS w, count(*) AS n FROM {spec.outcomes_of}_records
        WHERE outcome IS NOT NULL AND closed > -{NEVER} AND closed < snap.at"""
    return f"""(SELECT (won + 20.0 * (coalesce(w, 0) + 1.0) / (n + 2.0)) / (won + lost + 20.0)
        FROM (SELECT {won} AS won, {lost} AS lost), ({every}))"""


def lead_deal(field: str) -> str:
    """Give a field of the deal of a lead that moved last, missing where that one then closed or left."""
    current = f"d.{field}"
    first = f"""CASE WHEN EXISTS (SELECT 1 FROM steps WHERE entity = 'deal' AND record_id = d.deal_id
            AND field = '{field}')
        THEN (SELECT old_value FROM steps WHERE entity = 'deal' AND record_id = d.deal_id
            AND field = '{field}' {FIRST}) ELSE {current} END"""
    linked = "FROM lead_links l JOIN deal_records d ON d.deal_id = l.deal_id"
    where = "WHERE l.lead_id = snap.id AND l.since < l.until"
    return f"""(SELECT v FROM (
        SELECT max(d.recorded_at, since) AS t, d.recorded_at AS k, d.deal_id AS id, 0 AS part, 0 AS c,
            0 AS n, {first} AS v {linked} {where} AND d.recorded_at < until
        UNION ALL
        SELECT max(s.known, d.recorded_at, since), max(s.known, d.recorded_at), d.deal_id, 1, s.changed_at,
            CAST(s.change_id AS INTEGER) + s.known * 0, s.new_value {linked}
            JOIN steps s ON s.entity = 'deal' AND s.record_id = d.deal_id AND s.field = '{field}'
            {where} AND max(s.known, d.recorded_at) < until
        UNION ALL
        SELECT max(d.closed, since), d.closed, d.deal_id, 2, 0, 0, NULL {linked}
            {where} AND d.outcome IS NOT NULL AND d.closed > -{NEVER} AND d.closed < until
        UNION ALL
        SELECT until, {NEVER}, d.deal_id, 3, 0, 0, NULL {linked} {where} AND until < {NEVER})
        WHERE t < snap.at
        ORDER BY t DESC, k DESC, length(id) DESC, id DESC, part DESC, c DESC, n DESC LIMIT 1)"""


SECONDS = "CAST(strftime('%s', {}) AS INTEGER)"
NUMBER = "CAST({} AS REAL)"


def features(spec: FeatureSpec) -> dict[str, str]:
    """Give the SQL of each feature of a spec."""
    entity = spec.entity
    born = f"(SELECT born FROM {entity}_records WHERE id = snap.id)"
    stage = value(entity, "stage", "snap.id", "snap.at")
    since = f"""coalesce((SELECT max(known) FROM steps WHERE entity = '{entity}' AND record_id = snap.id
        AND field = 'stage' AND known < snap.at), {born})"""
    day = "date(snap.at / 1000000, 'unixepoch', 'start of month', '{}')"
    month_end = f"CAST(strftime('%s', {day.format('+1 month')}) AS INTEGER) * 1000000"
    left = "(2 - (CAST(strftime('%m', snap.at / 1000000, 'unixepoch') AS INTEGER) - 1) % 3 + 1)"
    quarter_end = f"CAST(strftime('%s', {day.format('XX')}) AS INTEGER) * 1000000".replace(
        "'XX'", f"'+' || {left} || ' months'"
    )
    sql = {
        "age_days": f"(snap.at - {born}) / {DAY}",
        "stage": code("stage", stage),
        "days_in_stage": f"(snap.at - {since}) / {DAY}",
        "stage_forward": stage_moves(entity, ">"),
        "stage_back": stage_moves(entity, "<"),
        "days_to_month_end": f"({month_end} - snap.at) / {DAY}",
        "days_to_quarter_end": f"({quarter_end} - snap.at) / {DAY}",
        "rep_open": others(entity, "owner_id", entity, OPEN),
        "rep_win_rate": win_rate(spec),
        "account_won": outcomes(entity, "account_id", "deal", "won"),
        "account_lost": outcomes(entity, "account_id", "deal", "lost"),
        "account_open": others(entity, "account_id", "deal", OPEN),
        "users": f"""(SELECT count(DISTINCT user_id) FROM ({activity_rows(entity)})
            WHERE counts_at < snap.at)""",
    }
    close = value(entity, "expected_close_at", "snap.id", "snap.at")
    close = f"""(SELECT CASE WHEN typeof(v) = 'text' THEN {SECONDS.format("v")} * 1000000 ELSE v END
        FROM (SELECT {close} AS v))"""
    amount = f"CAST({value(entity, 'amount', 'snap.id', 'snap.at')} AS REAL)"
    first_amount = f"CAST({value(entity, 'amount', 'snap.id', str(-NEVER))} AS REAL)"
    if entity == "deal":
        sql |= {
            "days_to_expected_close": f"({close} - snap.at) / {DAY}",
            "days_past_expected_close": f"max(0.0, (snap.at - {close}) / {DAY})",
            "close_pushed": moved("expected_close_at", SECONDS, ">"),
            "close_pulled": moved("expected_close_at", SECONDS, "<"),
            "days_pushed": f"""(SELECT coalesce(sum(max(0, {SECONDS.format("new_value")}
                - {SECONDS.format("old_value")})), 0) / 86400.0 FROM steps WHERE entity = 'deal'
                AND record_id = snap.id AND field = 'expected_close_at' AND known < snap.at)""",
            "amount": amount,
            "log_amount": f"ln(1.0 + max(0.0, {amount}))",
            "amount_up": moved("amount", NUMBER, ">"),
            "amount_down": moved("amount", NUMBER, "<"),
            "amount_ratio": f"CASE WHEN {first_amount} > 0 THEN {amount} / {first_amount} END",
        }
    else:
        sql |= {
            "deal_stage": code("deal.stage", lead_deal("stage")),
            "deal_amount": f"CAST({lead_deal('amount')} AS REAL)",
        }
    rows = groups(spec)
    broad = ["event", "activity", *spec.directions, *(f"channel_{c}" for c in spec.channels)]
    for name, events in rows.items():
        sql[f"count_{name}"] = aggregate("count(*)", events)
        sql[f"days_since_{name}"] = f"(snap.at - {aggregate('max(counts_at)', events)}) / {DAY}"
        sql[f"days_to_first_{name}"] = f"({aggregate('min(counts_at)', events)} - {born}) / {DAY}"
        if name in broad:
            for days in (1, 7, 30, 90):
                sql[f"count_{name}_{days}d"] = in_window(events, days)
            sql[f"trend_{name}"] = f"{in_window(events, 7)} - {in_window(events, 30)} * 7.0 / 30.0"
    if "deal_created" in rows:
        gone = "".join(
            f" - {aggregate('count(*)', rows[name])}" for name in ("deal_won", "deal_lost") if name in rows
        )
        sql["open_deals"] = aggregate("count(*)", rows["deal_created"]) + gone
    last_in, last_out = (aggregate("max(counts_at)", rows[d]) for d in ("in", "out"))
    sql["first_response_days"] = f"({aggregate('min(counts_at)', rows['out'])} - {born}) / {DAY}"
    sql["days_unanswered"] = f"""CASE WHEN {last_in} IS NOT NULL
        AND ({last_out} IS NULL OR {last_out} < {last_in}) THEN (snap.at - {last_in}) / {DAY} ELSE 0 END"""
    for kind in spec.work:
        sql[f"pending_{kind}"] = queue(spec, kind, "scheduled")
        sql[f"started_{kind}"] = queue(spec, kind, "started")
    sql["pending"] = " + ".join(queue(spec, kind, "scheduled") for kind in spec.work)
    sql["started"] = " + ".join(queue(spec, kind, "started") for kind in spec.work)
    olds = " UNION ALL ".join(f"SELECT {oldest(spec, kind)} AS t" for kind in spec.work)
    sql["days_oldest_pending"] = f"coalesce((snap.at - (SELECT min(t) FROM ({olds}))) / {DAY}, 0)"
    for field in spec.numeric:
        sql[f"number_{field.replace('.', '_')}"] = f"CAST({attribute(entity, field)} AS REAL)"
    for levels in spec.categorical:
        field = levels.field
        if not field.startswith("deal."):
            sql[f"attribute_{field.replace('.', '_')}"] = code(field, attribute(entity, field))
    return sql


@pytest.fixture(scope="module")
def seen() -> set[str]:
    """Collect the catalogue entries that were compared."""
    return set()


@pytest.mark.parametrize("entity", ["deal", "lead"])
def test_every_feature_equals_its_sql(
    entity: str,
    seen: set[str],
    random_history: Callable[[int, int], History],
    random_snapshots: Callable[[History, str, int, int], pd.DataFrame],
) -> None:
    """Each feature of a random history is, for every snapshot, what independent SQL says it is."""
    history = random_history(7, 40)
    spec = learn_spec(history, entity)
    snapshots = random_snapshots(history, entity, 3, 4)
    matrix = build_features(history, snapshots, spec)
    db = load(history, spec, snapshots)
    sql = features(spec)
    known = f"(SELECT recorded_at FROM {entity}s WHERE {entity}_id = snap.id) < snap.at"
    got = matrix.to_frame()
    for name in matrix.names:
        rows = db.execute(f"SELECT CASE WHEN {known} THEN {sql[name]} END FROM snap ORDER BY i").fetchall()
        want = np.array([np.nan if cell is None else float(cell) for (cell,) in rows])
        np.testing.assert_allclose(got[name], want, rtol=1e-9, atol=1e-9, err_msg=name)
        assert np.isfinite(want).any(), f"{name}: the history never shows it"
        seen.add(features_of(spec)[name].entry.name)


def test_the_oracle_covers_the_catalogue(seen: set[str]) -> None:
    """No entry of the catalogue escapes the comparison."""
    assert seen == {entry.name for entry in CATALOGUE}
