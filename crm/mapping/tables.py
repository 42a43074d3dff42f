"""The sections of a mapping file that are named after tables."""

from __future__ import annotations

from typing import Literal, cast

from crm.mapping.parts import (
    check_once,
    outcome_before_creation,
    read_attributes,
    read_columns,
    read_options,
)
from crm.mapping.rules import NUMBERED, BeforeClose, FileOptions, Join, OutcomeRule, TableMapping
from crm.mapping.section import Section
from crm.schema import LEADS, Table


def table_mapping(table: Table, section: Section, default: FileOptions) -> TableMapping:
    if table is LEADS:
        section.text("outcome_from")  # read by load_mapping: it is said of all leads
    options = read_options(section, default)
    columns = read_columns(section, "columns", table)
    attributes = read_attributes(section, table)
    constants = read_columns(section, "constants", table)
    check_once(section, ("columns", columns), ("attributes", attributes), ("constants", constants))
    replacements = {column: _texts_of(part) for column, part in section.subsections("values").items()}
    has_outcome = table.name in ("leads", "deals")
    outcome = _outcome_rule(section) if has_outcome else None
    if outcome is not None and "outcome" in columns:
        raise section.error("columns.outcome", "is given under outcome too; keep one")
    for column in table.columns:
        filled = column.name in columns or column.name in constants
        numbered = column.name == table.key and table.name in NUMBERED
        if column.required and not (filled or column.default or column.default_from or numbered):
            raise section.error(f"columns.{column.name}", f"missing: {column.meaning}; name its column")
    mapping = TableMapping(
        table=table.name,
        file=section.required_text("file"),
        options=options,
        columns=columns,
        attributes=attributes,
        constants=constants,
        replacements=replacements,
        ignore=section.texts("ignore"),
        as_text=section.texts("as_text"),
        joins=tuple(_join(part, options) for part in section.sections("join")),
        outcome=outcome,
        before_close=_before_close(section, table) if has_outcome else {},
        outcome_before_creation=outcome_before_creation(section) if has_outcome else "refuse",
        unknown_records=section.choice("unknown_records", ("refuse", "skip"), "refuse"),
        duplicates=section.choice("duplicates", ("refuse", "last"), "refuse"),
        may_be_empty=section.flag("may_be_empty", False),
        full=section.flag("full", True),
        gone_limit=section.share("gone_limit", 0.5),
    )
    section.done()
    return mapping


def _texts_of(section: Section) -> dict[str, str]:
    return {key: section.text(key) or "" for key in section.names()}


def _join(section: Section, default: FileOptions) -> Join:
    options = read_options(section, default)
    on = section.required_text("on")
    join = Join(
        file=section.required_text("file"),
        on=on,
        right_on=section.text("right_on") or on,
        take=section.pairs("take"),
        required=section.flag("required", False),
        options=options,
    )
    if not join.take:
        raise section.error(
            "take", 'missing; name what is taken, for example take = { price = "list_price" }'
        )
    section.done()
    return join


def _outcome_rule(section: Section) -> OutcomeRule | None:
    part = section.section("outcome")
    if part is None:
        return None
    rule = OutcomeRule(
        column=part.text("column"),
        won=part.texts("won"),
        lost=part.texts("lost"),
        open=part.texts("open"),
        won_where_filled=part.text("won_where_filled"),
        lost_where_filled=part.text("lost_where_filled"),
    )
    part.done()
    lists = rule.won + rule.lost + rule.open
    if rule.column is None and lists:
        raise part.error("column", "missing; name the column that holds these values")
    if rule.column is not None and not (rule.won or rule.lost):
        raise part.error("won", 'missing; list the values that mean won, for example won = ["Closed Won"]')
    if rule.column is None and not (rule.won_where_filled or rule.lost_where_filled):
        raise part.error("column", "missing; name a column, or one under won_where_filled")
    for value in lists:
        if lists.count(value) > 1:
            raise part.error("won/lost/open", f"{value!r} is listed twice; a value means one thing")
    return rule


def _before_close(section: Section, table: Table) -> dict[str, BeforeClose]:
    rules = {}
    for name, part in section.subsections("before_close").items():
        if name in table.names and name in (table.key, "created_at", "recorded_at", "outcome", "closed_at"):
            raise part.error(name, "cannot be said of this column")
        when = part.choice("changes_when", ("won", "lost", "closed"), "closed")
        rules[name] = BeforeClose(
            column=part.text("column"),
            value=part.text("value"),
            changes_when=cast(Literal["won", "lost", "closed"], when),
        )
        part.done()
        if (rules[name].column is None) == (rules[name].value is None):
            raise part.error("column", "give either column (a column's value) or value (the same for all)")
    return rules
