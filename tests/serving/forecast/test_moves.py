"""Why a forecast moved: every cent of the difference has its part, whatever became of the deals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from crm.errors import InputError, StoreError
from crm.groups import TOTAL
from crm.history import utc
from crm.ledger import LedgerEntry
from crm.schema import TABLES
from crm.validation import validate
from serving.forecast.factor_split import shapley, whole_cents
from serving.forecast.moves import PARTS, Moves, explain_move

MONDAY, NEXT = utc("2026-09-07T00:00:00Z"), utc("2026-09-14T00:00:00Z")
START, END = utc("2026-09-01T00:00:00Z"), utc("2026-10-01T00:00:00Z")
LONG_AGO, BETWEEN = utc("2026-06-01T00:00:00Z"), utc("2026-09-10T00:00:00Z")
Cents = int


@dataclass(frozen=True)
class Part:
    """What a deal is in an entry: won for so much, or open with three factors."""

    group: str = "ann"
    state: str = "open"
    amount: float = 0.0
    chance: float = 1.0
    timing: float = 1.0
    level: float = 1.0

    @property
    def cents(self) -> Cents:
        """What it adds."""
        return round(100 * float(np.nan_to_num(self.amount)) * self.chance * self.timing * self.level)


def entry(deals: dict[str, Part], as_of: pd.Timestamp = MONDAY, **changes: Any) -> LedgerEntry:
    """Give an entry whose figures are the sums of these deals, and of what is new by group."""
    new: dict[str, int] = changes.pop("new", {})
    frame = pd.DataFrame(
        {
            "deal_id": list(deals),
            "group": [d.group for d in deals.values()],
            "owner_id": [d.group for d in deals.values()],
            "state": [d.state for d in deals.values()],
            "stage": None,
            "amount": [d.amount for d in deals.values()],
            "expected_amount": [d.amount for d in deals.values()],
            "win_probability": [d.chance for d in deals.values()],
            "in_period": [d.timing for d in deals.values()],
            "mean_cents": [d.cents for d in deals.values()],
        }
    ).astype({"deal_id": "str", "group": "str", "state": "str", "mean_cents": "int64"})
    groups = sorted({*frame["group"], *new})
    rows = pd.DataFrame({"group": groups}, dtype="str")
    for name, state in (("closed", "won"), ("open", "open")):
        sums = frame[frame["state"] == state].groupby("group")["mean_cents"].sum()
        rows[f"{name}_cents"] = sums.reindex(groups, fill_value=0).to_numpy()
    rows["new_cents"] = [new.get(group, 0) for group in groups]
    rows["mean_cents"] = rows[["closed_cents", "open_cents", "new_cents"]].sum(axis=1)
    rows = pd.concat([pd.DataFrame({"group": [TOTAL], **rows.iloc[:, 1:].sum().to_dict()}), rows])
    for name in ("median", "low", "high", "stage_weighted", "run_rate", "series", "quota", "commit"):
        rows[f"{name}_cents"] = 0
    if changes.get("by", "owner") is None:
        rows, frame = rows.iloc[:1], frame.assign(group=TOTAL)
    plain: dict[str, Any] = {
        "made_at": as_of,
        "as_of": as_of,
        "period_start": START,
        "period_end": END,
        "period": "2026-09",
        "by": "owner",
        "level": 0.8,
        "currency": "EUR",
        "model_version": "m1",
        "seed": 7,
        "rows": rows,
        "quantiles": np.zeros((len(rows), 99)),
        "deals": frame,
    }
    return LedgerEntry.of(**(plain | changes))


def crm(**records: dict[str, Any]) -> pd.DataFrame:
    """Give deals as the CRM knows them; each was recorded long ago and has an amount, unless it says else."""
    plain = {"recorded_at": LONG_AGO, "created_at": LONG_AGO, "amount": 100.0}
    rows = [{"deal_id": name, **plain, **record} for name, record in records.items()]
    columns = {"deal_id": [], "recorded_at": [], **dict.fromkeys(("outcome", "closed_at", "gone_at"))}
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns)
    return validate(TABLES["deals"], frame, "test")


WON = {"outcome": "won", "closed_at": BETWEEN}
LOST = {"outcome": "lost", "closed_at": BETWEEN}
NEW = {"recorded_at": BETWEEN, "created_at": BETWEEN}
HALF = Part(amount=100.0, chance=0.5, timing=0.5)
SALE = Part(state="won", amount=90.0)


@pytest.mark.parametrize(
    ("was", "now", "record", "part", "cents"),
    [
        (HALF, SALE, WON, "won", 6500),
        (HALF, None, LOST, "lost", -2500),
        (HALF, None, {"gone_at": BETWEEN}, "lost", -2500),
        (HALF, None, None, "lost", -2500),
        (HALF, None, {"outcome": "won", "closed_at": LONG_AGO}, "pushed_or_pulled", -2500),
        (HALF, None, {"outcome": "won", "closed_at": None}, "pushed_or_pulled", -2500),
        (HALF, None, WON, "won", -2500),
        (HALF, None, {"amount": None}, "amount_changed", -2500),
        (HALF, None, {}, "activity", -2500),
        (HALF, replace(HALF, timing=0.75), {}, "pushed_or_pulled", 1250),
        (HALF, replace(HALF, amount=50.0), {}, "amount_changed", -1250),
        (HALF, replace(HALF, amount=float("nan")), {}, "amount_changed", -2500),
        (HALF, replace(HALF, chance=0.0), {}, "activity", -2500),
        (None, HALF, NEW, "newly_created", 2500),
        (None, SALE, NEW | WON, "newly_created", 9000),
        (None, HALF, {}, "corrected", 2500),
        (None, SALE, WON, "won", 9000),
        (None, SALE, {"outcome": "won", "closed_at": START}, "corrected", 9000),
        (SALE, replace(SALE, amount=80.0), WON, "corrected", -1000),
        (SALE, HALF, {}, "corrected", -6500),
        (SALE, None, LOST, "corrected", -9000),
        (SALE, None, None, "corrected", -9000),
    ],
)
def test_each_fate_of_a_deal_has_its_part(
    was: Part | None, now: Part | None, record: dict[str, Any] | None, part: str, cents: int
) -> None:
    """What a deal was, what it is and what the CRM says of it decide the part that its difference is."""
    before = entry({} if was is None else {"D": was}, new={"ann": 0})
    after = entry({} if now is None else {"D": now}, NEXT, new={"ann": 0})
    moves = explain_move(before, after, crm(**({} if record is None else {"D": record})))
    assert moves.part(part) == moves.part(part, "ann") == moves.difference_cents == cents
    assert {name for name in PARTS if moves.part(name)} == {part}
    (detail,) = moves.deals.to_dict("records")
    assert (detail["deal_id"], detail["part"], detail["cents"]) == ("D", part, cents)
    assert detail["after_cents"] - detail["before_cents"] == cents


def test_an_open_deal_is_split_by_its_factors() -> None:
    """Chance, timing and amount that all moved share the change by their Shapley values."""
    before, after = Part(amount=100.0, chance=0.5, timing=0.2), Part(amount=160.0, chance=0.6, timing=0.5)
    moves = explain_move(entry({"D": before}), entry({"D": after}, NEXT), crm(D={}))
    # By hand, for the chance: 0.1 x (100 x 0.2 / 3 + 160 x 0.5 / 3 + (100 x 0.5 + 160 x 0.2) / 6).
    assert moves.part("activity") == 470
    assert moves.part("pushed_or_pulled") == 2160
    assert moves.part("amount_changed") == 1170
    assert moves.difference_cents == 4800 - 1000


def test_a_share_that_the_forecast_counts_on_is_timing() -> None:
    """Where past deals brought a share of what was expected, a change of that share is no activity."""
    counted = replace(HALF, level=0.8)
    moves = explain_move(entry({"D": HALF}), entry({"D": counted}, NEXT), crm(D={}))
    assert moves.part("pushed_or_pulled") == moves.difference_cents == -500
    likelier = explain_move(
        entry({"D": counted}), entry({"D": replace(counted, chance=0.75)}, NEXT), crm(D={})
    )
    assert likelier.part("activity") == likelier.difference_cents == 1000


def test_what_is_expected_of_deals_to_come_is_new() -> None:
    """The deals created since and the change of the rest to come are one part; the page tells them apart."""
    before = entry({}, new={"ann": 5000, "bob": 300})
    after = entry({"N": HALF}, NEXT, new={"ann": 2000})
    moves = explain_move(before, after, crm(N=NEW))
    assert moves.part("newly_created") == moves.difference_cents == 2500 - 3000 - 300
    assert moves.part("newly_created", "bob") == -300
    assert moves.deals["why"].tolist() == ["not yet created", "created", "not yet created"]
    assert moves.deals["deal_id"].isna().tolist() == [True, False, True]


def test_a_deal_that_changes_hands_moves_between_groups_only() -> None:
    """What it was worth leaves one and comes to the other; what else happened to it is the new one's."""
    after = entry({"D": replace(HALF, group="bob", chance=1.0)}, NEXT)
    moves = explain_move(entry({"D": HALF}), after, crm(D={}))
    assert [moves.part("reassigned", group) for group in (TOTAL, "ann", "bob")] == [0, -2500, 2500]
    assert [moves.part("activity", group) for group in (TOTAL, "ann", "bob")] == [2500, 0, 2500]


def test_a_bridge_tells_the_model_apart() -> None:
    """Between the old model then and now lies what happened; between old and new now, the model."""
    before = entry({"D": HALF, "L": HALF}, new={"ann": 1000})
    bridge = entry({"D": replace(HALF, chance=0.6)}, NEXT, new={"ann": 900})
    after = entry({"D": replace(HALF, chance=0.8)}, NEXT, new={"ann": 1200}, model_version="m2")
    moves = explain_move(before, after, crm(D={}, L=LOST), bridge)
    assert moves.model_separable
    assert (moves.part("activity"), moves.part("lost"), moves.part("newly_created")) == (500, -2500, -100)
    assert moves.part("model_changed") == 1000 + 300


def test_without_a_bridge_it_says_that_the_model_is_not_told_apart() -> None:
    """Chance, timing and deals to come are the model's then; a lost deal and an amount are still facts."""
    before = entry({"D": HALF, "L": HALF, "A": HALF}, new={"ann": 1000})
    now = {"D": replace(HALF, chance=0.8, timing=0.4), "A": replace(HALF, amount=200.0)}
    after = entry(now, NEXT, new={"ann": 1200}, model_version="m2")
    moves = explain_move(before, after, crm(D={}, L=LOST, A={}))
    assert not moves.model_separable
    assert moves.part("model_changed") == (3200 - 2500) + 200
    assert (moves.part("lost"), moves.part("amount_changed")) == (-2500, 2500)
    assert all(moves.part(name) == 0 for name in ("activity", "pushed_or_pulled", "newly_created"))


def test_forecasts_without_groups_are_explained_in_total() -> None:
    """Where there is only the total, it has the parts."""
    moves = explain_move(entry({"D": HALF}, by=None), entry({"D": SALE}, NEXT, by=None), crm(D=WON))
    assert moves.parts["group"].tolist() == [TOTAL]
    assert moves.part("won") == moves.difference_cents == 6500


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"currency": "USD"}, "different currencies, EUR and USD"),
        ({"level": 0.9}, "different levels, 0.8 and 0.9"),
        ({"by": "team"}, "different groupings, owner and team"),
        ({"period_end": NEXT, "period": "2026-W37"}, "different periods, 2026-09 and 2026-W37"),
        ({"as_of": START}, "give the earlier one first"),
    ],
)
def test_two_questions_are_not_compared(change: dict[str, Any], says: str) -> None:
    """Entries of another period, grouping, level or currency, or in the wrong order, are refused."""
    with pytest.raises(InputError, match=says):
        explain_move(entry({"D": HALF}), entry({"D": HALF}, **({"as_of": NEXT} | change)), crm(D={}))


def test_a_bridge_that_lies_elsewhere_is_refused() -> None:
    """It must be of the old model and as of the later moment."""
    before, after = entry({"D": HALF}), entry({"D": HALF}, NEXT, model_version="m2")
    for bridge in (before, after, entry({"D": HALF}, NEXT, currency="USD")):
        with pytest.raises(InputError, match=r"a bridge is of model m1|different currencies"):
            explain_move(before, after, crm(D={}), bridge)


def test_an_entry_without_all_its_deals_explains_nothing() -> None:
    """Deals that were not read, were removed, or were altered are an error, not a part of the move."""
    before, after = entry({"D": HALF, "E": HALF}), entry({"D": HALF}, NEXT)
    known = crm(D={}, E=LOST)
    behind = before.whole_deals()
    with pytest.raises(StoreError, match="read without its deals"):
        explain_move(replace(before, deals=None), after, known)
    with pytest.raises(StoreError, match="kept with 2 deals, but the ledger holds 1"):
        explain_move(replace(before, deals=behind.iloc[:1]), after, known)
    altered = behind.assign(mean_cents=behind["mean_cents"] + 1)
    with pytest.raises(StoreError, match="do not add up to their figures in group 'total': the ledger was"):
        explain_move(replace(before, deals=altered), after, known)


def test_cents_are_shared_by_the_largest_remainder() -> None:
    """Rounding gives each row exactly its sum; what is more than rounding goes to the first part."""
    parts = np.array([[0.4, 0.4, 0.2], [-0.5, 0.25, 0.25], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    found = whole_cents(parts, np.array([1, 0, 6, -7]))
    assert found.tolist() == [[1, 0, 0], [0, 0, 0], [1, 2, 3], [-7, 0, 0]]


@given(st.lists(st.tuples(*[st.floats(0, 1e6)] * 6), min_size=1, max_size=5))
def test_the_split_is_exact_and_depends_on_no_order(values: list[tuple[float, ...]]) -> None:
    """The three parts add up to the change of the product, and follow their factors wherever they stand."""
    both = np.array(values)
    was, now = both[:, :3], both[:, 3:]
    parts = shapley(was, now)
    change = now.prod(axis=1) - was.prod(axis=1)
    scale = 1e-9 * (now.max(axis=1) + was.max(axis=1) + 1) ** 3
    assert (np.abs(parts.sum(axis=1) - change) <= scale).all()
    turned = shapley(was[:, [2, 0, 1]], now[:, [2, 0, 1]])
    np.testing.assert_allclose(turned, parts[:, [2, 0, 1]], atol=scale.max())


PARTS_OF_DEALS = st.none() | st.builds(
    Part,
    group=st.sampled_from(["ann", "bob", "cy"]),
    state=st.sampled_from(["won", "open"]),
    amount=st.sampled_from([0.0, 0.01, 99.99, float("nan"), -5.0, 1e12]) | st.floats(0, 1e6),
    chance=st.sampled_from([0.0, 1.0]) | st.floats(0, 1),
    timing=st.sampled_from([0.0, 1.0]) | st.floats(0, 1),
    level=st.sampled_from([0.0, 0.7, 1.0, 1.4]),
)
RECORDS = st.none() | st.builds(
    lambda made, outcome, closed_at, gone_at, amount: {
        "recorded_at": made,
        "created_at": made,
        "outcome": outcome,
        "closed_at": None if outcome is None else closed_at,
        "gone_at": gone_at,
        "amount": amount,
    },
    st.sampled_from([LONG_AGO, BETWEEN]),
    st.sampled_from([None, "won", "lost"]),
    st.sampled_from([None, BETWEEN, NEXT]),
    st.sampled_from([None, NEXT]),
    st.sampled_from([None, 100.0]),
)
NEWS = st.dictionaries(st.sampled_from(["ann", "bob", "dee"]), st.integers(0, 10**9))


def check(moves: Moves, before: LedgerEntry, after: LedgerEntry) -> None:
    """Hold what must be true of every explanation."""
    parts = moves.parts.set_index("group")
    for group in parts.index:
        was, now = (e.rows.set_index("group")["mean_cents"].get(group, 0) for e in (before, after))
        assert parts.loc[group, list(PARTS)].sum() == now - was
    groups = [group for group in parts.index if group != TOTAL]
    if groups:
        assert (parts.loc[groups, list(PARTS)].sum() == parts.loc[TOTAL, list(PARTS)]).all()
        assert parts.loc[TOTAL, "reassigned"] == 0
    detail = moves.deals
    assert (detail.groupby("part")["cents"].sum().reindex(list(PARTS), fill_value=0)
            == parts.loc[TOTAL, list(PARTS)]).all()  # fmt: skip
    by_deal = detail.dropna(subset=["deal_id"]).groupby("deal_id")
    change = by_deal["after_cents"].first() - by_deal["before_cents"].first()
    assert (by_deal["cents"].sum() == change).all()
    both = before.whole_deals().merge(after.whole_deals(), on="deal_id", how="outer")
    moved = both["mean_cents_x"].fillna(0) - both["mean_cents_y"].fillna(0)
    assert -moved.sum() == change.sum()


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.lists(st.tuples(PARTS_OF_DEALS, PARTS_OF_DEALS, PARTS_OF_DEALS, RECORDS), max_size=6),
    NEWS,
    NEWS,
    st.sampled_from(["same model", "bridge", "no bridge"]),
    st.sampled_from(["owner", None]),
)
def test_the_parts_always_add_up(
    fates: list[tuple[Part | None, Part | None, Part | None, dict[str, Any] | None]],
    new_before: dict[str, int],
    new_after: dict[str, int],
    case: str,
    by: str | None,
) -> None:
    """Won, lost, reopened, gone, appearing, vanishing, without amount or chance: no cent is left over."""
    names = [f"D{number}" for number in range(len(fates))]

    def of(column: int) -> dict[str, Part]:
        return {name: fate[column] for name, fate in zip(names, fates, strict=True) if fate[column]}  # type: ignore[misc]

    known = crm(**{name: fate[3] for name, fate in zip(names, fates, strict=True) if fate[3] is not None})
    before = entry(of(0), new=new_before, by=by)
    model = "m1" if case == "same model" else "m2"
    after = entry(of(1), NEXT, new=new_after, by=by, model_version=model)
    bridge = entry(of(2), NEXT, new=new_before, by=by) if case == "bridge" else None
    moves = explain_move(before, after, known, bridge)
    assert moves.model_separable == (case != "no bridge")
    if case == "same model":
        assert moves.part("model_changed") == 0
    check(moves, before, after)


def test_nothing_happened_is_no_move() -> None:
    """The same deals a week later have no part and no detail."""
    deals = {"D": HALF, "S": SALE}
    moves = explain_move(entry(deals), entry(deals, NEXT), crm(D={}, S=WON))
    assert moves.deals.empty
    assert moves.difference_cents == 0
    assert (moves.parts[list(PARTS)] == 0).all(axis=None)
