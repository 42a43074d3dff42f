"""Values of a record that training never saw: they count as missing, and the answer says so."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from crm.errors import shorten
from features.columns import text_of
from features.spec import FeatureSpec
from serving.answering.record_rows import RecordRows

_REMEDY = (
    "training never saw this value, so it counts as missing; if it was renamed in the CRM, train again with "
    "a mapping that gives both names one value"
)


@lru_cache(maxsize=16)
def _fields(spec: FeatureSpec) -> tuple[tuple[str, str, dict[str, int]], ...]:
    """Give the categorical fields of a record and of its account: whose, column, and known values."""
    found = []
    for levels in spec.categorical:
        owner, _, column = levels.field.rpartition(".")
        if owner in ("", "account"):
            found.append((owner, column, spec.codes_of(levels.field)))
    return tuple(found)


def unseen_values(spec: FeatureSpec, rows: RecordRows) -> list[dict[str, Any]]:
    """Give the values that training never saw, as faults that did not stop the score.

    Parameters
    ----------
    spec : FeatureSpec
    rows : RecordRows
    """
    record = rows.record
    account: dict[str, Any] = next(
        (row for row in rows.others.get("accounts", ()) if row["account_id"] == record.get("account_id")), {}
    )
    found = []
    for owner, column, known in _fields(spec):
        value = (account if owner else record).get(column)
        if value is None or value != value:
            continue
        text = value if isinstance(value, str) else text_of(value)
        if text not in known:
            field = f"account/{column}" if owner else column
            found.append({"field": field, "code": "unseen_value", "value": shorten(text), "remedy": _REMEDY})
    return found
