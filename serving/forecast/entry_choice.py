"""Which of the ledger's entries is meant: by the beginning of its id, its period, or as a move's bridge."""

from __future__ import annotations

from collections.abc import Sequence

from crm.errors import InputError, NotEnoughData, shorten
from crm.ledger import LedgerEntry

_FEWEST_LETTERS = 4


def find_entry(entries: Sequence[LedgerEntry], beginning: str) -> LedgerEntry:
    """Give the entry whose id begins so.

    Raises
    ------
    InputError
        Where none does, or several.
    """
    text = beginning.strip().lower()
    if len(text) < _FEWEST_LETTERS:
        raise InputError(
            f"entry {shorten(beginning)!r}: write at least {_FEWEST_LETTERS} letters of its id; "
            "vigie ledger list shows them"
        )
    found = [entry for entry in entries if entry.entry_id.startswith(text)]
    if not found:
        raise InputError(
            f"entry {shorten(beginning)!r} is not in the ledger; vigie ledger list shows what is there"
        )
    if len(found) > 1:
        raise InputError(
            f"entry {shorten(beginning)!r} could be {len(found)} entries, {found[0].entry_id[:16]} and "
            f"{found[1].entry_id[:16]} among them; write more letters of its id"
        )
    return found[0]


def of_period(entries: Sequence[LedgerEntry], name: str) -> list[LedgerEntry]:
    """Give the entries of the period of that name.

    Raises
    ------
    NotEnoughData
        Where there is none; says which periods there are.
    """
    found = [entry for entry in entries if entry.period.casefold() == name.strip().casefold()]
    if found:
        return found
    there = list(dict.fromkeys(entry.period for entry in entries))
    if not there:
        raise NotEnoughData("the ledger holds no forecast yet; keep one with vigie forecast --keep")
    shown = ", ".join(there[-8:])
    raise NotEnoughData(
        f"the ledger holds no forecast of {shorten(name)!r}; it holds {shown}"
        f"{f' and {len(there) - 8} earlier ones' if len(there) > 8 else ''}"
    )


def last_two(entries: Sequence[LedgerEntry]) -> tuple[LedgerEntry, LedgerEntry]:
    """Give the last forecast, and the last before it that answers the same question as of an earlier moment.

    Parameters
    ----------
    entries : sequence of LedgerEntry
        In the order of :meth:`crm.store.Store.forecasts`.

    Raises
    ------
    NotEnoughData
        Where there are not two.
    """
    after = max(entries, key=lambda entry: entry.as_of, default=None)
    if after is not None:
        earlier = [entry for entry in entries if _same(entry, after) and entry.as_of < after.as_of]
        if earlier:
            return max(earlier, key=lambda entry: entry.as_of), after
    asked = "" if after is None else f" of {after.period}"
    raise NotEnoughData(
        f"the ledger does not hold two forecasts{asked} as of different moments, of one grouping, level and "
        "currency; keep another with vigie forecast --keep"
    )


def bridge_between(
    entries: Sequence[LedgerEntry], before: LedgerEntry, after: LedgerEntry
) -> LedgerEntry | None:
    """Give what the earlier entry's model said as of the later one's moment, where the ledger has it."""
    if before.model_version == after.model_version:
        return None
    for entry in entries:
        if (
            _same(entry, after)
            and entry.as_of == after.as_of
            and entry.model_version == before.model_version
            and entry.entry_id != before.entry_id
        ):
            return entry
    return None


def _same(one: LedgerEntry, other: LedgerEntry) -> bool:
    """Say whether two entries answer the same question, if not as of the same moment."""

    def question(entry: LedgerEntry) -> tuple[object, ...]:
        return entry.period_start, entry.period_end, entry.by, entry.level, entry.currency

    return question(one) == question(other)
