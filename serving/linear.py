"""The linear part of a margin: a frozen logistic regression whose contributions need no algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crm.errors import BundleError

Floats = NDArray[np.float64]
Transform = Literal["identity", "log1p", "level", "at_least", "missing"]
TRANSFORMS: tuple[Transform, ...] = ("identity", "log1p", "level", "at_least", "missing")


@dataclass(frozen=True)
class Term:
    """One product of the sum: ``coefficient * z`` with ``z = (transform(value) - mean) / scale``.

    Parameters
    ----------
    feature : int
        Column of the feature matrix. Several terms may read one column (the levels of a category); their
        contributions are one.
    transform : {"identity", "log1p", "level", "at_least", "missing"}
        ``log1p`` is ``sign(x) log(1 + |x|)``; ``level`` is 1 where the value is ``level``, else 0;
        ``at_least`` is 1 where the value is ``level`` or more, else 0; ``missing`` is 1 where there is no
        value, else 0.
    coefficient : float
        In log-odds.
    mean, scale : float
        Of the transformed value; the scale is above 0.
    fill : float
        What stands for a missing value, before the transform.
    level : float
        The code a ``level`` term looks for, or the bound of an ``at_least`` term.
    center : float
        Mean of ``z`` over the training rows: where the term contributes nothing.
    """

    feature: int
    transform: Transform
    coefficient: float
    mean: float = 0.0
    scale: float = 1.0
    fill: float = 0.0
    level: float = 0.0
    center: float = 0.0

    def __post_init__(self) -> None:
        if self.transform not in TRANSFORMS:
            raise BundleError(f"linear part: transform = {self.transform!r} is not known; update Vigie")
        numbers = (self.coefficient, self.mean, self.scale, self.fill, self.level, self.center)
        if not np.isfinite(numbers).all() or self.scale <= 0 or self.feature < 0:
            raise BundleError(
                f"linear part: a term on column {self.feature} holds a number that is not finite, or a scale "
                f"of {self.scale} (it must be above 0); train again"
            )


@dataclass(frozen=True)
class LinearPart:
    """A sum of terms and an intercept, in log-odds.

    Parameters
    ----------
    terms : tuple of Term
    intercept : float

    Examples
    --------
    >>> part = LinearPart((Term(0, "log1p", 2.0, center=1.0),), intercept=0.5)
    >>> part.margin(np.array([[np.expm1(3.0)]])).round(6).tolist(), part.expected
    ([6.5], 2.5)
    """

    terms: tuple[Term, ...]
    intercept: float = 0.0

    @cached_property
    def _column(self) -> NDArray[np.int64]:
        return np.array([term.feature for term in self.terms], np.int64)

    @cached_property
    def _numbers(self) -> dict[str, Floats]:
        names = ("coefficient", "mean", "scale", "fill", "level", "center")
        return {name: np.array([getattr(t, name) for t in self.terms], np.float64) for name in names}

    @cached_property
    def _is(self) -> dict[str, NDArray[np.bool_]]:
        return {name: np.array([t.transform == name for t in self.terms], np.bool_) for name in TRANSFORMS}

    @cached_property
    def expected(self) -> float:
        """The margin's mean over the training rows."""
        return self.intercept + float(np.sum(self._numbers["coefficient"] * self._numbers["center"]))

    def standardised(self, x: Floats) -> Floats:
        """Give every term's ``z``, shape (rows, terms)."""
        raw = x[:, self._column]
        missing = ~np.isfinite(raw)
        filled = np.where(missing, self._numbers["fill"], raw)
        value = np.where(self._is["log1p"], np.sign(filled) * np.log1p(np.abs(filled)), filled)
        value = np.where(self._is["level"], raw == self._numbers["level"], value)
        value = np.where(self._is["at_least"], raw >= self._numbers["level"], value)
        value = np.where(self._is["missing"], missing, value)
        z: Floats = (value - self._numbers["mean"]) / self._numbers["scale"]
        return z

    def contributions(self, x: Floats) -> Floats:
        """Give each feature's exact contribution, ``coefficient * (z - center)``, shape (rows, features)."""
        rows, width = x.shape
        parts = self._numbers["coefficient"] * (self.standardised(x) - self._numbers["center"])
        # bincount adds in the order of the terms, so that a row's sum does not depend on the other rows.
        target = self._column + np.arange(rows)[:, None] * width
        sums = np.bincount(target.ravel(), parts.ravel(), minlength=rows * width).astype(np.float64)
        return sums.reshape(rows, width)

    def margin(self, x: Floats) -> Floats:
        """Give the margin, shape (rows,)."""
        parts = self._numbers["coefficient"] * self.standardised(x)
        rows = np.repeat(np.arange(len(x)), len(self.terms))
        sums = np.bincount(rows, parts.ravel(), minlength=len(x)).astype(np.float64)
        return self.intercept + sums

    def to_json_dict(self) -> dict[str, Any]:
        """Give the part as plain JSON."""
        return {"intercept": self.intercept, "terms": [asdict(term) for term in self.terms]}

    @classmethod
    def from_json_dict(cls, data: Mapping[str, Any]) -> LinearPart:
        """Read what :meth:`to_json_dict` gave."""
        return cls(tuple(Term(**term) for term in data["terms"]), float(data["intercept"]))
