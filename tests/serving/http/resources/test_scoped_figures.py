"""Figures of a scope: the numbers of the commands' groups, and nothing of anybody else."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from crm.errors import InputError
from crm.groups import TOTAL
from crm.periods import parse_period
from crm.store import Store
from features.kpis import measure_kpis
from features.kpis.trends import find_trends, measure_series, past_periods
from serving.answering.forecast_figures import ForecastQuestion, forecast_figures
from serving.answering.kpi_figures import KpiQuestion, kpi_figures, trend_figures
from serving.answering.move_figures import MoveQuestion, move_figures
from serving.answering.scope import Scope, total_of
from serving.forecast import forecast
from serving.forecast.accuracy import past_errors

NOW = datetime(2025, 1, 1, tzinfo=UTC)
EVERYTHING = Scope()


def rep_of(company: Any) -> str:
    """Give the rep with most deals."""
    return str(company.history.deals["owner_id"].value_counts().index[0])


def members(company: Any, team: str) -> frozenset[str]:
    """Give the members of a team."""
    users = company.history.users
    return frozenset(users["user_id"][users["team"] == team])


def asked(scope: Scope = EVERYTHING, by: str | None = None, **more: Any) -> ForecastQuestion:
    """Ask for the last quarter of 2024."""
    question = ForecastQuestion(("2024-Q4",), (None, None), (), by, None, NOW, 0.8, 5, scope)
    return replace(question, **more)


def made(company: Any, by: str | None) -> pd.DataFrame:
    """Give the rows that vigie forecast makes."""
    past = past_errors(
        Store.open(company.url).forecasts(as_of_before=company.as_of), company.history, company.as_of
    )
    found = forecast(
        company.bundle, company.history, company.as_of, [parse_period("2024-Q4")], by=by, past_errors=past
    )
    return found.rows.set_index("group")


SAME = {
    "closed": "closed",
    "open": "open_mean",
    "new": "new_mean",
    "mean": "mean",
    "low": "p10",
    "high": "p90",
}
SAME |= {name: name for name in ("stage_weighted", "run_rate", "quota", "coverage", "coverage_needed")}


def same(row: dict[str, Any], beside: pd.Series) -> None:
    """Hold a row of an answer against one of a forecast, to the last digit."""
    for name, column in SAME.items():
        expected = None if pd.isna(beside[column]) else float(beside[column])
        assert row[name] == expected, name


def test_the_forecast_is_the_commands(company: Any) -> None:
    """Who may see everything gets every row that the command prints."""
    (period,) = forecast_figures(company.source, asked(by="owner"))["periods"]
    rows = made(company, "owner")
    assert [row["group"] for row in period["rows"]] == list(rows.index)
    for row in period["rows"]:
        same(row, rows.loc[row["group"]])
    assert len(period["deals"]) == 5


def test_a_reps_forecast_is_the_reps_row(company: Any) -> None:
    """A rep's total is the row of that rep, with or without a grouping, and no other row is there."""
    rep = rep_of(company)
    row = made(company, "owner").loc[rep]
    for by in (None, "owner"):
        answer = forecast_figures(company.source, asked(Scope(frozenset({rep})), by, n_deals=500))
        (period,) = answer["periods"]
        assert [one["group"] for one in period["rows"]] == [TOTAL] + [rep] * (by is not None)
        for one in period["rows"]:
            same(one, row)
        assert {deal["owner_id"] for deal in period["deals"]} == {rep}
        assert answer["scope"] == "own" and answer["notes"] == []


def test_a_managers_forecast_is_the_teams_row(company: Any) -> None:
    """The total of a manager's team is the team's row, and its reps add up to it."""
    team = str(company.history.users["team"].dropna().iloc[0])
    scope = Scope(members(company, team))
    (period,) = forecast_figures(company.source, asked(scope, "owner"))["periods"]
    same(period["rows"][0], made(company, "team").loc[team])
    reps = period["rows"][1:]
    assert {row["group"] for row in reps} <= scope.owners  # type: ignore[operator]
    assert sum(row["mean"] for row in reps) == pytest.approx(period["rows"][0]["mean"], abs=1e-6)


def test_any_set_of_reps_has_a_total(company: Any) -> None:
    """Reps of two teams are summed: exact means, one range, the sum of their quotas."""
    users = company.history.users
    some = frozenset(users.groupby("team")["user_id"].first())
    assert len(some) > 1
    question = asked(Scope(some), as_of=datetime(2024, 11, 1, tzinfo=UTC))
    (period,) = forecast_figures(company.source, question)["periods"]
    (row,) = period["rows"]
    everything = replace(question, by="owner", scope=EVERYTHING)
    (whole,) = forecast_figures(company.source, everything)["periods"]
    rows = pd.DataFrame([one for one in whole["rows"] if one["group"] in some])
    assert row["mean"] == pytest.approx(rows["mean"].sum(), abs=1e-6)
    assert row["quota"] == pytest.approx(rows["quota"].sum())
    assert row["low"] < row["mean"] < row["high"]


@pytest.mark.parametrize("by", ["source", "region", "manager", "account.industry", "product"])
def test_groups_that_mix_reps_are_refused(company: Any, by: str) -> None:
    """A rep cannot group by what others share; who sees everything can."""
    scope = Scope(frozenset({rep_of(company)}))
    with pytest.raises(InputError, match="group by owner or team"):
        forecast_figures(company.source, asked(scope, by))
    with pytest.raises(InputError, match="group by owner or team"):
        kpi_figures(company.source, KpiQuestion(("win_rate",), by, None, NOW, "en", scope))


def test_nobody_of_others_is_named(company: Any) -> None:
    """No answer to a rep, whatever is asked, holds another rep's id, name, team or deals."""
    rep = rep_of(company)
    scope = Scope(frozenset({rep}))
    users = company.history.users
    others = users[users["user_id"] != rep]
    deals = company.history.deals
    foreign = set(deals["deal_id"][deals["owner_id"] != rep])
    answers = []
    for by in (None, "owner", "team"):
        answers.append(forecast_figures(company.source, asked(scope, by, n_deals=1000)))
        answers.append(kpi_figures(company.source, KpiQuestion((), by, None, NOW, "en", scope)))
        names = ("win_rate", "revenue", "leads_created")
        trends = KpiQuestion(names, by, None, NOW, "en", scope, every="quarter", last=2, explain=True)
        answers.append(trend_figures(company.source, trends))
        answers.append(
            move_figures(company.source, MoveQuestion(None, None, "2024-Q3", by, 500, scope))
            if by != "team"
            else {}
        )
    for answer in answers:
        texts = set(_texts(answer))
        assert not texts & (set(others["user_id"]) | set(others["name"]) | foreign)
        assert not texts & set(users["team"].dropna())


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []


def test_kpis_are_the_commands(company: Any) -> None:
    """Each figure of the answer is measured as the command measures it."""
    names = ("win_rate", "revenue", "quota_attainment", "activities", "deal_time_in_stage")
    found = kpi_figures(company.source, KpiQuestion(names, "team", None, NOW, "fr", EVERYTHING))
    rows = measure_kpis(company.history, [parse_period("2024-Q4")], company.as_of, names=names, by="team")
    assert len(found["rows"]) == len(rows)
    for row, (_, beside) in zip(found["rows"], rows.iterrows(), strict=True):
        for name in ("kpi", "group", "detail", "value", "numerator", "n", "low", "target", "attainment"):
            expected = beside[name]
            assert row[name] == (None if pd.isna(expected) or expected == float("inf") else expected), name
    assert found["rows"][0]["label"] == "Chiffre d’affaires gagné"


def test_a_reps_kpis_are_the_reps_rows(company: Any) -> None:
    """The total of a rep is the row of that rep in the command's grouping by owner, targets included."""
    rep = rep_of(company)
    names = ("win_rate", "revenue", "leads_created")
    scope = Scope(frozenset({rep}))
    found = kpi_figures(company.source, KpiQuestion(names, None, None, NOW, "en", scope))
    rows = measure_kpis(company.history, [parse_period("2024-Q4")], company.as_of, names=names, by="owner")
    mine = rows[rows["group"] == rep]
    assert [row["value"] for row in found["rows"]] == mine["value"].tolist()
    assert [row["target"] for row in found["rows"]] == [None if pd.isna(x) else x for x in mine["target"]]
    assert {row["group"] for row in found["rows"]} == {TOTAL}


def test_trends_are_the_commands(company: Any) -> None:
    """Values, ranges and flags are those of vigie trends; segments only for who sees everything."""
    asked_for = KpiQuestion(("win_rate",), None, None, NOW, "en", EVERYTHING)
    question = replace(asked_for, every="month", last=1, level=0.01, explain=True)
    found = trend_figures(company.source, question)
    periods = past_periods(company.history, company.as_of, "month")
    series = measure_series(company.history, periods, company.as_of, names=["win_rate"])
    rows = find_trends(series, 0.01, shown=1)
    for name in ("value", "low", "expected", "high", "is_flagged"):
        assert [row[name] for row in found["rows"]] == rows[name].tolist()
    assert rows["is_flagged"].all() and found["segments"]
    rep = replace(question, scope=Scope(frozenset({rep_of(company)})))
    assert trend_figures(company.source, rep)["segments"] == []


def test_moves_of_a_scope_add_up(company: Any) -> None:
    """A manager's parts are the sums of the reps', and lead from the earlier figure to the later."""
    team = str(company.history.users["team"].dropna().iloc[0])
    scope = Scope(members(company, team))
    found = move_figures(company.source, MoveQuestion(None, None, "2024-Q3", None, 500, scope))
    total = found["parts"][TOTAL]
    inner = [part for part in total if part not in ("before", "after")]
    assert total["before"] + sum(total[part] for part in inner) == pytest.approx(total["after"], abs=1e-6)
    assert found["difference"] == pytest.approx(total["after"] - total["before"], abs=1e-6)
    assert found["difference"] != 0
    assert set(found["parts"]) - {TOTAL} <= scope.owners  # type: ignore[operator]
    whole = move_figures(company.source, MoveQuestion(None, None, "2024-Q3", "owner", 5, EVERYTHING))
    for group in set(found["parts"]) - {TOTAL}:
        assert found["parts"][group] == whole["parts"][group]
    json.dumps(found, default=str)


def test_an_unknown_or_empty_scope_sees_nothing(company: Any) -> None:
    """A key of a rep whom the history does not know, or of records without owner, has no row at all."""
    for owners in (frozenset[str](), frozenset({"nobody-known"}), frozenset({"(none)"})):
        scope = Scope(owners)
        (period,) = forecast_figures(company.source, asked(scope, "owner"))["periods"]
        assert period["rows"] == [] and period["deals"] == []
        assert (
            kpi_figures(company.source, KpiQuestion(("revenue",), None, None, NOW, "en", scope))["rows"] == []
        )


def test_the_total_of_a_team_is_asked_as_that_team(company: Any) -> None:
    """One rep and one whole team are groups that the history has; their targets are found."""
    team = str(company.history.users["team"].dropna().iloc[0])
    whole = total_of(Scope(members(company, team)), company.history, company.as_of)
    assert (whole.by, whole.group) == ("team", team) and whole.history is company.history
    rep = total_of(Scope(frozenset({"total"})), company.history, company.as_of)
    assert (rep.by, rep.group) == ("owner", '"total"')
