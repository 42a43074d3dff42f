"""The model of one kind of record: from features to margin, probability and timing."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from crm.errors import BundleError
from features import FeatureSpec
from serving.calibration import Calibrator
from serving.contributions import TreeContributions
from serving.forest import Forest
from serving.linear import LinearPart
from serving.rhythm import Beat, CalendarRhythm
from serving.timing import HazardModel
from serving.trees import TooDeep

Floats = NDArray[np.float64]

ENTITIES = ("lead", "deal")
#: From so many rows on, the trees are summed here; LightGBM walks them sooner for fewer.
MANY = 512


@dataclass(frozen=True)
class AmountModel:
    """What a deal's amount becomes by the time it is won: the amount as of then, times a factor.

    Parameters
    ----------
    factor : float
    feature : str
        The feature that holds the amount.
    """

    factor: float
    feature: str = "amount"


@dataclass(frozen=True)
class OutcomeModel:
    """Everything needed to score one kind of record; made by training, never fitted here.

    The margin, in log-odds, is ``weights[0] * linear(x) + weights[1] * booster(x)``; the calibrator turns it
    into the probability that is shown.

    Parameters
    ----------
    entity : {"lead", "deal"}
    spec : FeatureSpec
    horizon_days : float or None
        The probability is that of the outcome within so many days; None for ever.
    booster : str
        LightGBM text, one output, a margin in log-odds; empty for none.
    linear : LinearPart, optional
    weights : (float, float)
        Of the linear part and the booster.
    calibrator : Calibrator
    hazard : HazardModel, optional
        When the record closes.
    signal : bool
        Whether validation showed skill; where it did not, the base rate is served for all.
    too_early : bool
        Whether the history holds too few outcomes to say anything; then no score is served at all.
    base_rate : float
        Share of records with the outcome, known at ``trained_through``.
    amount : AmountModel, optional

    Raises
    ------
    BundleError
        Where the parts do not fit together.
    """

    entity: str
    spec: FeatureSpec
    horizon_days: float | None
    booster: str = ""
    linear: LinearPart | None = None
    weights: tuple[float, float] = (1.0, 1.0)
    calibrator: Calibrator = field(default_factory=Calibrator)
    hazard: HazardModel | None = None
    signal: bool = True
    too_early: bool = False
    base_rate: float = 0.5
    amount: AmountModel | None = None

    def __post_init__(self) -> None:
        if self.entity not in ENTITIES or self.spec.entity != self.entity:
            raise BundleError(
                f"model: entity = {self.entity!r} with features of {self.spec.entity!r}: train again"
            )
        if self.horizon_days is not None and not (np.isfinite(self.horizon_days) and self.horizon_days > 0):
            raise BundleError(f"{self.entity} model: horizon_days = {self.horizon_days}: it must be above 0")
        if not 0.0 <= self.base_rate <= 1.0:
            raise BundleError(f"{self.entity} model: base_rate = {self.base_rate}: it must be within 0 and 1")
        if not np.isfinite(self.weights).all():
            raise BundleError(f"{self.entity} model: weights = {self.weights}: they must be finite")
        if self.signal and not self.booster and self.linear is None:
            raise BundleError(f"{self.entity} model: a model with signal needs a booster or a linear part")

    @cached_property
    def _trees(self) -> lgb.Booster | None:
        if not self.booster:
            return None
        try:
            trees = lgb.Booster(model_str=self.booster)
        except lgb.basic.LightGBMError as error:
            raise BundleError(f"{self.entity} model: the booster cannot be read ({error})") from error
        if trees.num_feature() != len(self.spec.names) or trees.num_model_per_iteration() != 1:
            raise BundleError(
                f"{self.entity} model: the booster has {trees.num_feature()} features and "
                f"{trees.num_model_per_iteration()} outputs, the spec {len(self.spec.names)} features; "
                "train again"
            )
        return trees

    @cached_property
    def _forest(self) -> Forest | None:
        """The booster's trees for quick sums; None where only LightGBM can walk them."""
        try:
            return None if self._trees is None else Forest(self._trees)
        except TooDeep:
            return None

    @cached_property
    def _explainer(self) -> TreeContributions | None:
        return None if self._trees is None else TreeContributions(self._trees)

    def warm(self) -> OutcomeModel:
        """Read every part now, so that the first request does not wait and a bad part shows at once."""
        width = len(self.spec.names)
        if self.hazard is not None and self.hazard.n_features != width:
            raise BundleError(
                f"{self.entity} model: the hazard has {self.hazard.n_features} features, the spec {width}; "
                "train again"
            )
        if self.linear is not None and any(term.feature >= width for term in self.linear.terms):
            raise BundleError(f"{self.entity} model: the linear part names a column past {width}")
        empty = np.full((1, width), np.nan)
        self.probability(self.margin(empty))
        self.contributions(empty)
        if self.hazard is not None:
            self.hazard.predict(empty, np.zeros(1, "datetime64[us]"))
        return self

    def margin(self, x: Floats) -> Floats:
        """Give the margins, in log-odds, shape (rows,).

        Parameters
        ----------
        x : ndarray of shape (rows, features)
            In the order of ``spec.names``.
        """
        total = np.zeros(len(x))
        if self.linear is not None:
            total = total + self.weights[0] * self.linear.margin(x)
        if self._trees is not None and len(x):
            total = total + self.weights[1] * self._raw(x)
        return total

    def _raw(self, x: Floats) -> Floats:
        """Give the sums of the booster's trees, the same bit for bit either way."""
        if self._forest is not None and len(x) >= MANY:
            return np.asarray(self._forest(x)[0, 0], np.float64)
        trees = self._trees
        if trees is None:
            return np.zeros(len(x))
        return np.asarray(trees.predict(x, raw_score=True, num_threads=1), np.float64)

    def probability(self, margin: Floats) -> Floats:
        """Give the probabilities shown for these margins."""
        if not self.signal:
            return np.full(margin.shape, self.base_rate)
        return self.calibrator.probability(margin)

    @cached_property
    def expected_margin(self) -> float:
        """The margin's mean over the training rows, in log-odds."""
        total = 0.0
        if self.linear is not None:
            total += self.weights[0] * self.linear.expected
        if self._explainer is not None:
            total += self.weights[1] * self._explainer.expected
        return total

    def contributions(self, x: Floats) -> Floats:
        """Give each feature's exact contribution to the margin, shape (rows, features).

        A row of contributions and :attr:`expected_margin` sum to its margin.
        """
        total = np.zeros(x.shape)
        if self.linear is not None:
            total = total + self.weights[0] * self.linear.contributions(x)
        if self._explainer is not None:
            total = total + self.weights[1] * self._explainer(x)
        return total

    def to_json_dict(self) -> dict[str, Any]:
        """Give the model as plain JSON, without the boosters, which are files of their own."""
        return {
            "entity": self.entity,
            "spec": self.spec.to_json_dict(),
            "horizon_days": self.horizon_days,
            "linear": None if self.linear is None else self.linear.to_json_dict(),
            "weights": list(self.weights),
            "calibrator": self.calibrator.to_json_dict(),
            "hazard_edges_days": None if self.hazard is None else list(self.hazard.edges_days),
            "hazard_base": [] if self.hazard is None else [list(odds) for odds in self.hazard.base],
            "rhythm": None
            if self.hazard is None or self.hazard.rhythm is None
            else self.hazard.rhythm.to_json_dict(),
            "signal": self.signal,
            "too_early": self.too_early,
            "base_rate": self.base_rate,
            "amount": None
            if self.amount is None
            else {"factor": self.amount.factor, "feature": self.amount.feature},
        }

    @classmethod
    def from_json_dict(cls, data: dict[str, Any], booster: str, hazard: str) -> OutcomeModel:
        """Read what :meth:`to_json_dict` gave, with the text of the boosters."""
        edges = data["hazard_edges_days"]
        linear, amount = data["linear"], data["amount"]
        return cls(
            entity=data["entity"],
            spec=FeatureSpec.from_json_dict(data["spec"]),
            horizon_days=data["horizon_days"],
            booster=booster,
            linear=None if linear is None else LinearPart.from_json_dict(linear),
            weights=(float(data["weights"][0]), float(data["weights"][1])),
            calibrator=Calibrator.from_json_dict(data["calibrator"]),
            hazard=None if edges is None else _read_hazard(hazard, data),
            signal=bool(data["signal"]),
            too_early=bool(data["too_early"]),
            base_rate=float(data["base_rate"]),
            amount=None if amount is None else AmountModel(float(amount["factor"]), str(amount["feature"])),
        )


def _read_hazard(booster: str, data: dict[str, Any]) -> HazardModel:
    # A bundle of an earlier version knows the week at most; one before it starts from nothing.
    rhythm = None
    if data.get("rhythm") is not None:
        rhythm = CalendarRhythm.from_json_dict(data["rhythm"])
    elif data.get("week") is not None:
        week = data["week"]
        rhythm = CalendarRhythm(Beat(tuple(week["won"])), Beat(tuple(week["lost"])))
    base = tuple((float(won), float(lost)) for won, lost in data.get("hazard_base", ()))
    return HazardModel(booster, tuple(float(edge) for edge in data["hazard_edges_days"]), rhythm, base)
