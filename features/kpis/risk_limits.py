"""What won deals were like, learned once, and one deal held against it, without the rest of the history.

:func:`features.kpis.risk.deals_at_risk` compares all open deals of a history with its won ones at a moment.
Here the won deals' side is learned as of when a model is trained, so that a single deal, sent or stored,
gets the same flags within microseconds. The two are tested to agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from crm.groups import NOBODY
from crm.history import History, utc
from crm.known import known_at
from crm.moments import DAY, MISSING, in_micros, read_moment
from features.kpis.deal_trails import deal_trails
from features.kpis.risk_comparisons import FEWEST_PUSHES, ONE, TWO, sign_of_life, won_limits
from features.kpis.risk_rules import RiskRules

Row = Mapping[str, Any]
#: Of one stage: won deals, and their limit.
Limits = Mapping[str, tuple[int, float]]
#: Of one stage: won deals, the share of them that had it, and the days that half of them stayed.
Shares = Mapping[str, tuple[int, float, float]]


@dataclass(frozen=True)
class RiskLimits:
    """What the deals that were won were like, stage by stage; plain JSON.

    Parameters
    ----------
    quantile : float
    fewest_won : int
    usual : float
        Of the rules, see :class:`~features.kpis.risk_rules.RiskRules`.
    n_won, went_back : int
        Won deals, and those of them that ever went back a stage.
    stage_order : tuple of str
    follows_stages : bool
        Whether the history tells stages by their changes.
    keeps_dates : bool
        Whether a close date was ever put off.
    silence, contact : str
        What was read, see :func:`~features.kpis.risk.risk_limits`.
    silent, pushed : mapping
        By stage: won deals, and their limit.
    contacts, answers : mapping
        By stage: won deals, the share that had it, and the days that half of them stayed.
    """

    quantile: float
    fewest_won: int
    usual: float
    n_won: int
    went_back: int
    stage_order: tuple[str, ...]
    follows_stages: bool
    keeps_dates: bool
    silence: str
    contact: str
    silent: Limits
    pushed: Limits
    contacts: Shares
    answers: Shares

    def to_json_dict(self) -> dict[str, Any]:
        """Give the limits as JSON values; :meth:`from_json_dict` gives them back."""
        return asdict(self)

    @classmethod
    def from_json_dict(cls, data: Mapping[str, Any]) -> RiskLimits:
        """Read limits back; KeyError or TypeError where it holds none."""
        tables = {
            name: {str(stage): tuple(found) for stage, found in data[name].items()}
            for name in ("silent", "pushed", "contacts", "answers")
        }
        return cls(**{**data, **tables, "stage_order": tuple(data["stage_order"])})


def learn_risk_limits(history: History, as_of: datetime, rules: RiskRules | None = None) -> RiskLimits:
    """Learn what the won deals of a history were like.

    Parameters
    ----------
    history : History
    as_of : datetime
        With a zone; only what was known before counts.
    rules : RiskRules, optional
    """
    rules = rules or RiskRules()
    moment = utc(as_of)
    known = known_at(history, moment)
    trails = deal_trails(known, moment)
    won = trails.of_state("won")
    found = won_limits(trails, rules)
    contact = next(
        (
            basis
            for basis in ("lead_id", "user_id")
            if _any_claimed(found["single_contact", basis].itertuples(index=False), rules)
        ),
        "user_id",
    )
    silence = sign_of_life(trails)
    place = {stage: order for order, stage in enumerate(trails.stage_order)}
    visits = trails.visits.assign(place=trails.visits["stage"].map(place))
    before = visits["place"] < visits.groupby("deal_id")["place"].cummax()
    of_stages = (known.changes["entity"] == "deal") & (known.changes["field"] == "stage")
    return RiskLimits(
        quantile=rules.quantile,
        fewest_won=rules.fewest_won,
        usual=rules.usual,
        n_won=len(won),
        went_back=int(visits.loc[before & visits["deal_id"].isin(won), "deal_id"].nunique()),
        stage_order=trails.stage_order,
        follows_stages=bool(of_stages.any()),
        keeps_dates=bool(len(trails.pushes)),
        silence=silence,
        contact=contact,
        silent=_plain(found["silent", silence]),
        pushed=_plain(found["pushed", ""]),
        contacts=_plain(found["single_contact", contact]),
        answers=_plain(found["one_sided", "direction"]),
    )


def _any_claimed(rows: Iterator[Any], rules: RiskRules) -> bool:
    return any(row.n_won >= rules.fewest_won and row.share >= rules.usual for row in rows)


def _plain(limits: Any) -> dict[str, Any]:
    return {str(stage): (int(row[0]), *map(float, row[1:])) for stage, *row in limits.itertuples()}


def signs_of(
    limits: RiskLimits | None,
    deal: Row,
    activities: Sequence[Row],
    changes: Sequence[Row],
    others: Mapping[str, Sequence[Row]],
    as_of: int,
) -> list[dict[str, Any]]:
    """Find the signs that an open deal is at risk, the most telling first.

    Parameters
    ----------
    limits : RiskLimits or None
        Without them, only a close date that is past is told.
    deal : mapping
        Its row; moments as datetimes or microseconds.
    activities, changes : sequence of mapping
        Its own.
    others : mapping of str to sequence of mapping
        ``activities`` of its lead.
    as_of : int
        Microseconds since 1970.

    Returns
    -------
    list of dict
        As :func:`features.kpis.risk_words.evidence` reads them.
    """
    trail = _Trail(deal, activities, changes, others.get("activities", ()), as_of, limits)
    rows = [trail.silent(limits), trail.past_date(), trail.pushed(limits), trail.backwards(limits)]
    rows += [trail.single_contact(limits), trail.one_sided(limits)]
    return [row for row in rows if row is not None]


class _Trail:
    """One open deal's way until a moment, as :class:`~features.kpis.deal_trails.Trails` follows all."""

    def __init__(
        self,
        deal: Row,
        activities: Sequence[Row],
        changes: Sequence[Row],
        of_lead: Sequence[Row],
        as_of: int,
        limits: RiskLimits | None,
    ) -> None:
        self._deal, self._as_of = deal, as_of
        created = in_micros(deal.get("created_at"))
        self._born = in_micros(deal.get("recorded_at")) if created == MISSING else created
        dated = [
            (max(changed := in_micros(c["changed_at"]), in_micros(c["recorded_at"])), changed, c)
            for c in changes
        ]
        dated.sort(key=lambda one: one[:2])
        self._all = [(at, row) for at, _, row in dated]
        self._known = [(at, row) for at, row in self._all if at < as_of]
        self._visits = self._stays(limits)
        self._stage = self._visits[-1][0]
        lead = self._value("lead_id")
        rows = [*activities, *(row for row in of_lead if lead is not None and row.get("lead_id") == lead)]
        self._lead = lead
        self._acts = [
            (at, row)
            for row in rows
            if (row.get("status") or "done") == "done" and (at := _known_at(row, "occurred_at")) < as_of
        ]

    def _value(self, field: str) -> Any:
        """Give a field as it was known."""
        before = [row for _, row in self._known if row["field"] == field]
        if before:
            return before[-1].get("new_value")
        later = [row for _, row in self._all if row["field"] == field]
        return later[0].get("old_value") if later else self._deal.get(field)

    def _stays(self, limits: RiskLimits | None) -> list[tuple[str, int, int]]:
        """Give the stages, when each was entered, and when it was left."""
        moves = [(at, row) for at, row in self._known if row["field"] == "stage"]
        follows = limits is not None and (limits.follows_stages or bool(moves))
        opening = moves[0][1].get("old_value") if moves else self._value("stage") if follows else None
        entered = [(opening or NOBODY, self._born)]
        entered += [(row.get("new_value") or NOBODY, max(at, self._born)) for at, row in moves]
        left = [at for _, at in entered[1:]] + [self._as_of]
        last = len(entered) - 1
        return [
            (stage, at, until)
            for place, ((stage, at), until) in enumerate(zip(entered, left, strict=True))
            if until > at or place == last
        ]

    @property
    def _days(self) -> float:
        return sum(left - entered for stage, entered, left in self._visits if stage == self._stage) / DAY

    def _pushes(self) -> list[float]:
        """Give the days of each time that the expected close date was put off."""
        moved = [
            _moment(row.get("new_value")) - _moment(row.get("old_value"))
            for _, row in self._known
            if row["field"] == "expected_close_at"
        ]
        return [step / DAY for step in moved if step > 0]

    def _sign(self, flag: str, measure: float, limit: float, n_won: int, **more: Any) -> dict[str, Any]:
        return {
            "flag": flag,
            "stage": self._stage,
            "measure": measure,
            "limit": limit,
            "n_won": n_won,
            "basis": "",
            "extra": math.nan,
            **more,
        }

    def silent(self, limits: RiskLimits | None) -> dict[str, Any] | None:
        if limits is None:
            return None
        n_won, limit = limits.silent.get(self._stage, (0, math.nan))
        signs = [at for at, row in self._acts if limits.silence == "any" or row.get("direction") == "in"]
        if limits.silence == "change":
            signs = []
        if limits.silence != "in":
            signs += [at for at, _ in self._known]
        silence = (self._as_of - max([self._born, *signs])) / DAY
        if n_won < limits.fewest_won or not silence > max(limit, 0.0):
            return None
        return self._sign("silent", silence, limit, n_won, basis=limits.silence)

    def past_date(self) -> dict[str, Any] | None:
        value = self._value("expected_close_at")
        moment = _moment(value) if isinstance(value, str) else float(in_micros(value))
        if math.isnan(moment) or moment == MISSING:
            return None
        days = math.floor((self._as_of - moment) / DAY)
        if days < 1:
            return None
        day = datetime.fromtimestamp(moment / 1_000_000, UTC)
        return self._sign("past_date", float(days), 0.0, 0, extra=float(len(self._pushes())), moment=day)

    def pushed(self, limits: RiskLimits | None) -> dict[str, Any] | None:
        if limits is None or not limits.keeps_dates:
            return None
        n_won, limit = limits.pushed.get(self._stage, (0, math.nan))
        limit = max(limit, FEWEST_PUSHES - 1.0)
        pushes = self._pushes()
        if n_won < limits.fewest_won or not len(pushes) > limit:
            return None
        return self._sign("pushed", float(len(pushes)), limit, n_won, extra=sum(pushes))

    def backwards(self, limits: RiskLimits | None) -> dict[str, Any] | None:
        if limits is None:
            return None
        order = {stage: place for place, stage in enumerate(limits.stage_order)}
        reached = [order[stage] for stage, _, _ in self._visits if stage in order]
        if self._stage not in order or order[self._stage] >= max(reached):
            return None
        return self._sign(
            "backwards",
            float(max(reached) - order[self._stage]),
            0.0,
            limits.n_won,
            extra=float(limits.went_back),
            furthest=limits.stage_order[max(reached)],
            moment=datetime.fromtimestamp(self._visits[-1][1] / 1_000_000, UTC),
        )

    def single_contact(self, limits: RiskLimits | None) -> dict[str, Any] | None:
        if limits is None:
            return None
        people = {row[limits.contact] for _, row in self._acts if row.get(limits.contact) is not None}
        if limits.contact == "lead_id" and self._lead is not None:
            people.add(self._lead)
        return (
            self._lacking("single_contact", limits.contact, limits, limits.contacts, len(people), TWO)
            if people
            else None
        )

    def one_sided(self, limits: RiskLimits | None) -> dict[str, Any] | None:
        said = sum(row.get("direction") == "out" for _, row in self._acts)
        if limits is None or said == 0:
            return None
        heard = sum(row.get("direction") == "in" for _, row in self._acts)
        found = self._lacking("one_sided", "direction", limits, limits.answers, heard, ONE)
        return None if found is None else {**found, "extra": float(said)}

    def _lacking(
        self, flag: str, basis: str, limits: RiskLimits, shares: Shares, there: int, needed: int
    ) -> dict[str, Any] | None:
        n_won, share, ripe = shares.get(self._stage, (0, 0.0, math.nan))
        claimed = n_won >= limits.fewest_won and share >= limits.usual
        if not claimed or there >= needed or not self._days >= ripe:
            return None
        return self._sign(flag, float(there), float(needed), n_won, basis=basis, share=share)


def _known_at(row: Row, happened: str) -> int:
    return max(in_micros(row[happened]), in_micros(row["recorded_at"]))


def _moment(text: str | None) -> float:
    return math.nan if text is None else read_moment(text)
