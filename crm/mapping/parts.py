"""What the sections of a mapping file have in common: how files are written, names of columns, policies."""

from __future__ import annotations

import codecs
from collections.abc import Mapping as Dict
from dataclasses import replace
from zoneinfo import ZoneInfo

from crm.mapping.rules import FileOptions
from crm.mapping.section import Section, suggest
from crm.schema import Table


def read_options(section: Section, default: FileOptions) -> FileOptions:
    options = replace(
        default,
        delimiter=_one_character(section, "delimiter", default.delimiter),
        encoding=section.text("encoding") or default.encoding,
        decimal=_one_character(section, "decimal", default.decimal),
        thousands=section.text("thousands") or default.thousands,
        nulls=section.texts("nulls", default.nulls),
        timezone=section.text("timezone", default.timezone),
        dst=section.choice("dst", ("refuse", "earlier", "later"), default.dst),
        date_formats=section.text_or_texts("date_format", default.date_formats),
    )
    try:
        codecs.lookup(options.encoding)
    except LookupError as error:
        raise section.error(
            "encoding", f'{options.encoding!r} is unknown; for example "utf-8", "cp1252", "utf-16"'
        ) from error
    if options.timezone is not None:
        try:
            ZoneInfo(options.timezone)
        except (KeyError, ValueError, OSError) as error:
            raise section.error(
                "timezone", f'{options.timezone!r} is no IANA zone; for example "Europe/Paris" or "UTC"'
            ) from error
    return options


def _one_character(section: Section, key: str, default: str) -> str:
    value = section.text(key, default) or ""
    if len(value) != 1:
        raise section.error(key, f"{value!r} is not one character")
    return value


def read_columns(section: Section, key: str, table: Table) -> dict[str, str]:
    """Give the pairs of a sub-section whose names must be canonical columns."""
    pairs = section.pairs(key)
    for name in pairs:
        if name not in table.names:
            hint = suggest(name, table.names)
            further = "; a further column goes under attributes" if table.open_ended else ""
            raise section.error(f"{key}.{name}", f"{table.name} has no column {name!r}{hint}{further}")
    return pairs


def read_attributes(section: Section, table: Table) -> dict[str, str]:
    pairs = section.pairs("attributes")
    if pairs and not table.open_ended:
        raise section.error("attributes", f"{table.name} keeps no further columns; remove it")
    for name in pairs:
        if name in table.names:
            raise section.error(f"attributes.{name}", "is a canonical column; write it under columns")
    return pairs


def check_once(section: Section, *groups: tuple[str, Dict[str, object]]) -> None:
    seen: dict[str, str] = {}
    for group, names in groups:
        for name in names:
            if name in seen:
                raise section.error(f"{group}.{name}", f"is given under {seen[name]} too; keep one")
            seen[name] = group


def outcome_before_creation(section: Section) -> str:
    return section.choice("outcome_before_creation", ("refuse", "skip", "close_at_creation"), "refuse")
