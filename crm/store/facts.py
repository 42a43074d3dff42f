"""What the sources of a store say about its history as a whole: which outcome of a lead counts."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from crm.errors import ExportError
from crm.history import FACTS
from crm.store.bulk import Transaction
from crm.store.layout import HISTORY_FACTS


def enter_facts(transaction: Transaction, source: str, facts: Mapping[str, str], load_id: int) -> bool:
    """Let a source say these facts, and no others; say whether that changed anything.

    Raises
    ------
    ExportError
        Where a fact is none that is known, or says what it may not.
    """
    for name, value in facts.items():
        if value not in FACTS.get(name, ()):
            allowed = "; ".join(f"{fact}: {' or '.join(values)}" for fact, values in FACTS.items())
            raise ExportError(f"{source}: fact {name} = {value!r} is not known; write {allowed}")
    mine = HISTORY_FACTS.c.source == source
    stored = dict(transaction.fetch(sa.select(HISTORY_FACTS.c.name, HISTORY_FACTS.c.value).where(mine)))
    if stored == dict(facts):
        return False
    for name in stored:
        if stored[name] != facts.get(name):
            transaction.run(HISTORY_FACTS.delete().where(mine, HISTORY_FACTS.c.name == name))
    for name, value in facts.items():
        if stored.get(name) != value:
            row = {"source": source, "name": name, "value": value, "load_id": load_id}
            transaction.run(HISTORY_FACTS.insert().values(row))
    return True


def read_facts(transaction: Transaction) -> dict[str, str]:
    """Give the facts; where sources differ, what was said last."""
    said = sa.select(HISTORY_FACTS.c.name, HISTORY_FACTS.c.value)
    return dict(transaction.fetch(said.order_by(HISTORY_FACTS.c.load_id, HISTORY_FACTS.c.source)))
