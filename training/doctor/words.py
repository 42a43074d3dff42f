"""A diagnosis in plain words, for an administrator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from crm.schema import TABLES
from training.doctor.finding import day, length, number, share
from training.doctor.holdings import TableFacts
from training.doctor.readiness import Sizes

if TYPE_CHECKING:
    from training.doctor.diagnosis import Diagnosis

#: Columns whose fill rate says nothing: filled by default, or told of with the outcomes.
_SILENT = frozenset(
    {"recorded_at", "outcome", "closed_at", "closed_recorded_at", "ended_recorded_at", "sequence", "gone_at"}
)
#: Columns that a row has only at times, so that an empty one is nothing to be filled.
_AT_TIMES = {"activities": ("lead_id", "deal_id", "account_id"), "changes": ("old_value", "new_value")}


def tell(found: Diagnosis) -> list[str]:
    """Give a diagnosis as lines of text."""
    lines: list[str] = []
    for part in (_holds, _outcomes, _fields, _models, _findings, _wishes):
        block = list(part(found))
        lines += ["", *block] if lines and block else block
    return lines


def _holds(found: Diagnosis) -> Iterator[str]:
    if all(facts.n == 0 for facts in found.tables.values()):
        yield "The history is empty. Load an export with `vigie import`; docs/import.md shows how to map one."
        return
    if found.first is None or found.last is None:
        yield f"The history as of {day(found.as_of)} has no moment in it: records without times."
    else:
        days = length((found.last - found.first).total_seconds() / 86_400)
        yield f"The history as of {day(found.as_of)} spans {day(found.first)} to {day(found.last)}, {days}."
    for facts in found.tables.values():
        if facts.n:
            between = ""
            if facts.first is not None and facts.last is not None:
                between = f"  {day(facts.first)} to {day(facts.last)}"
            yield f"  {facts.name:<14}{facts.n:>11,}{between}"
    none = [name.replace("_", " ") for name, facts in found.tables.items() if facts.n == 0]
    if none:
        yield f"  none of: {', '.join(none)}"


def _outcomes(found: Diagnosis) -> Iterator[str]:
    sizes = [one for one in found.sizes.values() if one.records]
    if not sizes:
        return
    yield "How they ended"
    for one in sizes:
        many = f"{one.entity}s"
        text = f"  {many}: {one.won:,} won, {one.lost:,} lost, {one.open:,} open"
        if one.closed:
            text += f"; {_timed(one)}"
        if one.median_days is not None:
            text += f"; half ended within {length(one.median_days)}"
        yield text


def _timed(sizes: Sizes) -> str:
    if sizes.untimed == 0:
        return "every outcome has its time"
    if sizes.untimed == sizes.closed:
        return "no outcome has its time"
    return f"{share(sizes.untimed, sizes.closed)} of the outcomes have no time"


def _fields(found: Diagnosis) -> Iterator[str]:
    told = [line for facts in found.tables.values() if facts.n for line in _fill(facts)]
    if told:
        yield "How far the fields are filled"
        yield from told


def _fill(facts: TableFacts) -> Iterator[str]:
    table = TABLES[facts.name]
    skipped = {table.key, *_SILENT, *_AT_TIMES.get(facts.name, ())}
    fields = [field for field in facts.filled if field not in skipped]
    always = [field for field in fields if facts.filled[field] == facts.n]
    never = [field for field in fields if facts.filled[field] == 0]
    partly = [field for field in fields if field not in always and field not in never]
    partly.sort(key=lambda field: -facts.filled[field])
    yield f"  {facts.name}"
    if always:
        yield f"    always: {', '.join(always)}"
    if partly:
        rates = (f"{field} {share(facts.filled[field], facts.n)}" for field in partly)
        yield f"    partly: {', '.join(rates)}"
    if never:
        yield f"    never:  {', '.join(never)}"


def _models(found: Diagnosis) -> Iterator[str]:
    yield "What it can learn"
    for model in found.models:
        yield f"  {model.model}: {'yes' if model.can else 'no'}, {model.says}."
        for caution in model.cautions:
            yield f"    but {caution}."
    if found.features:
        counts = (number(n, "features") + f" of {entity}s" for entity, n in found.features.items())
        yield f"  It gives {' and '.join(counts)}, before the leakage audit that training does."


def _findings(found: Diagnosis) -> Iterator[str]:
    if found.findings:
        yield "What to look into"
    for finding in found.findings:
        ids = f" For example {', '.join(finding.examples)}." if finding.examples else ""
        yield f"  {_sentence(finding.text)}{ids}"


def _wishes(found: Diagnosis) -> Iterator[str]:
    if found.wishes:
        yield "What would become possible, if the export had"
    for entity in ("lead", "deal"):
        some = [one for one in found.wishes if one.entity == entity]
        if some:
            yield f"  for {entity}s"
        for one in some:
            gives = "; ".join(one.examples)
            others = one.n_features - len(one.examples)
            yield f"    {one.column}: {one.remedy}"
            yield f"      would give: {gives}" + (f"; and {others} more" if others else "")
    reports = [one for one in found.wishes if not one.entity]
    if reports:
        yield "  for forecasts and reports"
    for one in reports:
        yield f"    {one.column}: {one.remedy}"


def _sentence(text: str) -> str:
    end = "" if text.endswith(("?", ".")) else "."
    return text[0].upper() + text[1:] + end
