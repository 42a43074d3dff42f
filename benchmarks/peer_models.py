"""The peers: how each learns from a case, and what it says of the records to judge.

All are honest: they learn from labels that were known at the cutoff. A peer that knows nothing of censoring
learns from the closed records only, as is usual. Timing that a peer does not give is read from its stage: the
durations of closed snapshots in the same stage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import lightgbm as lgb
import numpy as np
import pandas as pd
from peer_cases import Bools, Case, Floats, Ints, Rows
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GroupKFold
from sklearn.naive_bayes import CategoricalNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from features import feature
from training.labels import LOST, OPEN, WON

SEED = 7
#: Numbers are cut into so many levels for naive Bayes.
_BINS = 5
#: Share missing from which on SurvivalBoost gets a low number for it.
_SELDOM = 0.95
#: Closed snapshots that a stage needs for a timing of its own.
_FEWEST = 20


class NotInstalled(Exception):
    """A peer's library is not there; the text says what to install."""


@dataclass(frozen=True)
class Options:
    """How peers are run: threads, and FLAML's seconds."""

    threads: int = 2
    flaml_seconds: float = 60.0


@dataclass(frozen=True)
class Answer:
    """What a model says of n records.

    Parameters
    ----------
    probability : ndarray of shape (n,)
        Of being won, within the horizon where there is one.
    median_days : ndarray of shape (n,), optional
        To the closing.
    incidence : pair of ndarray of shape (n, days), optional
        P(won by the day) and P(lost by the day).
    """

    probability: Floats
    median_days: Floats | None = None
    incidence: tuple[Floats, Floats] | None = None


Peer = Callable[[Case, Floats, Options], Answer]


def vigie(case: Case, days: Floats, options: Options) -> Answer:
    """Vigie's own model, as it would be served."""
    x = case.judge.x
    probability = case.vigie.probability(case.vigie.margin(x))
    if case.horizon_days is not None or case.vigie.hazard is None:
        return Answer(probability)
    timing = case.vigie.hazard.predict(x, case.judge.as_of, threads=options.threads)
    median = timing.quantile(np.full((len(x), 1), 0.5))[:, 0]
    grid = np.tile(days, (len(x), 1))
    won_share = timing.won_share_by(grid)
    lost_ever = timing.lost[:, -1:] + (1.0 - timing.closed[:, -1:]) * (1.0 - timing.tail_share)
    lost_share = (timing.closed_by(grid) - timing.won_by(grid)) / np.maximum(lost_ever, 1e-12)
    won = probability[:, None] * won_share
    return Answer(probability, median, (won, (1.0 - probability)[:, None] * np.clip(lost_share, 0.0, 1.0)))


def base_rate(case: Case, days: Floats, options: Options) -> Answer:
    """The share won of all records whose answer was known."""
    return Answer(np.full(len(case.judge.x), case.won(case.known).mean()))


def logistic(case: Case, days: Floats, options: Options) -> Answer:
    """L2 logistic regression on log-scaled numbers and one column a level; strength by grouped folds."""
    known = case.known
    left, right = (_one_hot(case, rows) for rows in (known, case.judge))
    model = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True),
        StandardScaler(),
        LogisticRegressionCV(
            Cs=[0.001, 0.01, 0.1, 1.0],
            cv=list(GroupKFold(5).split(left, groups=known.groups)),
            scoring="neg_log_loss",
            l1_ratios=(0.0,),
            max_iter=2000,
            use_legacy_attributes=False,
        ),
    )
    model.fit(left, case.won(known))
    return Answer(model.predict_proba(right)[:, 1])


def _one_hot(case: Case, rows: Rows) -> Floats:
    """Give log-scaled numbers that are ever known, and one column a level that was ever seen."""
    numbers = [
        column
        for column in range(rows.x.shape[1])
        if column not in case.categorical and not np.isnan(case.known.x[:, column]).all()
    ]
    scaled = np.sign(rows.x[:, numbers]) * np.log1p(np.abs(rows.x[:, numbers]))
    seen = [(column, np.unique(case.known.x[:, column])) for column in case.categorical]
    levels = [rows.x[:, [column]] == codes[~np.isnan(codes)] for column, codes in seen]
    return np.hstack([scaled, *levels]).astype(np.float64)


def hist_gradient_boosting(case: Case, days: Floats, options: Options) -> Answer:
    """scikit-learn's HistGradientBoosting with its defaults."""
    model = HistGradientBoostingClassifier(categorical_features=case.categorical or None, random_state=SEED)
    model.fit(case.known.x, case.won(case.known))
    return Answer(model.predict_proba(case.judge.x)[:, 1])


_REGULARISED = {"num_leaves": 7, "min_data_in_leaf": 300, "feature_fraction": 0.25, "learning_rate": 0.05}


def lightgbm(case: Case, days: Floats, options: Options) -> Answer:
    """LightGBM on closed records only, with its defaults; for deals another for the median days to close."""
    return _boosted(case, options, {}, 100)


def lightgbm_regularised(case: Case, days: Floats, options: Options) -> Answer:
    """The same with the strong regularisation that Vigie's hazard has."""
    return _boosted(case, options, _REGULARISED, 90)


def _boosted(case: Case, options: Options, parameters: dict[str, float], rounds: int) -> Answer:
    known = case.known
    common = {"num_threads": options.threads, "seed": SEED, "deterministic": True, "verbosity": -1}

    def fit(objective: str, target: Floats | Bools) -> Floats:
        data = lgb.Dataset(known.x, np.asarray(target, np.float64), categorical_feature=case.categorical)
        model = lgb.train({"objective": objective, **common, **parameters}, data, rounds)
        return np.asarray(model.predict(case.judge.x), np.float64)

    probability = fit("binary", case.won(known))
    if case.horizon_days is not None:
        return Answer(probability)
    return Answer(probability, np.maximum(fit("regression_l1", known.labels.durations), 0.0))


#: Odoo adds as much to each count.
_SMOOTHING = 0.1
#: Families of features that are fields of the record, as Odoo's predictive scoring would take them.
_FIELDS = ("attributes", "stage", "amount")


def naive_bayes(case: Case, days: Floats, options: Options) -> Answer:
    """Categorical naive Bayes on the record's fields, as in Odoo's predictive scoring.

    Numbers are cut into levels, and missing is a level. Counts and recencies are left out: they repeat each
    other, which naive Bayes cannot see.
    """
    names = case.spec.names
    columns = [k for k, name in enumerate(names) if feature(case.spec, name).entry.family in _FIELDS]
    if not columns:
        return base_rate(case, days, options)
    pairs = [_levels(case, column) for column in columns]
    left, right = (np.column_stack(side) for side in zip(*pairs, strict=True))
    sizes = np.maximum(left.max(axis=0), right.max(axis=0)) + 1
    model = CategoricalNB(alpha=_SMOOTHING, min_categories=sizes)
    model.fit(left, case.won(case.known))
    return Answer(model.predict_proba(right)[:, 1])


def _levels(case: Case, column: int) -> tuple[Ints, Ints]:
    """Give a column of the known and the judged rows as levels; 0 is missing, and a level never seen."""
    known, judged = case.known.x[:, column], case.judge.x[:, column]
    here = np.unique(known[~np.isnan(known)])
    if column in case.categorical:
        return _codes(here, known), _codes(here, judged)
    steps = np.linspace(0, 1, _BINS + 1)[1:-1]
    edges = np.unique(np.quantile(known[~np.isnan(known)], steps)) if len(here) else here
    left, right = (
        np.where(np.isnan(values), 0, 1 + np.searchsorted(edges, values, side="right"))
        for values in (known, judged)
    )
    return left, right


def _codes(seen: Floats, values: Floats) -> Ints:
    place = np.clip(np.searchsorted(seen, values), 0, max(len(seen) - 1, 0))
    there = (len(seen) > 0) & ~np.isnan(values)
    return np.where(there & (np.append(seen, np.nan)[place] == values), place + 1, 0)


def flaml(case: Case, days: Floats, options: Options) -> Answer:
    """FLAML's AutoML for log loss, folds by record, within its budget of seconds."""
    try:
        from flaml import AutoML  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise NotInstalled("pip install 'flaml[automl]'") from error
    known = case.known
    # Its other learners refuse missing values.
    learners = ["lgbm", "rf", "extra_tree"]
    learners += ["xgboost", "xgb_limitdepth"] if find_spec("xgboost") else []
    model = AutoML()
    model.fit(
        known.x,
        case.won(known).astype(int),
        task="classification",
        metric="log_loss",
        time_budget=options.flaml_seconds,
        estimator_list=learners,
        eval_method="cv",
        split_type="group",
        groups=known.groups,
        n_jobs=options.threads,
        seed=SEED,
        verbose=0,
    )
    return Answer(np.asarray(model.predict_proba(case.judge.x))[:, 1])


def survival_boost(case: Case, days: Floats, options: Options) -> Answer:
    """SurvivalBoost of `hazardous` with its defaults: competing risks, open snapshots censored."""
    try:
        from hazardous import SurvivalBoost  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise NotInstalled("pip install hazardous") from error
    labels = case.learn.labels
    target = pd.DataFrame({"event": labels.events.astype(int), "duration": labels.durations})
    rows = (target["duration"] > 0).to_numpy()
    left, right = case.learn.x[rows], case.judge.x
    # It weighs rows down to nothing, and scikit-learn cannot bin a column that is missing in all others.
    for column in np.flatnonzero(np.isnan(left).mean(axis=0) > _SELDOM).tolist():
        lowest = np.nanmin(np.append(left[:, column], 0.0)) - 1.0
        left, right = (_filled(side, column, lowest) for side in (left, right))
    model = SurvivalBoost(show_progressbar=False, random_state=SEED)
    model.fit(left, target[rows])
    ends = case.horizon_days or float(target["duration"].max())
    far = np.linspace(0.0, ends, 400)
    found = np.asarray(model.predict_cumulative_incidence(right, times=far))
    won = found[:, WON]
    # A history that marks no loss has one kind of event only.
    lost = found[:, LOST] if found.shape[1] > LOST else np.zeros_like(won)
    if case.horizon_days is not None:
        return Answer(won[:, -1])
    closed = np.maximum.accumulate(won + lost, axis=1)
    median = np.array([np.interp(0.5, row, far) for row in closed])
    probability = won[:, -1] / np.maximum(won[:, -1] + lost[:, -1], 1e-9)
    at_days = [np.array([np.interp(days, far, row) for row in part]) for part in (won, lost)]
    return Answer(probability, median, (at_days[0], at_days[1]))


def _filled(x: Floats, column: int, value: float) -> Floats:
    filled = x.copy()
    filled[np.isnan(x[:, column]), column] = value
    return filled


#: Every peer by the name it is chosen and shown by.
PEERS: dict[str, Peer] = {
    "vigie": vigie,
    "base-rate": base_rate,
    "logistic": logistic,
    "hist-gradient-boosting": hist_gradient_boosting,
    "lightgbm": lightgbm,
    "lightgbm-regularised": lightgbm_regularised,
    "naive-bayes": naive_bayes,
    "flaml": flaml,
    "survival-boost": survival_boost,
}


def with_stage_timing(case: Case, answer: Answer, days: Floats) -> Answer:
    """Fill in the timing that a peer does not give, from closed snapshots in the same stage."""
    if case.horizon_days is not None or (answer.median_days is not None and answer.incidence is not None):
        return answer
    closed = case.learn.take(case.learn.labels.events != OPEN)
    durations = closed.labels.durations
    stage = case.spec.names.index("stage") if "stage" in case.spec.names else None
    median = np.full(len(case.judge.x), np.median(durations))
    share = np.tile(_by(durations, days), (len(case.judge.x), 1))
    if stage is not None:
        for level in np.unique(closed.x[~np.isnan(closed.x[:, stage]), stage]):
            here = durations[closed.x[:, stage] == level]
            if len(here) >= _FEWEST:
                rows = case.judge.x[:, stage] == level
                median[rows], share[rows] = np.median(here), _by(here, days)
    p = answer.probability[:, None]
    incidence = (p * share, (1.0 - p) * share)
    return Answer(
        answer.probability,
        median if answer.median_days is None else answer.median_days,
        incidence if answer.incidence is None else answer.incidence,
    )


def _by(durations: Floats, days: Floats) -> Floats:
    return np.searchsorted(np.sort(durations), days, side="right") / len(durations)
