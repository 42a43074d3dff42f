"""Age, stage, expected close date, amount and calendar."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crm.moments import DAY
from features.columns import Floats, in_days
from features.entry import Case, Cases, Entry, Kinds, once, one_category, one_number
from features.events import DETAILS
from features.moments import Moments
from features.spec import FeatureSpec

_TRACKED = "The field is rolled back through its changes to what was known strictly before as_of."
_CHANGES = "Only changes known strictly before as_of are counted."


def age(moments: Moments) -> Floats:
    """Days since the record was created."""
    return in_days(moments.as_of - moments.born)


def stage(moments: Moments) -> Floats:
    """Stage, as a level's code."""
    return moments.value("stage")


def days_in_stage(moments: Moments) -> Floats:
    """Days since the stage was reached."""
    return in_days(moments.as_of - moments.since("stage"))


def _detail(moments: Moments, name: str) -> Floats:
    place = moments.layout.detail.start + DETAILS.index(name)
    return moments.count(slice(place, place + 1))[:, 0].astype(np.float64)


def stage_forward(moments: Moments) -> Floats:
    """Number of moves to a later stage."""
    return _detail(moments, "stage_forward")


def stage_back(moments: Moments) -> Floats:
    """Number of moves to an earlier stage."""
    return _detail(moments, "stage_back")


def close_pushed(moments: Moments) -> Floats:
    """Number of times the expected close date was put off."""
    return _detail(moments, "close_pushed")


def close_pulled(moments: Moments) -> Floats:
    """Number of times the expected close date was brought forward."""
    return _detail(moments, "close_pulled")


def days_pushed(moments: Moments) -> Floats:
    """Days by which the expected close date was put off in all."""
    return in_days(moments.pushed)


def days_to_close(moments: Moments) -> Floats:
    """Days until the expected close date; negative once it is past."""
    return in_days(moments.value("expected_close_at") - moments.as_of)


def days_past_close(moments: Moments) -> Floats:
    """Days by which the expected close date is past; zero before."""
    return np.maximum(0.0, -days_to_close(moments))


def amount(moments: Moments) -> Floats:
    """Amount of the deal."""
    return moments.value("amount")


def log_amount(moments: Moments) -> Floats:
    """Logarithm of one plus the amount."""
    return np.log1p(np.maximum(0.0, moments.value("amount")))


def amount_up(moments: Moments) -> Floats:
    """Number of times the amount was raised."""
    return _detail(moments, "amount_up")


def amount_down(moments: Moments) -> Floats:
    """Number of times the amount was lowered."""
    return _detail(moments, "amount_down")


def amount_ratio(moments: Moments) -> Floats:
    """Amount over the first amount; missing where the first was not above zero."""
    first = moments.first_value("amount")
    return np.where(first > 0, moments.value("amount") / np.where(first > 0, first, 1.0), np.nan)


def _days_to_period_end(moments: Moments, months: int) -> Floats:
    month = moments.as_of.view("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    following = (month // months + 1) * months
    end = following.view("datetime64[M]").astype("datetime64[us]").astype(np.int64)
    return (end - moments.as_of) / float(DAY)


def days_to_month_end(moments: Moments) -> Floats:
    """Days to the end of the month, in UTC."""
    return _days_to_period_end(moments, 1)


def days_to_quarter_end(moments: Moments) -> Floats:
    """Days to the end of the calendar quarter, in UTC."""
    return _days_to_period_end(moments, 3)


def _ordered_stages(spec: FeatureSpec) -> tuple[Case, ...]:
    return (Case(),) if len(spec.stage_order) > 1 and spec.levels_of("stage") else ()


def _entry(
    name: str,
    family: str,
    compute: Callable[[Moments], Floats],
    cases: Cases,
    kind: Kinds,
    unit: str,
    label_en: str,
    label_fr: str,
    known: str,
    actionable: bool = False,
) -> Entry:
    """Give an entry whose meaning is its function's first line."""
    meaning = str(compute.__doc__)
    return Entry(name, family, compute, cases, kind, unit, meaning, label_en, label_fr, known, actionable)


_EXPECTED = once("expected_close_at", entity="deal")
_PUSHES = once("expected_close_at", "changes of expected_close_at", entity="deal")
_AMOUNTS = once("changes of amount", entity="deal")
_CALENDAR = "The calendar is known in advance."
ENTRIES = (
    _entry("age_days", "age", age, once(), "days", "days", "Age", "Âge",
           "The creation time is taken from a record that was known before as_of."),
    _entry("stage", "stage", stage, one_category("stage"), "category", "", "Stage", "Étape", _TRACKED, True),
    _entry("days_in_stage", "stage", days_in_stage, one_category("stage"), "days", "days",
           "Time in this stage", "Temps dans cette étape", _TRACKED, True),
    _entry("stage_forward", "stage", stage_forward, _ordered_stages, "count", "moves",
           "Moves to a later stage", "Passages à une étape suivante", _CHANGES, True),
    _entry("stage_back", "stage", stage_back, _ordered_stages, "count", "moves",
           "Moves back to an earlier stage", "Retours à une étape précédente", _CHANGES),
    _entry("close_pushed", "close date", close_pushed, _PUSHES, "count", "times",
           "Close date put off", "Reports de la date de clôture", _CHANGES),
    _entry("close_pulled", "close date", close_pulled, _PUSHES, "count", "times",
           "Close date brought forward", "Avances de la date de clôture", _CHANGES),
    _entry("days_pushed", "close date", days_pushed, _PUSHES, "days", "days",
           "Days the close date was put off by", "Jours de report de la date de clôture", _CHANGES),
    _entry("days_to_expected_close", "close date", days_to_close, _EXPECTED, "days", "days",
           "Time to the expected close date", "Temps jusqu’à la date de clôture prévue", _TRACKED),
    _entry("days_past_expected_close", "close date", days_past_close, _EXPECTED, "days", "days",
           "Time past the expected close date", "Retard sur la date de clôture prévue", _TRACKED),
    _entry("amount", "amount", amount, one_number("amount"), "money", "currency",
           "Amount", "Montant", _TRACKED),
    _entry("log_amount", "amount", log_amount, one_number("amount"), "number", "log of currency",
           "Amount (logarithm)", "Montant (logarithme)", _TRACKED),
    _entry("amount_up", "amount", amount_up, _AMOUNTS, "count", "times",
           "Amount raised", "Hausses du montant", _CHANGES),
    _entry("amount_down", "amount", amount_down, _AMOUNTS, "count", "times",
           "Amount lowered", "Baisses du montant", _CHANGES),
    _entry("amount_ratio", "amount", amount_ratio, _AMOUNTS, "ratio", "",
           "Amount against the first amount", "Montant rapporté au premier montant", _TRACKED),
    _entry("days_to_month_end", "calendar", days_to_month_end, once("months"), "days", "days",
           "Time to the end of the month", "Temps jusqu’à la fin du mois", _CALENDAR),
    _entry("days_to_quarter_end", "calendar", days_to_quarter_end, once("quarters"), "days", "days",
           "Time to the end of the quarter", "Temps jusqu’à la fin du trimestre", _CALENDAR),
)  # fmt: skip
