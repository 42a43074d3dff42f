"""What KPIs are measured on: the history as it was known, prepared once for every KPI and period."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.errors import InputError
from crm.groups import TOTAL, can_group, group_of
from crm.history import History, empty_frame, utc
from crm.known import closing_time, known_at, known_time
from crm.money import Rates, in_currency
from crm.periods import Period
from crm.schema import ACTIVITIES, DEALS, LEADS, TABLES, Table
from features.kpis.answers import hours_to_answer
from features.kpis.stays import stage_stays

Found = TypeVar("Found")

#: The column of leads and deals that holds the group that was asked for, where they have it.
GROUP = "_group"
#: The fact of a history that says what a lead's outcome is, where its mapping does.
_LEAD_OUTCOME = "lead_outcome"


@dataclass(frozen=True)
class KpiSettings:
    """What a team may define its own way.

    Parameters
    ----------
    answer_hours : float
        Within how many hours a lead should be answered.
    reply_days : float
        Within how many days an action of the prospect counts as a reply to ours.
    qualified_stages : tuple of str
        The stages of a lead that count as qualified; empty for those whose name says so.
    inactive_days : float
        How long after an order an account still is a customer, where there are no subscriptions.
    """

    answer_hours: float = 24.0
    reply_days: float = 7.0
    qualified_stages: tuple[str, ...] = ()
    inactive_days: float = 365.0

    def __post_init__(self) -> None:
        for name in ("answer_hours", "reply_days", "inactive_days"):
            if not 0 < getattr(self, name) < 10_000:
                raise InputError(
                    f"{name} = {getattr(self, name)} is no length of time: give a number above 0"
                )


@dataclass(frozen=True)
class Evidence:
    """The history as it was known at a moment, and how its records are grouped and valued.

    Make it with :func:`gather`. Everything in it was known strictly before ``as_of``.

    Parameters
    ----------
    records : History
        Every table but the activities, which are many: see :attr:`history` and
        :meth:`activities_where`.
    as_of : Timestamp
    by : str, optional
        The group, as :func:`crm.groups.group_of` names it.
    rates : Rates
    zone : str
        The time zone in which months begin.
    currency : str
        What money is in; empty where the history does not say.
    settings : KpiSettings
    every_activity : DataFrame
        Of the whole history, not yet cut at ``as_of``.
    other_groups : tuple of str
        Groups to name beside those of the records.
    """

    records: History
    as_of: pd.Timestamp
    by: str | None
    rates: Rates
    zone: str
    currency: str
    settings: KpiSettings
    every_activity: pd.DataFrame = field(repr=False)
    other_groups: tuple[str, ...] = ()

    @cached_property
    def leads(self) -> pd.DataFrame:
        """Leads known, with :data:`GROUP` and ``converted``: whether each became a purchase, as far as known.

        A lead is converted when a deal linked to it is won; or, where the mapping says so or no deal is
        linked to any lead, when the CRM records it as won.
        """
        leads = self._grouped(self.records.leads, LEADS)
        return leads.assign(converted=converted(self.records).array)

    @cached_property
    def deals(self) -> pd.DataFrame:
        """Deals known, with :data:`GROUP`."""
        return self._grouped(self.records.deals, DEALS)

    @cached_property
    def answer_hours(self) -> pd.Series:
        """Hours to the first answer of each lead: see :func:`features.kpis.answers.hours_to_answer`."""
        return hours_to_answer(self.records, self.every_activity, self.lead_of_activity, self.is_known)

    @cached_property
    def lead_of_activity(self) -> npt.NDArray[np.intp]:
        """Place in the leads of each of ``every_activity``; -1 for none."""
        return _places(self.records.leads["lead_id"], self.every_activity["lead_id"])

    @cached_property
    def deal_of_activity(self) -> npt.NDArray[np.intp]:
        """Place in the deals of each of ``every_activity``; -1 for none."""
        return _places(self.records.deals["deal_id"], self.every_activity["deal_id"])

    @cached_property
    def lead_stays(self) -> pd.DataFrame:
        """Every stay of a lead in a stage: see :func:`features.kpis.stays.stage_stays`."""
        return stage_stays(self.records, "lead")

    @cached_property
    def deal_stays(self) -> pd.DataFrame:
        """Every stay of a deal in a stage."""
        return stage_stays(self.records, "deal")

    @cached_property
    def history(self) -> History:
        """The whole history as it was known, with its activities."""
        return replace(self.records, activities=self.every_activity[self.is_known].reset_index(drop=True))

    @cached_property
    def is_known(self) -> pd.Series:
        """Which rows of ``every_activity`` were known."""
        return known_time(ACTIVITIES, self.every_activity) < self.as_of

    def activities_where(self, rows: pd.Series, columns: Iterable[str] | None = None) -> pd.DataFrame:
        """Give the known activities among these rows of ``every_activity``, with these columns."""
        return self.every_activity.loc[
            rows & self.is_known, slice(None) if columns is None else list(columns)
        ]

    def can_group(self, records: pd.DataFrame) -> bool:
        """Say whether these records have the group that was asked for."""
        return self.by is not None and (GROUP in records.columns or can_group(self.records, records, self.by))

    def group(self, records: pd.DataFrame) -> pd.Series:
        """Give the group of each record; the total's where none was asked for, or these records have none."""
        if self.by is None or not self.can_group(records):
            return pd.Series(TOTAL, index=records.index, dtype="str")
        return records[GROUP] if GROUP in records.columns else group_of(self.records, records, self.by)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Every group that a lead or a deal belongs to, in order; the rows of every KPI name each."""
        found = set(self.other_groups)
        for records in (self.leads, self.deals):
            if GROUP in records.columns:
                found |= set(records[GROUP].unique())
        return tuple(sorted(found))

    def _grouped(self, records: pd.DataFrame, table: Table) -> pd.DataFrame:
        """Give the canonical columns of leads or deals, with the group where they have it."""
        narrow = records[list(table.names)].reset_index(drop=True)
        return narrow.assign(**{GROUP: self.group(records).array}) if self.can_group(records) else narrow

    def in_currency(self, amounts: pd.Series, currencies: pd.Series, moments: pd.Series) -> pd.Series:
        """Give amounts in the reporting currency, at each moment's rate; without one, at the last known."""
        # What is known strictly before the first moment of a month is valued at the month before.
        last = self.as_of - pd.Timedelta(microseconds=1)
        return in_currency(amounts, currencies, moments.fillna(last), self.rates, self.zone)

    def open_deals_at(self, moment: pd.Timestamp) -> Evidence:
        """Give the evidence on the deals open at an earlier moment: what was known of them, as it held then.

        It holds no other deals, and nothing but their accounts, leads and owners beside them; the stages of
        leads are not rolled back. To roll back what is not asked for would take as long as all the rest.
        """
        if moment >= self.as_of:
            return self
        return self.once(("open deals", moment), lambda: self._open_deals_at(moment))

    def _open_deals_at(self, moment: pd.Timestamp) -> Evidence:
        deals, changes = self.records.deals, self.records.changes
        ended = closing_time(deals).where(deals["outcome"].notna(), deals["gone_at"])
        timeless = deals["outcome"].notna() & ended.isna()
        deals = deals[~(ended < moment) & ~timeless].reset_index(drop=True)
        of_deal = (changes["entity"] == "deal").to_numpy(dtype=bool, copy=True)
        of_deal[of_deal] = _places(deals["deal_id"], changes.loc[of_deal, "record_id"]) >= 0
        others = (changes["entity"] != "deal") & (changes["field"] != "stage")
        kept = {
            "users": self.records.users,
            "accounts": self.records.accounts,
            "leads": self.records.leads,
            "deals": deals,
            "changes": changes[of_deal | others].reset_index(drop=True),
        }
        known = known_at(History.of(kept, self.records.facts), moment)
        return replace(self, records=known, as_of=moment, other_groups=self.groups)

    def once(self, key: Hashable, make: Callable[[], Found]) -> Found:
        """Give what ``make`` gives, made the first time and kept for KPIs that need the same."""
        if key not in self._kept:
            self._kept[key] = make()
        found: Found = self._kept[key]
        return found

    @cached_property
    def _kept(self) -> dict[Hashable, Any]:
        return {}


def gather(
    history: History,
    as_of: pd.Timestamp,
    *,
    by: str | None = None,
    rates: Rates | None = None,
    zone: str = "UTC",
    settings: KpiSettings | None = None,
    tables: Iterable[str] | None = None,
) -> Evidence:
    """Prepare what KPIs are measured on.

    Parameters
    ----------
    history : History
    as_of : Timestamp
        With a time zone; nothing recorded at or after it is left.
    by : str, optional
        The group of :func:`crm.groups.group_of`.
    rates : Rates, optional
        Needed where amounts are in several currencies.
    zone : str
        The IANA time zone in which months begin.
    settings : KpiSettings, optional
    tables : iterable of str, optional
        The tables needed; all by default. Leads, deals, accounts, users, changes and targets always are.

    Raises
    ------
    InputError
        Where no record has such a group.
    """
    moment = utc(as_of)
    needed = set(TABLES) if tables is None else set(tables)
    needed |= {"leads", "deals", "accounts", "users", "changes", "targets"}
    spared = {"activities", *(set(TABLES) - needed)}
    kept = {
        name: empty_frame(TABLES[name]) if name in spared else frame
        for name, frame in history.frames().items()
    }
    rates = rates or Rates.none()
    records = known_at(History.of(kept, history.facts), moment)
    every = history.activities if "activities" in needed else empty_frame(ACTIVITIES)
    evidence = Evidence(
        records=records,
        as_of=moment,
        by=by,
        rates=rates,
        zone=zone,
        currency=rates.currency or _only_currency(records),
        settings=settings or KpiSettings(),
        every_activity=every,
    )
    if by is not None and not any(evidence.can_group(frame) for frame in history.frames().values()):
        group_of(records, records.deals, by)  # raises, and lists what there is
    return evidence


def converted(records: History) -> pd.Series:
    """Say of each lead whether it became a purchase, as far as the history knows.

    Returns
    -------
    Series of bool, shape (n_leads,)
    """
    linked = records.deals["lead_id"]
    asked = records.facts.get(_LEAD_OUTCOME, "deals" if linked.notna().any() else "leads")
    if asked == "deals":
        return linked_leads(records, linked[records.deals["outcome"] == "won"])
    return (records.leads["outcome"] == "won").fillna(False).astype(bool)


def linked_leads(records: History, lead_ids: pd.Series) -> pd.Series:
    """Say of each lead whether it is among these, some of which may be missing.

    Returns
    -------
    Series of bool, shape (n_leads,)
    """
    places = _places(records.leads["lead_id"], lead_ids.dropna())
    found = np.zeros(len(records.leads), dtype=bool)
    found[places[places >= 0]] = True
    return pd.Series(found, index=records.leads.index)


def within(moments: pd.Series, period: Period) -> pd.Series:
    """Say which moments lie in a period; a missing one lies in none."""
    return (moments >= period.start) & (moments < period.end)


def _places(ids: pd.Series, asked: pd.Series) -> npt.NDArray[np.intp]:
    found: npt.NDArray[np.intp] = pd.Index(ids).get_indexer(pd.Index(asked))
    return found


def _only_currency(records: History) -> str:
    """Give the one currency that the history names; empty where it names none, or several."""
    tables = (records.deals, records.orders, records.subscriptions)
    named = pd.concat([frame["currency"].dropna().drop_duplicates() for frame in tables])
    names = {str(name).strip().upper() for name in named} - {""}
    return names.pop() if len(names) == 1 else ""
