"""The time machine: what would have been said at past moments, judged by what came after them."""

from training.backtest.cutoffs import Plan, check_horizons, plan_cutoffs
from training.backtest.one_cutoff import Done
from training.backtest.run import Backtest, backtest
from training.backtest.settings import BacktestSettings

__all__ = ["Backtest", "BacktestSettings", "Done", "Plan", "backtest", "check_horizons", "plan_cutoffs"]
