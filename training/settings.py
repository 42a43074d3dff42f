"""How to train: every choice in one frozen object, read from one TOML file and logged whole."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from crm.errors import InputError

T = TypeVar("T")

#: What the setting ``lead_outcome`` may be.
LEAD_OUTCOMES = ("auto", "deals", "leads")


@dataclass(frozen=True)
class HazardSettings:
    """The hazard model.

    Parameters
    ----------
    intervals : int
        How many intervals at most.
    periods : int
        Rows of one snapshot and one interval, at most; beyond, those in which nothing ended are sampled.
    rounds : int
        Boosting rounds where no later window can decide.
    fewest_rounds, most_rounds, patience : int
        Bounds of the rounds that a later window chooses, and how many may pass without a gain.
    leaves, depth : int
        Of each tree, at most.
    rows_per_leaf : int
        At least; a small history takes fewer, in proportion.
    features_per_tree : float
        Share of the features that each tree sees.
    learning_rate : float
    half_life_days : float, optional
        How fast the past loses weight; None for never.
    seed : int
    threads : int
        Two are faster on idle cores, and many times slower than one where something else is running.
    """

    intervals: int = 30
    periods: int = 120_000
    rounds: int = 80
    fewest_rounds: int = 30
    most_rounds: int = 200
    patience: int = 12
    leaves: int = 7
    depth: int = 6
    rows_per_leaf: int = 300
    features_per_tree: float = 0.25
    learning_rate: float = 0.08
    half_life_days: float | None = None
    seed: int = 7
    threads: int = 1

    def parameters(self, rows: int) -> dict[str, Any]:
        """Give LightGBM's parameters for a table of so many rows."""
        return {
            "objective": "multiclass",
            "num_class": 3,
            "num_leaves": self.leaves,
            "max_depth": self.depth,
            "min_data_in_leaf": max(10, min(self.rows_per_leaf, rows // 200)),
            "feature_fraction": self.features_per_tree,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "num_threads": self.threads,
            "deterministic": True,
            "force_col_wise": True,
            "verbosity": -1,
        }


@dataclass(frozen=True)
class DistillSettings:
    """The booster that copies the hazard.

    Parameters
    ----------
    rounds : int
        Boosting rounds, at most.
    leaves, depth : int
        Of each tree, at most; the depth bounds the cost of exact reasons.
    rows_per_leaf : int
        At least; labels without noise allow few.
    features_per_tree : float
        Share of the features that each tree sees.
    learning_rate : float
    patience : int
        Rounds without a better copy before it stops.
    min_delta : float
        What counts as better, in log loss.
    seed : int
    threads : int
    """

    rounds: int = 300
    leaves: int = 31
    depth: int = 6
    rows_per_leaf: int = 10
    features_per_tree: float = 0.7
    learning_rate: float = 0.1
    patience: int = 20
    min_delta: float = 1e-6
    seed: int = 7
    threads: int = 1

    def parameters(self, rows: int) -> dict[str, Any]:
        """Give LightGBM's parameters for a table of so many rows."""
        return {
            "objective": "cross_entropy",
            "metric": "cross_entropy",
            "num_leaves": self.leaves,
            "max_depth": self.depth,
            "min_data_in_leaf": max(3, min(self.rows_per_leaf, rows // 50)),
            "feature_fraction": self.features_per_tree,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "num_threads": self.threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


@dataclass(frozen=True)
class AuditSettings:
    """What the user decides about fields, whatever the leakage audit finds.

    Parameters
    ----------
    keep, drop : tuple of str
        Fields to keep, and fields to leave out.
    """

    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides what training does with a history.

    Parameters
    ----------
    every_days : float
        Distance between two snapshots of an open record.
    horizon_days : float
        A lead's propensity is that of a purchase within so many days.
    lead_outcome : {"auto", "deals", "leads"}
        What a purchase is: a linked deal is won (``deals``), or the CRM records the lead as converted
        (``leads``). ``auto`` leaves it to the mapping, and where that is silent to the history: ``deals``
        where any deal is linked to a lead.
    lead_decay : float
        A lead's k-th look counts 1 / k to this power.
    snapshots : int
        At most; more are sampled.
    min_won, min_closed : int
        Outcomes below which it is too early to learn.
    validation_share : float
        Share of the closings that the later window holds.
    linear_rows : int
        Snapshots that the linear part and the booster learn from, at most.
    linear_strength : float
        Variance of the linear part's margin that is expected beforehand, in log-odds squared; shared by its
        terms, so that many of them cannot fit what is chance.
    linear_weights : tuple of float
        Weights of the linear part among which validation chooses.
    half_lives : tuple of float
        Half-lives among which validation chooses, as shares of the history's span, beside none.
    resamples : int
        Of the bootstrap that decides whether there is skill.
    seed : int
    hazard : HazardSettings
        Who wins.
    timing : HazardSettings
        When: a finer hazard, whose distribution in time is served. It takes the half-life that validation
        chooses for the other, and no more rounds than it.
    distill : DistillSettings
    audit : AuditSettings
    """

    every_days: float = 7.0
    horizon_days: float = 90.0
    lead_outcome: str = "auto"
    lead_decay: float = 1.0
    snapshots: int = 40_000
    min_won: int = 10
    min_closed: int = 20
    validation_share: float = 0.25
    linear_rows: int = 8_000
    linear_strength: float = 2.0
    linear_weights: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75)
    half_lives: tuple[float, ...] = (0.25, 0.08)
    resamples: int = 500
    seed: int = 7
    hazard: HazardSettings = field(default_factory=HazardSettings)
    timing: HazardSettings = field(
        default_factory=lambda: HazardSettings(
            intervals=45, leaves=15, rows_per_leaf=100, features_per_tree=0.7, rounds=100
        )
    )
    distill: DistillSettings = field(default_factory=DistillSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)

    def __post_init__(self) -> None:
        if self.lead_outcome not in LEAD_OUTCOMES:
            raise InputError(
                f"setting lead_outcome = {self.lead_outcome!r}: write one of {', '.join(LEAD_OUTCOMES)}"
            )

    def to_json_dict(self) -> dict[str, Any]:
        """Give every setting as plain JSON."""
        return asdict(self)


def quick_settings() -> TrainSettings:
    """Give settings that look at the past less often than usual, for a demo: a minute instead of several."""
    usual = TrainSettings()
    hazard = replace(usual.hazard, periods=50_000)
    return replace(usual, every_days=14.0, snapshots=12_000, linear_rows=4_000, hazard=hazard)


def read_settings(path: Path) -> TrainSettings:
    """Read the training configuration from a TOML file.

    Raises
    ------
    InputError
        If the file cannot be read, or names a setting that does not exist or has another type.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: cannot be read as TOML ({error}); see docs/training.md") from error
    return _build(TrainSettings, data, str(path))


def _build(kind: type[T], data: Mapping[str, Any], where: str) -> T:
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    default = kind()
    for name, value in data.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            raise InputError(f"{where}: setting {name!r} does not exist; {hint}")
        now = getattr(default, name)
        values[name] = _read(now, value, f"{where}: {name}")
    try:
        return kind(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _read(now: Any, value: Any, where: str) -> Any:
    if is_dataclass(now) and isinstance(value, Mapping):
        return _build(type(now), value, where)
    if isinstance(now, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(now, str) and isinstance(value, str):
        return value
    if isinstance(now, bool) or not isinstance(now, int | float | None):
        raise InputError(f"{where} = {value!r}: has the wrong type; see docs/training.md")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where} = {value!r}: must be a number")
    return int(value) if isinstance(now, int) and float(value).is_integer() else float(value)
