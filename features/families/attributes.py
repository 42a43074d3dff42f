"""Attributes of the record, of its account and of its lead, as known then."""

from __future__ import annotations

import numpy as np

from features.columns import Floats
from features.entry import Entry, categories, category_fields, number_fields, numbers
from features.moments import Moments

_KNOWN = (
    "Where the CRM tracks the field it is rolled back to what was known strictly before as_of; where it does "
    "not, the value is as old as the export says, and the leakage audit tests it."
)


def _columns(moments: Moments, fields: list[str]) -> Floats:
    names = moments.prepared.fields.names
    return np.asarray(moments.values[:, [names.index(field) for field in fields]], np.float64)


def number_attributes(moments: Moments) -> Floats:
    """Value of each attribute that is a number."""
    return _columns(moments, number_fields(moments.spec))


def category_attributes(moments: Moments) -> Floats:
    """Level's code of each attribute with levels."""
    return _columns(moments, category_fields(moments.spec))


ENTRIES = (
    Entry(
        "number_{field}",
        "attributes",
        number_attributes,
        numbers,
        "number",
        "",
        "Value of the attribute.",
        "{field}",
        "{field}",
        _KNOWN,
    ),
    Entry(
        "attribute_{field}",
        "attributes",
        category_attributes,
        categories,
        "category",
        "",
        "Level of the attribute: its code, by frequency; rare ones share the last; unseen ones are missing.",
        "{field}",
        "{field}",
        _KNOWN,
    ),
)
