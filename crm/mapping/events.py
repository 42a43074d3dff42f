"""The section of a mapping file for an event log."""

from __future__ import annotations

from crm.mapping.parts import (
    check_once,
    outcome_before_creation,
    read_attributes,
    read_columns,
    read_options,
)
from crm.mapping.rules import EventMapping, FileOptions, WorkRule
from crm.mapping.section import Section
from crm.schema import ENTITIES, STATUSES, TABLE_OF


def event_mapping(section: Section, default: FileOptions) -> EventMapping:
    options = read_options(section, default)
    entity = section.choice("entity", ENTITIES)
    table = TABLE_OF[entity]
    columns = read_columns(section, "columns", table)
    attributes = read_attributes(section, table)
    constants = read_columns(section, "constants", table)
    outcomes = section.section("outcomes")
    won, lost = ((), ()) if outcomes is None else (outcomes.texts("won"), outcomes.texts("lost"))
    if outcomes is not None:
        outcomes.done()
        if entity == "account":
            raise section.error("outcomes", "an account has no outcome; remove it")
    stages = section.section("stages")
    tracks = {} if stages is None else {name: stages.texts(name) for name in stages.names()}
    statuses = section.pairs("statuses")
    for status in statuses.values():
        if status not in STATUSES:
            raise section.error("statuses", f"{status!r} is not one of {', '.join(STATUSES)}")
    mapping = EventMapping(
        file=section.required_text("file"),
        options=options,
        entity=entity,
        record=section.required_text("record"),
        time=section.required_text("time"),
        activity=section.required_text("activity"),
        status=section.text("status"),
        statuses=statuses,
        user=section.text("user"),
        columns=columns,
        attributes=attributes,
        constants=constants,
        won=won,
        lost=lost,
        stages=tracks,
        work=tuple(_work_rule(part) for part in section.sections("work")),
        ignore=section.texts("ignore"),
        outcome_before_creation=outcome_before_creation(section),
        full=section.flag("full", True),
        gone_limit=section.share("gone_limit", 0.5),
    )
    for name in (table.key, "outcome", "closed_at", *tracks):
        if name in columns or name in attributes or name in constants:
            raise section.error(f"columns.{name}", "comes from the events; remove it")
    check_once(section, ("columns", columns), ("attributes", attributes), ("constants", constants))
    if mapping.status is None and statuses:
        raise section.error("status", "missing; name the column that holds these values")
    section.done()
    return mapping


def _work_rule(section: Section) -> WorkRule:
    rule = WorkRule(
        match=section.texts("match", required=True),
        channel=section.text("channel"),
        direction=section.text("direction"),
    )
    if rule.direction not in (None, "in", "out"):
        raise section.error("direction", f'{rule.direction!r}: write "in" or "out"')
    section.done()
    return rule
