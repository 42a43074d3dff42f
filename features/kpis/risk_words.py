"""The evidence of each risk in words, in English and in French."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import pandas as pd

from crm.groups import NOBODY

Row = Mapping[Any, Any]
Pair = tuple[str, str]

#: Every flag, the most telling first, and what it is called.
FLAGS: Final[dict[str, Pair]] = {
    "silent": ("silent", "silencieuse"),
    "past_date": ("past its date", "date dépassée"),
    "pushed": ("pushed repeatedly", "reportée à répétition"),
    "backwards": ("going backwards", "en recul"),
    "single_contact": ("single contact", "contact unique"),
    "one_sided": ("never answered", "sans réponse"),
}
_SIGNS: dict[str, Pair] = {
    "in": ("The prospect has not acted for", "Le client n’a pas agi depuis"),
    "any": ("Nothing has happened for", "Il ne s’est rien passé depuis"),
    "change": ("Nothing has changed for", "Rien n’a changé depuis"),
}
_WHOSE: dict[str, Pair] = {
    "lead_id": ("Only one person of the prospect has", "Une seule personne du côté du client a"),
    "user_id": ("Only one of us has", "Un seul des nôtres a"),
}


def evidence(row: Row, quantile: float = 1.0) -> Pair:
    """Give the evidence of one flag in a sentence, in English and in French.

    Parameters
    ----------
    row : mapping
        ``flag, stage, measure, limit, n_won, extra, basis, moment, furthest, share``; what a flag does not
        need may be missing.
    quantile : float
        The share of won deals that the limit stands for.

    Examples
    --------
    >>> row = {"flag": "silent", "basis": "in", "stage": "Demo", "measure": 45.2, "limit": 31.0, "n_won": 120}
    >>> print(evidence(row)[0])
    The prospect has not acted for 45 days; no deal won had been silent more than 31 days in Demo (120 won).
    >>> print(evidence(row, 0.95)[0].partition("; ")[2])
    95% of the deals won had been silent for 31 days at most in Demo (120 won).
    """
    return _SENTENCES[row["flag"]](row, quantile)


def _silent(row: Row, quantile: float) -> Pair:
    sign, now, ever, where = _SIGNS[row["basis"]], _days(row["measure"]), _days(row["limit"]), _where(row)
    if quantile == 1:
        others = (
            f"no deal won had been silent more than {ever[0]}",
            f"aucune affaire gagnée n’était restée silencieuse plus de {ever[1]}",
        )
    else:
        share = _share(quantile)
        others = (
            f"{share[0]} of the deals won had been silent for {ever[0]} at most",
            f"{share[1]} des affaires gagnées étaient restées silencieuses {ever[1]} au plus",
        )
    return (
        f"{sign[0]} {now[0]}; {others[0]}{where[0]} ({_won(row)[0]}).",
        f"{sign[1]} {now[1]}\u00a0; {others[1]}{where[1]} ({_won(row)[1]}).",
    )


def _past_date(row: Row, _: float) -> Pair:
    day, late, times = _day(row), _days(row["measure"]), int(row["extra"])
    put_off = (
        (f", put off {_times(times)[0]} before", f", déjà reportée {_times(times)[1]}") if times else ("", "")
    )
    return (
        f"It was to close on {day[0]}, {late[0]} ago{put_off[0]}.",
        f"Sa clôture était prévue le {day[1]}, il y a {late[1]}{put_off[1]}.",
    )


def _pushed(row: Row, quantile: float) -> Pair:
    times, most = _times(int(row["measure"])), _times(int(row["limit"]))
    total, where = _days(row["extra"]), _where(row)
    if quantile == 1:
        others = (
            f"no deal won had been put off more than {most[0]}",
            f"aucune affaire gagnée ne l’avait été plus de {most[1]}",
        )
    else:
        share = _share(quantile)
        others = (
            f"{share[0]} of the deals won had been put off {most[0]} at most",
            f"{share[1]} des affaires gagnées l’avaient été {most[1]} au plus",
        )
    return (
        f"Its close date was put off {times[0]}, by {total[0]} in all; "
        f"{others[0]}{where[0]} ({_won(row)[0]}).",
        f"Sa clôture a été reportée {times[1]}, de {total[1]} en tout\u00a0; "
        f"{others[1]}{where[1]} ({_won(row)[1]}).",
    )


def _backwards(row: Row, _: float) -> Pair:
    day, back, stage, furthest = _day(row), int(row["extra"]), row["stage"], row["furthest"]
    return (
        f"It went back from {furthest} to {stage} on {day[0]}; {back} of {_won(row)[0]} ever went back.",
        f"Elle est revenue de {furthest} à {stage} le {day[1]}\u00a0; "
        f"{back} sur {_won(row)[1]} ont un jour reculé.",
    )


def _single_contact(row: Row, _: float) -> Pair:
    who, had, where = _WHOSE[row["basis"]], _share(row["share"]), _where(row)
    return (
        f"{who[0]} taken part; {had[0]} of the deals won had two or more{where[0]} ({_won(row)[0]}).",
        f"{who[1]} pris part\u00a0; {had[1]} des affaires gagnées en avaient deux ou plus{where[1]} "
        f"({_won(row)[1]}).",
    )


def _one_sided(row: Row, _: float) -> Pair:
    acts, had, where = _times(int(row["extra"])), _share(row["share"]), _where(row)
    return (
        f"We acted {acts[0]}, the prospect never; in {had[0]} of the deals won the prospect had{where[0]} "
        f"({_won(row)[0]}).",
        f"Nous avons agi {acts[1]}, le client jamais\u00a0; dans {had[1]} des affaires gagnées il avait agi"
        f"{where[1]} ({_won(row)[1]}).",
    )


_SENTENCES: dict[str, Callable[[Row, float], Pair]] = {
    "silent": _silent,
    "past_date": _past_date,
    "pushed": _pushed,
    "backwards": _backwards,
    "single_contact": _single_contact,
    "one_sided": _one_sided,
}


def _where(row: Row) -> Pair:
    stage = row["stage"]
    return ("", "") if stage == NOBODY else (f" in {stage}", f" à l’étape {stage}")


def _won(row: Row) -> Pair:
    n = int(row["n_won"])
    return f"{n:,} won", f"{n:,} gagnées".replace(",", "\u00a0")


def _days(days: float) -> Pair:
    """Give a time in days: whole ones, but for short times, so that no limit seems to be reached.

    Examples
    --------
    >>> _days(45.2), _days(1.04)
    (('45 days', '45 jours'), ('1.0 days', '1,0 jour'))
    """
    text = f"{days:,.0f}" if days >= 10 or days == round(days) else f"{days:.1f}"
    french = text.replace(",", "\u00a0").replace(".", ",")
    return f"{text} day{'' if text == '1' else 's'}", f"{french} jour{'s' if days >= 2 else ''}"


def _times(times: int) -> Pair:
    return f"{times:,} time{'' if times == 1 else 's'}", f"{times} fois"


def _share(share: float) -> Pair:
    text = f"{share * 100:.3g}"
    return f"{text}%", f"{text.replace('.', ',')}\u00a0%"


def _day(row: Row) -> Pair:
    day = pd.Timestamp(row["moment"])
    return f"{day:%Y-%m-%d}", f"{day:%d/%m/%Y}"
