"""Which features the catalogue would offer if the export had which column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from crm.history import History
from features import FeatureSpec, Kind, Levels, learn_spec
from features.catalogue import Feature, features_of
from training.doctor.holdings import TableFacts

#: A column filled less than this counts as lacking.
_FILLED = 0.5
_EXAMPLES = 3

Lacks = Callable[[FeatureSpec], bool]
Enrich = Callable[[FeatureSpec], FeatureSpec]


@dataclass(frozen=True)
class Wish:
    """One thing that the export lacks.

    Parameters
    ----------
    entity : str
        The records that would gain; empty where all reports would.
    column : str
        ``table.column``, or what to export.
    remedy : str
        What it is and where to find it.
    n_features : int
        Features that would become possible, at least.
    examples : tuple of str
        English labels of some of them, one of each sort.
    features : tuple of str
        Names of all of them; kinds, channels and levels are examples.
    """

    entity: str
    column: str
    remedy: str
    n_features: int
    examples: tuple[str, ...]
    features: tuple[str, ...]


@dataclass(frozen=True)
class _Gift:
    """A column, when it is lacking, and the spec that it would make."""

    column: str
    remedy: str
    lacks: Lacks
    enrich: Enrich
    entity: str = ""


def wish(history: History, entity: str, spec: FeatureSpec, tables: dict[str, TableFacts]) -> list[Wish]:
    """Give what the export lacks, most features first.

    Each wish is tried on the catalogue itself: what it offers for a spec with the column and not without it.

    Parameters
    ----------
    history : History
    entity : {"lead", "deal"}
    spec : FeatureSpec
        As learned from the history.
    tables : dict of str to TableFacts
    """
    have = features_of(spec)
    found = []
    for gift in _gifts(history, entity, tables):
        if gift.entity in ("", entity) and gift.lacks(spec):
            more = features_of(gift.enrich(spec))
            gained = [feature for name, feature in more.items() if name not in have]
            if gained:
                found.append(_wish(entity, gift, gained))
    if tables[f"{entity}s"].n and tables[f"{entity}s"].fill_rate("created_at") < _FILLED:
        timed = [f for f in have.values() if f.name == "age_days" or f.name.startswith("days_to_first_")]
        remedy = "when the record came in; without it these stay empty"
        found.append(_wish(entity, _Gift(f"{entity}s.created_at", remedy, bool, lambda s: s), timed))
    found.sort(key=lambda one: (-one.n_features, one.column))
    return found


def learn_specs(known: History) -> dict[str, FeatureSpec]:
    """Learn which features the leads and the deals of a history can have; those without records have none."""
    sizes = {"lead": len(known.leads), "deal": len(known.deals)}
    return {entity: learn_spec(known, entity) for entity, n in sizes.items() if n}


def _wish(entity: str, gift: _Gift, gained: list[Feature]) -> Wish:
    examples: dict[str, str] = {}
    for feature in gained:
        examples.setdefault(feature.entry.name, feature.entry.label_en.format(**feature.case.en))
    shown = sorted(examples.items(), key=lambda pair: not pair[0].startswith(_TELLING))
    return Wish(
        entity,
        gift.column,
        gift.remedy,
        len(gained),
        tuple(label for _, label in shown[:_EXAMPLES]),
        tuple(feature.name for feature in gained),
    )


#: Entries that best tell what a column is good for.
_TELLING = ("days_unanswered", "first_response", "days_since", "close_pushed", "rep_win_rate", "account_won")


def _gifts(history: History, entity: str, tables: dict[str, TableFacts]) -> list[_Gift]:
    own = f"{entity}s"

    def empty(column: str, table: str = own) -> bool:
        return tables[table].fill_rate(column) < _FILLED

    def seldom(column: str, table: str = own) -> str:
        rate = tables[table].fill_rate(column)
        return f" (now filled for {rate:.0%})" if rate > 0.005 else ""

    has_work = any(kind.source == "activity" for kind in spec_kinds(history, entity))
    example = "call"
    return [
        _Gift(
            "activities",
            "what was done and when: calls, e-mails, meetings, visits of the site",
            lambda spec: not has_work,
            lambda spec: replace(
                spec,
                kinds=(*spec.kinds, Kind("activity", "call", "done"), Kind("activity", "email", "done")),
            ),
        ),
        _Gift(
            "activities.direction",
            "who acted, the prospect (in) or the team (out)" + seldom("direction", "activities"),
            lambda spec: has_work and len(spec.directions) < 2,
            lambda spec: replace(spec, directions=("in", "out")),
        ),
        _Gift(
            "activities.channel",
            "e-mail, call, meeting, web; may be set by kind in the mapping" + seldom("channel", "activities"),
            lambda spec: has_work and not spec.channels and empty("channel", "activities"),
            lambda spec: replace(spec, channels=("email", "call")),
        ),
        _Gift(
            "activities.status",
            "work that is planned or started, not only work done",
            lambda spec: has_work and not spec.work,
            lambda spec: replace(spec, work=(example,)),
        ),
        _Gift(
            "activities.user_id",
            "who did it" + seldom("user_id", "activities"),
            lambda spec: has_work and "user_id" not in spec.present and empty("user_id", "activities"),
            lambda spec: replace(spec, present=(*spec.present, "user_id")),
        ),
        _Gift(
            f"{own}.stage",
            "the step of the process" + seldom("stage"),
            lambda spec: spec.levels_of("stage") is None and empty("stage"),
            lambda spec: _with_levels(spec, "stage"),
        ),
        _Gift(
            "changes of stage",
            _HISTORY,
            lambda spec: spec.levels_of("stage") is not None and len(spec.stage_order) < 2,
            lambda spec: replace(
                spec,
                stage_order=("first", "second"),
                kinds=(*spec.kinds, Kind("change", "stage", "proposal")),
            ),
        ),
        _Gift(
            "deals.expected_close_at",
            "by when the rep expects to close, with its changes" + seldom("expected_close_at", "deals"),
            lambda spec: "expected_close_at" not in spec.present and empty("expected_close_at"),
            lambda spec: replace(spec, present=(*spec.present, *_EXPECTED)),
            "deal",
        ),
        _Gift(
            "changes of expected_close_at",
            _HISTORY,
            lambda spec: set(_EXPECTED) & {*spec.present} == {_EXPECTED[0]},
            lambda spec: replace(
                spec,
                present=(*spec.present, _EXPECTED[1]),
                kinds=(*spec.kinds, Kind("change", "expected_close_at", "")),
            ),
            "deal",
        ),
        _Gift(
            "deals.amount",
            "what the deal is worth" + seldom("amount", "deals"),
            lambda spec: "amount" not in spec.numeric and empty("amount"),
            lambda spec: replace(spec, numeric=(*spec.numeric, "amount")),
            "deal",
        ),
        _Gift(
            "changes of amount",
            _HISTORY,
            lambda spec: "amount" in spec.numeric and "changes of amount" not in spec.present,
            lambda spec: replace(
                spec,
                present=(*spec.present, "changes of amount"),
                kinds=(*spec.kinds, Kind("change", "amount", "")),
            ),
            "deal",
        ),
        _Gift(
            f"{own}.owner_id",
            "the rep it belongs to" + seldom("owner_id"),
            lambda spec: "owner_id" not in spec.present and empty("owner_id"),
            lambda spec: replace(spec, present=(*spec.present, "owner_id")),
        ),
        _Gift(
            f"{own}.closed_at",
            "when each outcome was reached",
            lambda spec: "outcomes" not in spec.present and "owner_id" in spec.present,
            lambda spec: replace(spec, present=(*spec.present, "outcomes")),
        ),
        _Gift(
            f"{own}.account_id",
            "the company it is about, with its industry, size, country" + seldom("account_id"),
            lambda spec: "account_id" not in spec.present and empty("account_id"),
            lambda spec: _with_levels(
                replace(spec, present=(*spec.present, "account_id", "deals")), "account.industry"
            ),
        ),
        _Gift(
            "attributes of accounts",
            "industry, size, country and the like, as columns of the accounts table",
            lambda spec: not empty("account_id") and not any(f.startswith("account.") for f in spec.fields),
            lambda spec: _with_levels(spec, "account.industry"),
        ),
        _Gift(
            f"{own}.source",
            "where it came from" + seldom("source"),
            lambda spec: spec.levels_of("source") is None and empty("source"),
            lambda spec: _with_levels(spec, "source"),
        ),
        *_links(entity, tables),
    ]


#: Where the past of a field is to be found.
_HISTORY = "the CRM's field history; or load a fresh export each week, and each difference is kept"
_EXPECTED = ("expected_close_at", "changes of expected_close_at")


def spec_kinds(history: History, entity: str) -> tuple[Kind, ...]:
    """Say whether activities name this kind of record at all, as one kind of event, or none."""
    named = history.activities[f"{entity}_id"].notna().any()
    if entity == "deal" and not named and history.deals["lead_id"].notna().any():
        named = history.activities["lead_id"].notna().any()
    return (Kind("activity", "any", "done"),) if named else ()


def _with_levels(spec: FeatureSpec, field: str) -> FeatureSpec:
    return replace(spec, categorical=(*spec.categorical, Levels(field, ("one", "other"), ())))


def _links(entity: str, tables: dict[str, TableFacts]) -> list[_Gift]:
    """Give what a link between leads and deals would bring."""
    unlinked = tables["deals"].filled.get("lead_id", 0) == 0
    if entity == "deal":
        return [
            _Gift(
                "deals.lead_id",
                "the lead that the deal came from, so that the lead's source and history count",
                lambda spec: unlinked,
                lambda spec: _with_levels(spec, "lead.source"),
            )
        ]
    return [
        _Gift(
            "deals.lead_id",
            "the lead that each deal came from; then a lead's outcome is a purchase, not a converted status",
            lambda spec: unlinked,
            lambda spec: replace(
                _with_levels(spec, "deal.stage"),
                numeric=(*spec.numeric, "deal.amount"),
                kinds=(*spec.kinds, *(Kind("deal", name, "") for name in ("created", "won", "lost"))),
            ),
        )
    ]


def wish_for_reports(tables: dict[str, TableFacts]) -> list[Wish]:
    """Give what results cannot be added up by, or be held against, for want of a column."""
    found = []
    for table, column, remedy in (
        ("users", "team", "each rep's team; without it nothing adds up by team"),
        ("users", "manager_id", "each rep's manager; without it a manager has no list of their own"),
        ("targets", "value", "quotas; without them a forecast has no goal to stand beside"),
        ("deals", "amount", "what each deal is worth; without it there is no revenue to forecast"),
        ("deals", "currency", "the currency of the amounts"),
    ):
        if tables[table].fill_rate(column) < _FILLED and (table != "deals" or tables[table].n):
            found.append(Wish("", f"{table}.{column}", remedy, 0, (), ()))
    return found
