"""The time machine: go back to past moments, say what would have been said, and judge it by what came."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from crm.errors import NotEnoughData, VigieError
from crm.history import History
from crm.known import known_at
from training.backtest.cutoffs import Plan
from training.backtest.one_cutoff import Done, one_thread
from training.backtest.prediction import Forecaster, Predictions, forecast_as_served
from training.backtest.report import make_report
from training.backtest.revenue import follow_forecasts
from training.backtest.sales import sales
from training.backtest.settings import BacktestSettings
from training.backtest.truth import follow
from training.backtest.work import Work
from training.backtest.workers import go_back_to_all
from training.digests import digest_history
from training.labels import with_lead_outcome


@dataclass(frozen=True)
class Backtest:
    """A finished backtest.

    Parameters
    ----------
    report : dict
        Plain JSON; see ``docs/backtest.md``.
    deals, leads, forecasts : DataFrame
        What was said at each cutoff, with what came.
    done : list of Done
        How long each cutoff took, in the order of time.
    """

    report: dict[str, Any]
    deals: pd.DataFrame
    leads: pd.DataFrame
    forecasts: pd.DataFrame
    done: list[Done]


def backtest(
    history: History,
    plan: Plan,
    out: Path,
    settings: BacktestSettings | None = None,
    *,
    jobs: int = 1,
    forecaster: Forecaster | None = forecast_as_served,
    finished: Callable[[Done], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Backtest:
    """Go back to the cutoffs of a plan, and judge what would have been said by what came.

    Each cutoff is kept under ``out/work`` when it is done, and taken up from there by the next run.

    Parameters
    ----------
    history : History
    plan : Plan
    out : Path
        Written: ``backtest.json``, ``backtest.html``, ``deals.parquet``, ``leads.parquet``,
        ``forecasts.parquet``; the same bytes for the same history, plan, settings and code.
    settings : BacktestSettings, optional
    jobs : int
        Processes at most.
    forecaster : callable, optional
        Forecasts revenue; None for no forecasts.
    finished : callable
        Told of each cutoff when it is done.
    say : callable
        Told what is being done.

    Raises
    ------
    NotEnoughData
        If nothing could be said at any cutoff.
    InputError
        If revenue is to be forecast, in several currencies, and a rate is missing.
    VigieError
        If ``out`` cannot be written, or a process was ended from outside.
    """
    settings = one_thread(settings or BacktestSettings())
    known = with_lead_outcome(known_at(history, plan.end), settings.train.lead_outcome)
    if forecaster is not None:
        # A rate that is missing is told now, not after an hour of learning.
        sales(known, settings.given_rates)
    work = Work(out / "work")
    work.prepare()
    done = go_back_to_all(known, plan.cutoffs, settings, work, forecaster, jobs, finished)
    if all(one.failure for one in done):
        raise NotEnoughData(f"nothing could be said at any cutoff; at the last one: {done[-1].failure}")
    say("judging what was said by what came")
    with threadpool_limits(1):
        found = _judge(known, plan, settings, work, done)
    say(f"writing the report to {out}")
    _write(found, out)
    work.keep_only([(one.cutoff, one.trained_key, one.said_key) for one in done])
    return found


def _judge(known: History, plan: Plan, settings: BacktestSettings, work: Work, done: list[Done]) -> Backtest:
    made = [work.predictions(one.cutoff, one.said_key) for one in done if not one.failure]
    followed = {
        entity: follow(known, entity, _joined(made, f"{entity}s"), plan.end) for entity in ("deal", "lead")
    }
    draws = [row for one in made for row in one.draws]
    forecasts = follow_forecasts(known, _joined(made, "forecasts"), draws, plan.end, settings.given_rates)
    report = make_report(plan, settings, digest_history(known), _told(done, made), followed, forecasts)
    return Backtest(report, followed["deal"].table, followed["lead"].table, forecasts, done)


def _joined(made: list[Predictions], name: str) -> pd.DataFrame:
    tables: list[pd.DataFrame] = [getattr(one, name) for one in made]
    filled = [table for table in tables if len(table)] or tables[:1]
    return pd.concat(filled, ignore_index=True)


def _told(done: list[Done], made: list[Predictions]) -> list[dict[str, Any]]:
    """Give what is told of each cutoff, those at which nothing could be said among them."""
    facts = {one.cutoff: one.facts for one in made}
    return [
        facts.get(one.cutoff, {"cutoff": one.cutoff.isoformat(), "models": {}}) | {"failure": one.failure}
        for one in done
    ]


def _write(found: Backtest, out: Path) -> None:
    from training.backtest.page import make_page

    try:
        for name in ("deals", "leads", "forecasts"):
            table: pd.DataFrame = getattr(found, name)
            _replace(out / f"{name}.parquet", partial(table.to_parquet, index=False))
        text = json.dumps(found.report, indent=1, allow_nan=False) + "\n"
        _replace(out / "backtest.json", lambda path: path.write_text(text, encoding="utf-8"))
        page = make_page(found.report)
        _replace(out / "backtest.html", lambda path: path.write_text(page, encoding="utf-8"))
    except OSError as error:
        raise VigieError(
            f"{out}: cannot be written ({error.strerror or error}); choose another --out"
        ) from error


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file: it is there whole, or what was there stays."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    fresh = Path(name)
    try:
        write(fresh)
        fresh.chmod(0o644)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
