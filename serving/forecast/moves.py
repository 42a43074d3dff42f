"""Why a forecast moved: the difference between two ledger entries of one period, split without a remainder.

Each deal's difference goes to one part, by what it was, what it is and what the CRM says of it. That of a
deal which is open in both is split among its three factors, see :mod:`serving.forecast.factor_split`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.errors import InputError, StoreError
from crm.groups import TOTAL
from crm.known import closing_time
from crm.ledger import LedgerEntry
from serving.forecast.factor_split import Floats, shapley, whole_cents

Words = str | NDArray[np.str_]

#: The parts of a move, and what each holds.
PARTS: Final[dict[str, str]] = {
    "won": "deals that were won, against what was expected of them",
    "lost": "deals that were lost, or are gone from the CRM",
    "pushed_or_pulled": "deals now expected, or won, within the period more or less likely",
    "amount_changed": "open deals whose expected amount changed",
    "newly_created": "deals created since, and the change of what is expected of deals not yet created",
    "activity": "open deals whose chance to be won moved with what happened on them",
    "model_changed": "another model looks at the same deals",
    "corrected": "deals whose end was on record and was corrected: a counted sale's amount, date or outcome, "
    "a lost deal that is open again",
    "reassigned": "deals that moved from one group to another; nothing in total",
}
#: The factors of an open deal's part of a forecast, and the part that a change of each is.
_FACTORS: Final[dict[str, str]] = {
    "win_probability": "activity",
    "in_period": "pushed_or_pulled",
    "expected_amount": "amount_changed",
}
_BEFORE, _AFTER = "_before", "_after"
#: Cents by which a deal's part may differ from its factors' product by rounding alone.
_ROUNDING = 1.5
_DETAIL_DTYPES = {"group": "str", "deal_id": "str", "part": "str", "why": "str", "cents": "int64"}


@dataclass(frozen=True, eq=False)
class Moves:
    """Why a forecast moved.

    Parameters
    ----------
    before, after : LedgerEntry
    model_separable : bool
        Whether what the model changed is told apart. Where it is not, ``model_changed`` also holds what
        moved the chances and the timing of the deals that are still open, and of those not yet created.
    parts : DataFrame, shape (n_groups, 3 + n_parts)
        One row a group, ``total`` first: ``group``, ``before_cents``, one column a part of :data:`PARTS`,
        ``after_cents``. Each row adds up, and the groups to the total.
    deals : DataFrame, shape (n, 7)
        What each deal adds to which part of its group: ``group``, ``deal_id`` (missing for deals not yet
        created), ``part``, ``why``, ``cents``, and the deal's ``before_cents`` and ``after_cents``; the
        largest first.
    """

    before: LedgerEntry
    after: LedgerEntry
    model_separable: bool
    parts: pd.DataFrame
    deals: pd.DataFrame

    @property
    def difference_cents(self) -> int:
        """How far the mean of the total moved."""
        return int(self.after.total["mean_cents"] - self.before.total["mean_cents"])

    def part(self, name: str, group: str = TOTAL) -> int:
        """Give one part of one group, in cents."""
        return int(self.parts[name][self.parts["group"] == group].iloc[0])


def explain_move(
    before: LedgerEntry, after: LedgerEntry, deals: pd.DataFrame, bridge: LedgerEntry | None = None
) -> Moves:
    """Split the difference of the mean between two forecasts of one period, exactly, in whole cents.

    Parameters
    ----------
    before, after : LedgerEntry
        With their deals; of the same period, grouping, level and currency.
    deals : DataFrame, shape (n_deals, n_columns)
        Canonical deals as known at ``after.as_of`` (:func:`crm.known.known_at`).
    bridge : LedgerEntry, optional
        Where the two are of different models: what the old model forecasts as of ``after.as_of``.

    Returns
    -------
    Moves

    Raises
    ------
    InputError
        Where the entries do not answer the same question, or the bridge does not lie between them.
    StoreError
        Where an entry lacks deals, or they do not add up to its figures.
    """
    _check_comparable(before, after)
    same_model = before.model_version == after.model_version
    if bridge is not None:
        _check_bridge(before, after, bridge)
    separable = same_model or bridge is not None
    reached = after if bridge is None else bridge
    details = [*_between(before, reached, deals, separable=separable)]
    if bridge is not None:
        details += _by_model(bridge, after)
    detail = pd.concat(details, ignore_index=True)
    detail = detail[detail["cents"] != 0]
    groups = list(dict.fromkeys([*after.groups, *before.groups, *reached.groups]))
    parts = _sums(before, after, detail, groups)
    return Moves(before, after, separable, parts, _ranked(detail, before, after))


def _check_comparable(before: LedgerEntry, after: LedgerEntry) -> None:
    same: dict[str, list[Any]] = {
        "periods": [(e.period_start, e.period_end) for e in (before, after)],
        "groupings": [e.by or "none" for e in (before, after)],
        "levels": [e.level for e in (before, after)],
        "currencies": [e.currency or "none" for e in (before, after)],
    }
    for what, (one, other) in same.items():
        if one != other:
            shown = (before.period, after.period) if what == "periods" else (one, other)
            raise InputError(
                f"forecasts {before.entry_id[:12]} and {after.entry_id[:12]} have different {what}, "
                f"{shown[0]} and {shown[1]}: a move is explained between two of the same period, grouping, "
                "level and currency; vigie ledger list shows them"
            )
    if after.as_of < before.as_of:
        raise InputError(
            f"forecast {after.entry_id[:12]} is as of {after.as_of.isoformat()}, before "
            f"{before.entry_id[:12]} as of {before.as_of.isoformat()}; give the earlier one first"
        )


def _check_bridge(before: LedgerEntry, after: LedgerEntry, bridge: LedgerEntry) -> None:
    _check_comparable(before, bridge)
    if bridge.model_version != before.model_version or bridge.as_of != after.as_of:
        raise InputError(
            f"forecast {bridge.entry_id[:12]} is of model {bridge.model_version} as of "
            f"{bridge.as_of.isoformat()}; between these two a bridge is of model {before.model_version} "
            f"as of {after.as_of.isoformat()}"
        )


def _between(
    before: LedgerEntry, after: LedgerEntry, known: pd.DataFrame, *, separable: bool
) -> list[pd.DataFrame]:
    """Give what moved the forecast of one model, or of two where they cannot be told apart."""
    pairs = _pairs(before, after)
    moved = (pairs["group_before"] != pairs["group_after"]) & pairs["was"].ne("") & pairs["is"].ne("")
    here = pairs[moved]
    reassigned = [
        _detail(here["group_before"], here["deal_id"], "reassigned", "left the group", -here["cents_before"]),
        _detail(here["group_after"], here["deal_id"], "reassigned", "came to it", here["cents_before"]),
    ]
    still_open = (pairs["was"] == "open") & (pairs["is"] == "open")
    ends = _ends(pairs[~still_open], known, before, separable=separable)
    factors = _factors(pairs[still_open], separable=separable)
    part = "newly_created" if separable else "model_changed"
    return [*reassigned, ends, factors, _not_yet_created(before, after, part)]


def _by_model(bridge: LedgerEntry, after: LedgerEntry) -> list[pd.DataFrame]:
    """Give what another model says of the same deals at the same moment."""
    pairs = _pairs(bridge, after)
    parts = []
    for side, sign in ((_BEFORE, -1), (_AFTER, 1)):
        found = pairs[pairs["was" if side == _BEFORE else "is"] != ""]
        group, cents = found[f"group{side}"], sign * found[f"cents{side}"]
        parts.append(_detail(group, found["deal_id"], "model_changed", "another model", cents))
    each = pd.concat(parts).groupby(["group", "deal_id", "part", "why"], as_index=False, sort=False).sum()
    return [each[list(_DETAIL_DTYPES)], _not_yet_created(bridge, after, "model_changed")]


def _pairs(before: LedgerEntry, after: LedgerEntry) -> pd.DataFrame:
    """Give each deal of either entry as it was and is; ``was`` and ``is`` are empty where it is in none."""
    sides = []
    for entry, side in ((before, _BEFORE), (after, _AFTER)):
        found = entry.whole_deals().rename(columns={"mean_cents": "cents"})
        # Without groups every deal is the total's.
        found = found.assign(group=found["group"] if len(entry.rows) > 1 else TOTAL)
        kept = found[["deal_id", "group", "state", "cents", *_FACTORS]]
        sides.append(kept.rename(columns={name: name + side for name in kept.columns if name != "deal_id"}))
    pairs = sides[0].merge(sides[1], on="deal_id", how="outer", sort=True)
    for side in (_BEFORE, _AFTER):
        pairs[f"cents{side}"] = pairs[f"cents{side}"].astype("Int64").fillna(0).astype("int64")
    return pairs.assign(
        was=pairs["state_before"].fillna(""),
        **{"is": pairs["state_after"].fillna("")},
    )


def _ends(pairs: pd.DataFrame, known: pd.DataFrame, before: LedgerEntry, *, separable: bool) -> pd.DataFrame:
    """Say which part each deal is that came, went, or ended: the first line that is true of it."""
    crm = known.set_index("deal_id").reindex(pairs["deal_id"]).set_index(pairs.index)
    is_known = pairs["deal_id"].isin(known["deal_id"])
    was, now, outcome = pairs["was"], pairs["is"], crm["outcome"].fillna("")
    is_new = ~is_known | (crm["recorded_at"] >= before.as_of)
    had_ended = closing_time(crm) < before.as_of
    sold_at = crm["closed_at"].fillna(crm["closed_recorded_at"])
    in_period = (sold_at >= before.period_start) & (sold_at < before.period_end)
    absent = now == ""
    unexpected = "activity" if separable else "model_changed"
    table: list[tuple[pd.Series, str, str]] = [
        ((was == "won") & (now == "won"), "corrected", "the sale was corrected"),
        ((was == "won") & (now == "open"), "corrected", "the sale is open again"),
        (was == "won", "corrected", "the sale no longer counts"),
        ((was == "") & is_new & (now == "won"), "newly_created", "created and won"),
        ((was == "") & is_new, "newly_created", "created"),
        ((was == "") & (now == "open"), "corrected", "open again"),
        ((was == "") & had_ended, "corrected", "won earlier, counted only now"),
        (now == "won", "won", "won"),
        (absent & (~is_known | crm["gone_at"].notna()), "lost", "gone from the CRM"),
        (absent & (outcome == "lost"), "lost", "lost"),
        (absent & (outcome == "won") & ~in_period, "pushed_or_pulled", "won outside the period"),
        (absent & (outcome == "won"), "won", "won for nothing"),
        (absent & crm["amount"].isna(), "amount_changed", "no amount any more"),
        (absent, unexpected, "no longer expected"),
    ]
    met = [condition.to_numpy(bool) for condition, _, _ in table]
    part = np.select(met, [part for _, part, _ in table], "")
    why = np.select(met, [why for _, _, why in table], "")
    group = pairs["group_after"].where(now != "", pairs["group_before"])
    cents = pairs["cents_after"] - pairs["cents_before"]
    return _detail(group, pairs["deal_id"], part, why, cents)


def _factors(pairs: pd.DataFrame, *, separable: bool) -> pd.DataFrame:
    """Split the change of each deal that is still open among its three factors."""
    was, now = (_levelled(pairs, side) for side in (_BEFORE, _AFTER))
    change = (pairs["cents_after"] - pairs["cents_before"]).to_numpy("int64")
    cents = whole_cents(100.0 * shapley(was, now), change)
    words = ("the chance to be won moved", "the timing moved", "the amount changed")
    details = []
    for column, (part, why) in enumerate(zip(_FACTORS.values(), words, strict=True)):
        named = part if separable or part == "amount_changed" else "model_changed"
        details.append(_detail(pairs["group_after"], pairs["deal_id"], named, why, cents[:, column]))
    return pd.concat(details, ignore_index=True)


def _levelled(pairs: pd.DataFrame, side: str) -> Floats:
    """Give the factors of each deal such that their product is what the deal adds to the forecast.

    A forecast may count on a share of what its open deals are expected to bring, as past ones did at that
    distance from the end of the period; the share is a matter of timing.
    """
    factors: Floats = np.nan_to_num(pairs[[name + side for name in _FACTORS]].to_numpy("float64"))
    product = 100.0 * factors.prod(axis=1)
    cents = pairs[f"cents{side}"].to_numpy("float64")
    # Half a cent either way is rounding, and no share.
    has_level = (np.abs(cents - product) > _ROUNDING) & (product != 0)
    level = np.divide(cents, product, out=np.ones_like(cents), where=has_level)
    factors[:, list(_FACTORS).index("in_period")] *= level
    return factors


def _not_yet_created(before: LedgerEntry, after: LedgerEntry, part: str) -> pd.DataFrame:
    """Give how what is expected of deals not yet created moved, in each group."""
    was, now = (
        entry.rows.set_index("group")["new_cents"].iloc[0 if len(entry.rows) == 1 else 1 :]
        for entry in (before, after)
    )
    change = now.sub(was, fill_value=0).astype("int64")
    group = pd.Series(change.index, dtype="str")
    nobody = pd.Series([None] * len(group), dtype="str")
    return _detail(group, nobody, part, "not yet created", change.to_numpy())


def _detail(group: pd.Series, deal_id: pd.Series, part: Words, why: Words, cents: Any) -> pd.DataFrame:
    columns = {"group": group, "deal_id": deal_id, "part": part, "why": why, "cents": cents}
    plain = {
        name: values if isinstance(values, str) else np.asarray(values) for name, values in columns.items()
    }
    return pd.DataFrame(plain, index=range(len(group))).astype(_DETAIL_DTYPES)


def _sums(before: LedgerEntry, after: LedgerEntry, detail: pd.DataFrame, groups: list[str]) -> pd.DataFrame:
    sums = detail.pivot_table(index="group", columns="part", values="cents", aggfunc="sum", fill_value=0)
    sums = sums.reindex(index=groups, columns=list(PARTS), fill_value=0).astype("int64")
    sums.loc[TOTAL] = sums.sum()
    for name, entry in (("before_cents", before), ("after_cents", after)):
        mean = entry.rows.set_index("group")["mean_cents"]
        sums[name] = mean.reindex(groups, fill_value=0)
    table = sums.rename_axis(index="group", columns=None).reset_index()[
        ["group", "before_cents", *PARTS, "after_cents"]
    ]
    off = table["before_cents"] + table[list(PARTS)].sum(axis=1) != table["after_cents"]
    if off.any():
        raise StoreError(
            f"the deals of forecasts {before.entry_id[:12]} and {after.entry_id[:12]} do not add up to their "
            f"figures in group {table['group'][off].iloc[0]!r}: the ledger was altered; put back a copy"
        )
    return table


def _ranked(detail: pd.DataFrame, before: LedgerEntry, after: LedgerEntry) -> pd.DataFrame:
    for name, entry in (("before_cents", before), ("after_cents", after)):
        mean = entry.whole_deals().set_index("deal_id")["mean_cents"]
        detail = detail.assign(**{name: mean.reindex(detail["deal_id"], fill_value=0).to_numpy()})
    order = detail["cents"].abs().sort_values(ascending=False, kind="stable").index
    return detail.loc[order].reset_index(drop=True)
