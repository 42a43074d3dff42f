"""How a KPI's value reads, in English or French."""

from __future__ import annotations

import math

from features.entry import Language

#: The narrow space that does not break, which French sets between thousands and before a percent sign.
_NARROW = "\u202f"
_UNITS_FR = {
    "hours": "heures",
    "days": "jours",
    "months": "mois",
    "points": "points",
    "per deal": "par affaire",
    "times": "×",
    "per day": "par jour",
}


def format_value(value: float, unit: str, language: Language = "en") -> str:
    """Give a value as a manager reads it; a dash where there is none.

    Parameters
    ----------
    value : float
    unit : str
        As in the rows of :func:`features.kpis.measure_kpis`; a currency by its code.
    language : {"en", "fr"}

    Examples
    --------
    >>> format_value(0.4213, "ratio"), format_value(17215820.4, "EUR"), format_value(9, "count")
    ('42.1%', '17,215,820 EUR', '9')
    >>> format_value(12.34, "days"), format_value(2.5, "times"), format_value(float("nan"), "ratio")
    ('12.3 days', '2.5 ×', '–')
    >>> format_value(1234.6, "EUR per day", "fr")
    '1\\u202f235 EUR par jour'
    >>> format_value(3.0, "currency"), format_value(3.0, "currency per day")
    ('3', '3 per day')
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if unit == "ratio":
        return _number(100 * value, 1, language) + ("%" if language == "en" else f"{_NARROW}%")
    if unit == "count":
        return _number(value, 0 if float(value).is_integer() else 1, language)
    if unit in ("hours", "days", "months", "points", "per deal", "times"):
        return f"{_number(value, 1, language)} {_unit(unit, language)}"
    digits = 2 if abs(value) < 100 and not float(value).is_integer() else 0
    # Where the history names no currency, nothing is said of it.
    return (
        f"{_number(value, digits, language)} {_unit(unit.removeprefix('currency'), language).strip()}".strip()
    )


def _unit(unit: str, language: Language) -> str:
    if language == "fr":
        for english, french in _UNITS_FR.items():
            unit = unit.replace(english, french)
        return unit
    return unit.replace("times", "×")


def _number(value: float, digits: int, language: Language) -> str:
    text = f"{value:,.{digits}f}"
    return text.replace(",", _NARROW).replace(".", ",") if language == "fr" else text
