"""The linear part of a margin: a frozen logistic regression whose contributions need no algorithm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crm.errors import BundleError
from serving.trees import Bins, Floats, Ints, Split

Transform = Literal["identity", "log1p", "level", "at_least", "missing"]
TRANSFORMS: tuple[Transform, ...] = ("identity", "log1p", "level", "at_least", "missing")

#: Rows handled at once, so that the intermediate arrays stay in the cache.
CHUNK = 1024


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
        level = self._numbers["level"]
        value = filled
        by_transform: dict[str, Callable[[], NDArray[Any]]] = {
            "log1p": lambda: np.sign(filled) * np.log1p(np.abs(filled)),
            "level": lambda: raw == level,
            "at_least": lambda: (raw >= level) & ~missing,
            "missing": lambda: missing,
        }
        for name, transformed in by_transform.items():
            if self._is[name].all():
                value = np.asarray(transformed(), np.float64)
            elif self._is[name].any():
                value = np.where(self._is[name], transformed(), value)
        z: Floats = (value - self._numbers["mean"]) / self._numbers["scale"]
        return z

    @cached_property
    def _steps(self) -> _Steps:
        return _Steps(self.terms)

    @cached_property
    def _slopes(self) -> _Slopes:
        return _Slopes(self.terms)

    def _parts(self, x: Floats) -> Floats:
        """Give what each feature adds to the expected margin, shape (features, rows)."""
        parts = np.zeros((x.shape[1], len(x)))
        self._slopes.add(parts, x)
        self._steps.add(parts, x)
        return parts

    def contributions(self, x: Floats) -> Floats:
        """Give each feature's exact contribution, ``coefficient * (z - center)``, shape (rows, features).

        A row's numbers are the same bit for bit whatever other rows are asked with it.
        """
        found = np.empty(x.shape)
        for first in range(0, len(x), CHUNK):
            part = slice(first, first + CHUNK)
            found[part] = self._parts(x[part]).T
        return found

    def margin(self, x: Floats) -> Floats:
        """Give the margin, shape (rows,); a row's is the same bit for bit in any company."""
        found = np.full(len(x), self.expected)
        for first in range(0, len(x), CHUNK):
            part = slice(first, first + CHUNK)
            parts = self._parts(x[part])
            # A running sum adds in the order of the columns; a plain one may pair them when there is one row.
            if len(parts):
                found[part] += np.cumsum(parts, axis=0)[-1]
        return found

    def both(self, x: Floats, count: int) -> tuple[Floats, Floats]:
        """Give all margins and the first rows' contributions, as the two methods give them."""
        margin, found = np.full(len(x), self.expected), np.empty((count, x.shape[1]))
        for first in range(0, len(x), CHUNK):
            part = slice(first, first + CHUNK)
            parts = self._parts(x[part])
            if len(parts):
                margin[part] += parts.cumsum(axis=0)[-1]
            if first < count:
                found[part] = parts.T[: count - first]
        return margin, found

    def to_json_dict(self) -> dict[str, Any]:
        """Give the part as plain JSON."""
        return {"intercept": self.intercept, "terms": [asdict(term) for term in self.terms]}

    @classmethod
    def from_json_dict(cls, data: Mapping[str, Any]) -> LinearPart:
        """Read what :meth:`to_json_dict` gave."""
        return cls(tuple(Term(**term) for term in data["terms"]), float(data["intercept"]))


class _Slopes:
    """The terms that rise with the value, one or more to a feature."""

    def __init__(self, terms: tuple[Term, ...]) -> None:
        mine = [term for term in terms if term.transform in ("identity", "log1p")]
        # At most one term a feature is added in one round.
        rounds: list[dict[int, Term]] = []
        for term in mine:
            free = next((one for one in rounds if term.feature not in one), None)
            if free is None:
                rounds.append(free := {})
            free[term.feature] = term
        self._rounds = [LinearPart(tuple(one.values())) for one in rounds]

    def add(self, parts: Floats, x: Floats) -> None:
        for one in self._rounds:
            numbers = one._numbers
            z = one.standardised(x)
            parts[one._column] += (numbers["coefficient"] * (z - numbers["center"])).T


class _Steps:
    """The terms that only ask where a value lies: all those of a feature are one table over its bins."""

    def __init__(self, terms: tuple[Term, ...]) -> None:
        mine = [term for term in terms if term.transform not in ("identity", "log1p")]
        self._bins = Bins([split for term in mine for split in _bounds(term)])
        tables = []
        for feature, points in zip(self._bins.features.tolist(), self._bins.points, strict=True):
            here = LinearPart(tuple(replace(t, feature=0) for t in mine if t.feature == feature))
            # A bin holds the values up to its point, so its point stands for it.
            values = np.concatenate([points, [np.inf, np.nan]])[:, None]
            numbers = here._numbers
            steps = numbers["coefficient"] * (here.standardised(values) - numbers["center"])
            tables.append(np.cumsum(steps, axis=1)[:, -1])
        lengths = np.array([len(table) for table in tables], np.int64)
        self._table = np.concatenate([np.zeros(0), *tables])
        self._begins: Ints = np.cumsum(lengths) - lengths

    def add(self, parts: Floats, x: Floats) -> None:
        if len(self._begins):
            parts[self._bins.features] += self._table.take(self._bins(x) + self._begins[:, None])


def _bounds(term: Term) -> list[Split]:
    """Give the bounds between which a term that steps is constant; infinities are bins of their own."""
    below = float(np.nextafter(term.level, -np.inf))
    bounds = {"level": [below, term.level], "at_least": [below], "missing": []}[term.transform]
    ends = [-np.inf, float(np.finfo(np.float64).max)]
    return [Split(term.feature, bound, None, False, False) for bound in (*bounds, *ends)]
