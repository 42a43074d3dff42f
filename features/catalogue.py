"""Every feature there is, what it is called, and how its value reads."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from crm.errors import InputError, shorten
from features.entry import Case, Entry, Language
from features.families import activity, attributes, progress, relations, work
from features.spec import FeatureSpec

#: Every entry, in the order of the matrix's columns.
CATALOGUE: tuple[Entry, ...] = (
    *progress.ENTRIES,
    *activity.ENTRIES,
    *work.ENTRIES,
    *relations.ENTRIES,
    *attributes.ENTRIES,
)


class Feature(NamedTuple):
    """One feature of a spec: its entry, and what fills the entry's braces."""

    name: str
    entry: Entry
    case: Case


@lru_cache(maxsize=64)
def features_of(spec: FeatureSpec) -> dict[str, Feature]:
    """Give every feature that the catalogue has for a spec, by name, whether the spec keeps it or not."""
    found: dict[str, Feature] = {}
    for entry in CATALOGUE:
        for case, name in zip(entry.cases(spec), entry.names(spec), strict=True):
            found[name] = Feature(name, entry, case)
    return found


def feature(spec: FeatureSpec, name: str) -> Feature:
    """Give one feature; InputError where the spec has none of that name."""
    found = features_of(spec).get(name)
    if found is None:
        raise InputError(
            f"feature {shorten(name)!r} is not known for {spec.entity}s; names are in FeatureSpec.names"
        )
    return found


def describe(spec: FeatureSpec, name: str, language: Language = "en") -> str:
    """Give a feature's label, as a rep reads it.

    Raises
    ------
    InputError
        If the spec has no feature of that name.
    """
    _, entry, case = feature(spec, name)
    return entry.label_fr.format(**case.fr) if language == "fr" else entry.label_en.format(**case.en)


_MISSING = {"en": "none", "fr": "aucun"}
_OTHER = {"en": "other", "fr": "autre"}
#: The narrow space that does not break, which French sets between thousands and before a percent sign.
_NARROW = "\u202f"
_DAYS = {"en": ("day", "days"), "fr": ("jour", "jours")}


def format_value(spec: FeatureSpec, name: str, value: float, language: Language = "en") -> str:
    """Give a feature's value as a person reads it: ``12 days``, a level's name, ``3``.

    Raises
    ------
    InputError
        If the spec has no feature of that name.
    """
    _, entry, case = feature(spec, name)
    if math.isnan(value):
        return _MISSING[language]
    if entry.kind == "category":
        levels = spec.levels_of(case.field or name)
        code = int(value)
        known = levels is not None and code < len(levels.levels)
        return levels.levels[code] if levels is not None and known else _OTHER[language]
    if entry.kind == "days":
        text = _decimal(value, 0 if abs(value) >= 10 else 1, language)
        # French counts everything below two as one.
        one = abs(value) < 2 if language == "fr" else text in ("1", "-1")
        return f"{text} {_DAYS[language][0 if one else 1]}"
    if entry.kind == "ratio":
        return f"{_decimal(100 * value, 0, language)}{_NARROW + '%' if language == 'fr' else '%'}"
    if entry.kind == "money":
        return _decimal(value, 0 if abs(value) >= 100 or value == int(value) else 2, language)
    return _decimal(value, 2, language)


def _decimal(value: float, places: int, language: Language) -> str:
    """Give a number with its language's marks, without trailing zeros."""
    text = f"{value:,.{places}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if text == "-0":
        text = "0"
    if language == "fr":
        return text.replace(",", _NARROW).replace(".", ",")
    return text
