"""What is asked of figures, and how they come back; every limit is in the published OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from serving.answering.schemas import Id, Language, Moment

_QUERY = ConfigDict(extra="forbid", frozen=True)
_CLOSED = ConfigDict(extra="forbid")

PeriodNames = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    Field(
        description="2026-Q4, 2026-10, 2026-W40, 2026, FY2026 or 2026-10-05; several with commas between",
        examples=["2026-Q4"],
    ),
]
Day = Annotated[str, StringConstraints(min_length=8, max_length=40), Field(description="a day: 2026-10-01")]
Group = Annotated[
    str, StringConstraints(max_length=100), Field(description="owner, team, manager, region or an attribute")
]
Zone = Annotated[
    str, StringConstraints(min_length=1, max_length=60), Field(description="where days begin: Europe/Paris")
]
FiscalStart = Annotated[int, Field(ge=1, le=12, description="month in which the fiscal year begins")]
Level = Annotated[float, Field(gt=0, lt=1, description="share of outcomes that a range is to hold")]
Count = Annotated[int, Field(ge=0, le=500, description="so many deals, at most")]
AsOf = Annotated[
    Moment, Field(description="what was known before; else just after the last thing that was recorded")
]
Money = Annotated[float | None, Field(description="in the currency named; null where there is none")]
ScopeName = Annotated[
    Literal["all", "own"],
    Field(description="whether the total is everybody's, or that of the records that the key may see"),
]


class Days(BaseModel):
    """From day to day; both or neither."""

    model_config = _QUERY

    from_: Annotated[Day | None, Field(alias="from")] = None
    to: Annotated[Day | None, Field(description="the period ends where this day begins")] = None

    @model_validator(mode="after")
    def _both(self) -> Days:
        if (self.from_ is None) != (self.to is None):
            raise ValueError("from and to come together: give both, or neither")
        return self


class ForecastQuery(Days):
    """Which revenue to forecast."""

    period: PeriodNames | None = None
    next: Annotated[
        str | None,
        StringConstraints(min_length=2, max_length=60),
        Field(description="from the as-of on: 10D, 4W, 3M, 1Q, 1Y; several with commas between"),
    ] = None
    by: Group | None = None
    as_of: AsOf | None = None
    level: Level = 0.8
    deals: Count = 0
    zone: Zone = "UTC"
    fiscal_start: FiscalStart = 1
    origin: Annotated[
        Literal["any", "computed"],
        Field(description="computed: make it anew, even if the ledger holds one that is fresh"),
    ] = "any"


class ForecastRow(BaseModel):
    """The forecast of one group: closed already, from open deals, from deals to come; and their sum."""

    model_config = _CLOSED

    group: str
    closed: float
    open: float
    new: float
    mean: float
    low: float
    median: float
    high: float
    stage_weighted: Money
    run_rate: Money
    series: Money
    commit: Money
    quota: Money
    attainment: Annotated[float | None, Field(description="mean over quota")]
    pipeline: Money
    coverage: Annotated[float | None, Field(description="pipeline over what is missing of the quota")]
    coverage_needed: Annotated[float | None, Field(description="one over the win rate by value")]
    open_low: Money
    open_median: Money
    open_high: Money
    new_low: Money
    new_median: Money
    new_high: Money


class ForecastDeal(BaseModel):
    """A deal behind a forecast."""

    model_config = _CLOSED

    deal_id: str
    group: str
    owner_id: str | None
    state: Literal["won", "open"]
    stage: str | None
    amount: float | None
    expected_amount: float | None
    win_probability: float | None
    in_period: Annotated[float | None, Field(description="chance that it is won in the period, if it is won")]
    mean: Annotated[float, Field(description="what it adds to the mean")]


class ForecastPeriod(BaseModel):
    """The forecast of one period."""

    model_config = _CLOSED

    name: str
    start: Moment
    end: Moment
    origin: Annotated[Literal["ledger", "computed"], Field(description="kept, or made just now")]
    entry_id: Annotated[str | None, Field(description="of the ledger")]
    rows: Annotated[list[ForecastRow], Field(description="the total first")]
    deals: Annotated[list[ForecastDeal], Field(description="those that add most, or take most")]


class ForecastAnswer(BaseModel):
    """A forecast."""

    model_config = _CLOSED

    as_of: Moment
    by: str | None
    level: float
    currency: Annotated[str, Field(description="ISO 4217; empty where the history names none")]
    model_version: str
    scope: ScopeName
    notes: list[str]
    periods: list[ForecastPeriod]


class MovesQuery(BaseModel):
    """Which two forecasts to compare: the last two of a period, or any two of one question."""

    model_config = _QUERY

    period: Annotated[
        str | None,
        StringConstraints(min_length=1, max_length=60),
        Field(description="as the ledger names it"),
    ] = None
    by: Group | None = None
    before: Annotated[
        str | None,
        StringConstraints(min_length=4, max_length=80),
        Field(description="of an id, the beginning"),
    ] = None
    after: Annotated[str | None, StringConstraints(min_length=4, max_length=80)] = None
    deals: Count = 20

    @model_validator(mode="after")
    def _both(self) -> MovesQuery:
        if (self.before is None) != (self.after is None):
            raise ValueError("before and after come together: give both, or neither")
        return self


class KeptForecast(BaseModel):
    """A forecast of the ledger."""

    model_config = _CLOSED

    entry_id: str
    made_at: Moment
    as_of: Moment
    period: str
    period_start: Moment
    period_end: Moment
    by: str | None
    level: float
    currency: str
    model_version: str
    seed: int
    n_deals: int | None
    total: dict[str, float | None]


class MovedDeal(BaseModel):
    """What one deal adds to a part."""

    model_config = _CLOSED

    group: str
    deal_id: Annotated[str | None, Field(description="null: deals not yet created")]
    part: str
    why: str
    moved: float
    before: float
    after: float


class MovesAnswer(BaseModel):
    """Why a forecast moved, to the cent."""

    model_config = _CLOSED

    scope: ScopeName
    before: KeptForecast
    after: KeptForecast
    difference: float
    model_separable: bool
    parts: Annotated[
        dict[str, dict[str, float]], Field(description="by group: before, each part of the move, after")
    ]
    deals: list[MovedDeal]


class _KpiQuery(BaseModel):
    model_config = _QUERY

    kpi: Annotated[
        str | None,
        StringConstraints(min_length=1, max_length=2000),
        Field(
            description="names with commas between; all, where it is not given", examples=["win_rate,revenue"]
        ),
    ] = None
    by: Group | None = None
    as_of: AsOf | None = None
    zone: Zone = "UTC"
    fiscal_start: FiscalStart = 1
    language: Language | None = None
    answer_hours: Annotated[float, Field(gt=0, lt=10_000)] = 24.0
    reply_days: Annotated[float, Field(gt=0, lt=10_000)] = 7.0
    inactive_days: Annotated[float, Field(gt=0, lt=10_000)] = 365.0


Every = Literal["day", "week", "month", "quarter", "year"]


class KpisQuery(_KpiQuery):
    """Which KPIs to measure over which periods; the running quarter where none is named."""

    period: PeriodNames | None = None
    from_: Annotated[Day | None, Field(alias="from")] = None
    to: Annotated[Day | None, Field(description="the period ends where this day begins")] = None
    every: Annotated[Every | None, Field(description="each calendar part of the periods; 60 at most")] = None

    @model_validator(mode="after")
    def _both(self) -> KpisQuery:
        if (self.from_ is None) != (self.to is None):
            raise ValueError("from and to come together: give both, or neither")
        return self


class TrendsQuery(_KpiQuery):
    """Which KPIs to follow."""

    every: Annotated[Every, Field(description="what a period is")] = "month"
    last: Annotated[int, Field(ge=1, le=37, description="judge so many of the last periods")] = 1
    level: Annotated[Level, Field(description="share of values inside their range by chance")] = 0.99
    explain: Annotated[
        bool, Field(description="find the segments behind the latest three flags of totals; takes seconds")
    ] = False


class KpiRow(BaseModel):
    """One figure, and what it stands on."""

    model_config = _CLOSED

    kpi: str
    label: str
    period: str
    period_start: Moment
    period_end: Moment
    as_of: Moment
    by: str
    group: str
    detail: str
    value: Annotated[float | None, Field(description="null: nothing to divide by, or not known yet")]
    unit: str
    numerator: float | None
    denominator: float | None
    n: float | None
    censored: float | None
    low: float | None
    high: Annotated[float | None, Field(description="null also where it has no end yet")]
    target: float | None
    attainment: float | None
    pace: float | None
    still_missing: float | None
    note: str


class TargetFinding(BaseModel):
    """A target that cannot count."""

    model_config = _CLOSED

    where: str
    field: str
    value: str
    remedy: str


class KpisAnswer(BaseModel):
    """KPIs as they were known at a moment."""

    model_config = _CLOSED

    as_of: Moment
    by: str | None
    scope: ScopeName
    rows: list[KpiRow]
    target_findings: list[TargetFinding]


class TrendRow(BaseModel):
    """A figure beside the range that its own past made normal."""

    model_config = _CLOSED

    kpi: str
    label: str
    group: str
    detail: str
    period: str
    period_start: Moment
    period_end: Moment
    value: float | None
    unit: str
    n: float | None
    low: float | None
    expected: float | None
    high: float | None
    method: str
    n_past: int
    is_flagged: bool
    side: Literal["above", "below", ""]
    verdict: Literal["better", "worse", ""]


class TrendsAnswer(BaseModel):
    """KPIs over past periods."""

    model_config = _CLOSED

    as_of: Moment
    by: str | None
    level: float
    scope: ScopeName
    rows: list[TrendRow]
    segments: list[dict[str, Any]]


class AccuracyQuery(BaseModel):
    """Whose past to judge."""

    model_config = _QUERY

    period: Annotated[
        str | None,
        StringConstraints(min_length=1, max_length=60),
        Field(description="as the ledger names it"),
    ] = None
    by: Group | None = None
    as_of: Annotated[Moment | None, Field(description="what had ended and was known then; else now")] = None


class ForecastAccuracy(BaseModel):
    """How right forecasts were, beside the simpler ones."""

    model_config = _CLOSED

    currency: str
    n_pending: Annotated[int | None, Field(description="kept, of periods that had not ended")]
    n_replayed: Annotated[int, Field(description="made only after their period had ended")]
    by_horizon: list[dict[str, str | float | None]]
    by_group: list[dict[str, str | float | None]]
    n_forecasts: int
    forecasts: Annotated[list[dict[str, Any]], Field(description="the latest 500 rows")]


class ScoreBand(BaseModel):
    """Scores shown in a band of probability, and what came."""

    model_config = _CLOSED

    low: float
    high: float
    n: Annotated[int, Field(description="records judged")]
    n_came: int
    shown: Annotated[float | None, Field(description="mean probability shown")]
    came: Annotated[float | None, Field(description="share that came")]
    came_low: float | None
    came_high: float | None
    n_pending: int


class ScoreAccuracy(BaseModel):
    """What came of the scores of one kind of record."""

    model_config = _CLOSED

    entity: Literal["lead", "deal"]
    horizon_days: float | None
    n_judged: int
    n_pending: int
    n_after_the_fact: Annotated[int, Field(description="scored only when the end was known")]
    brier: float | None
    brier_of_share: Annotated[float | None, Field(description="that of the best constant")]
    bands: list[ScoreBand]


class AccuracyAnswer(BaseModel):
    """How right past forecasts and past scores were."""

    model_config = _CLOSED

    as_of: Moment
    scope: ScopeName
    forecasts: ForecastAccuracy | None
    forecasts_missing: Annotated[str | None, Field(description="why there are none")]
    scores: list[ScoreAccuracy]


class EntityModel(BaseModel):
    """The model of one kind of record."""

    model_config = _CLOSED

    entity: Id
    horizon_days: float | None
    signal: Annotated[bool, Field(description="false: no skill was proven, and the base rate is served")]
    base_rate: float
    n_features: int
    features: list[str]
    calibration: Annotated[dict[str, Any], Field(description="the map from margins to probabilities")]
    report: Annotated[Any, Field(description="data span, sizes, skill beside the baselines, as trained")]


class ModelCard(BaseModel):
    """A bundle, from what it says of itself."""

    model_config = _CLOSED

    name: str
    version: str
    trained_through: Moment
    created_at: Moment
    entities: list[EntityModel]
    data: Annotated[Any, Field(description="span and sizes of what it was trained on")]
    audit: Annotated[Any, Field(description="what was left out, and why")]
    backtest: Annotated[Any, Field(description="how good it would have been in the past")]
    forecast: Annotated[Any, Field(description="what replayed forecasts taught")]
    config: Any


class KnownModel(BaseModel):
    """A version that the store or the registry knows."""

    model_config = _CLOSED

    version: str
    role: Literal["champion", "challenger", "earlier"]
    card: Any


class Models(BaseModel):
    """The bundle that answers, those beside it, and what could not be loaded."""

    model_config = _CLOSED

    models: Annotated[list[ModelCard], Field(description="served, the champion")]
    known: list[KnownModel]
    failures: Annotated[list[dict[str, Any]], Field(description="what could not be loaded, and why")]
