"""What the rep, the account and the lead's deals say, as of then, without looking at another record."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from features.columns import Floats, Ints
from features.entry import Case, Cases, Entry, Kinds, once, one_category, one_number
from features.moments import Moments
from features.series import LOST, OPEN, WON
from features.spec import FeatureSpec, Kind

#: Outcomes that the overall rate weighs against a rep's own.
PRIOR_OUTCOMES = 20.0

_SERIES = "Openings, transfers and outcomes of other records count from when the CRM knew them, before as_of."
_TRACKED = "The field is rolled back through its changes to what was known strictly before as_of."


def _without_itself(moments: Moments, field: str, counts: Ints) -> Floats:
    """Give the open records of each rep or account, the snapshot's own left out."""
    itself = moments.prepared.counted[moments.rank] & moments.is_open & (moments.key(field) >= 0)
    others: Floats = np.subtract(counts[:, OPEN], itself, dtype=np.float64)
    return others


def _where_there(moments: Moments, field: str, values: Floats | Ints) -> Floats:
    """Give values where the record has a rep or account, else NaN."""
    return np.where(np.isnan(moments.value(field)), np.nan, values)


def rep_open(moments: Moments) -> Floats:
    """Other open records that the rep owns."""
    counts = _without_itself(moments, "owner_id", moments.owner_counts)
    return _where_there(moments, "owner_id", counts)


def rep_win_rate(moments: Moments) -> Floats:
    """Win rate of the rep, drawn to the company's."""
    own = moments.owner_counts
    everyone = moments.prepared.series.overall.at(np.zeros(len(moments), np.int64), moments.as_of)
    rate = (everyone[:, WON] + 1.0) / (everyone[:, WON] + everyone[:, LOST] + 2.0)
    outcomes = own[:, WON] + own[:, LOST]
    shrunken = (own[:, WON] + PRIOR_OUTCOMES * rate) / (outcomes + PRIOR_OUTCOMES)
    return _where_there(moments, "owner_id", shrunken)


def account_won(moments: Moments) -> Floats:
    """Deals that the account bought earlier."""
    return _where_there(moments, "account_id", moments.account_counts[:, WON])


def account_lost(moments: Moments) -> Floats:
    """Deals lost at the account earlier."""
    return _where_there(moments, "account_id", moments.account_counts[:, LOST])


def account_open(moments: Moments) -> Floats:
    """Other deals open at the account."""
    counts = moments.account_counts
    if moments.spec.entity == "lead":
        return _where_there(moments, "account_id", counts[:, OPEN])
    return _where_there(moments, "account_id", _without_itself(moments, "account_id", counts))


def _deals_open(spec: FeatureSpec) -> tuple[Case, ...]:
    return (Case(),) if Kind("deal", "created", "") in spec.kinds else ()


def open_deals(moments: Moments) -> Floats:
    """Deals of the lead that are neither won nor lost."""
    kinds = moments.spec.kinds
    counts = moments.count(moments.layout.kind)
    total = np.zeros(len(moments))
    for name, sign in (("created", 1.0), ("won", -1.0), ("lost", -1.0)):
        kind = Kind("deal", name, "")
        if kind in kinds:
            total += sign * counts[:, kinds.index(kind)]
    return total


def deal_stage(moments: Moments) -> Floats:
    """Stage of the lead's deal that moved last, while it is open."""
    return moments.value("deal.stage")


def deal_amount(moments: Moments) -> Floats:
    """Amount of the lead's deal that moved last, while it is open."""
    return moments.value("deal.amount")


def _entry(
    name: str,
    compute: Callable[[Moments], Floats],
    cases: Cases,
    kind: Kinds,
    unit: str,
    label_en: str,
    label_fr: str,
    known: str,
) -> Entry:
    """Give an entry whose meaning is its function's first line."""
    meaning = str(compute.__doc__)
    return Entry(name, "relations", compute, cases, kind, unit, meaning, label_en, label_fr, known)


_ACCOUNT = once("account_id", "deals")
ENTRIES = (
    _entry("rep_open", rep_open, once("owner_id"), "count", "records",
           "The rep's other open records", "Autres dossiers ouverts du responsable", _SERIES),
    _entry("rep_win_rate", rep_win_rate, once("owner_id", "outcomes"), "ratio", "",
           "The rep's win rate", "Taux de réussite du responsable", _SERIES),
    _entry("account_won", account_won, _ACCOUNT, "count", "deals",
           "Deals the account bought earlier", "Affaires déjà gagnées avec ce compte", _SERIES),
    _entry("account_lost", account_lost, _ACCOUNT, "count", "deals",
           "Deals lost at the account earlier", "Affaires déjà perdues avec ce compte", _SERIES),
    _entry("account_open", account_open, _ACCOUNT, "count", "deals",
           "Other open deals of the account", "Autres affaires ouvertes du compte", _SERIES),
    _entry("open_deals", open_deals, _deals_open, "count", "deals",
           "Open deals of the lead", "Affaires ouvertes du prospect", _SERIES),
    _entry("deal_stage", deal_stage, one_category("deal.stage"), "category", "",
           "Stage of the deal", "Étape de l’affaire", _TRACKED),
    _entry("deal_amount", deal_amount, one_number("deal.amount"), "money", "currency",
           "Amount of the deal", "Montant de l’affaire", _TRACKED),
)  # fmt: skip
