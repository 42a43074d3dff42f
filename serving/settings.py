"""The service's settings: frozen dataclasses, read from one TOML file that ``VIGIE_CONFIG`` names."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import available_timezones

from crm.errors import InputError, shorten
from serving.webhook_settings import WebhookSettings

#: Names the file; without it every setting has its default.
CONFIG_VARIABLE = "VIGIE_CONFIG"

T = TypeVar("T")


@dataclass(frozen=True)
class HttpSettings:
    """What is taken and given over HTTP.

    Parameters
    ----------
    max_body : int
        Bytes of a body, after decompression.
    deadline_seconds : float
        Until an answer must have begun.
    max_in_progress : int
        Units of work in progress in one worker; a request that would be beyond is refused at once. A request
        is one unit, and another for each 32 kB of its body.
    compress_from : int
        Bytes from which an answer is compressed for a caller that takes gzip.
    cors_origins : tuple of str
        Origins whose pages may call, for example ``"https://crm.example.com"``; none by default.
    """

    max_body: int = 16 * 1024 * 1024
    deadline_seconds: float = 20.0
    max_in_progress: int = 64
    compress_from: int = 4096
    cors_origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _at_least("http.max_body", self.max_body, 1024)
        _at_least("http.deadline_seconds", self.deadline_seconds, 0.01)
        _at_least("http.max_in_progress", self.max_in_progress, 1)
        _at_least("http.compress_from", self.compress_from, 0)
        for origin in self.cors_origins:
            if not origin.startswith(("https://", "http://")) or origin.count("/") != 2:
                raise InputError(
                    f"setting http.cors_origins has {shorten(origin)!r}: write an origin without a path, for "
                    "example https://crm.example.com"
                )


@dataclass(frozen=True)
class RateSettings:
    """How often one key may call.

    Parameters
    ----------
    per_second : float
        Requests of one key in the long run, over all workers; 0 sets no limit.
    burst : int
        Requests of one key at once after a pause.
    """

    per_second: float = 100.0
    burst: int = 200

    def __post_init__(self) -> None:
        _at_least("rate.per_second", self.per_second, 0)
        _at_least("rate.burst", self.burst, 1)


@dataclass(frozen=True)
class MetricsSettings:
    """Who may read ``/metrics``.

    Parameters
    ----------
    open : bool
        Answer it to anybody who reaches the port; else to keys of admins.
    """

    open: bool = False


@dataclass(frozen=True)
class AuditSettings:
    """The log of who read or changed what.

    Parameters
    ----------
    flush_seconds : float
        Reads are written in batches, so often.
    """

    flush_seconds: float = 1.0

    def __post_init__(self) -> None:
        _at_least("audit.flush_seconds", self.flush_seconds, 0.05)


@dataclass(frozen=True)
class TracingSettings:
    """OpenTelemetry: a span for each request, named by its operation, without ids of records.

    Parameters
    ----------
    endpoint : str
        Where spans are sent by OTLP over HTTP, for example ``"http://collector:4318/v1/traces"``; empty: none
        are made.
    share : float
        Of requests that come without a trace of their own, how many begin one.
    """

    endpoint: str = ""
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.endpoint and not self.endpoint.startswith(("https://", "http://")):
            raise InputError(
                f"setting tracing.endpoint = {shorten(self.endpoint)!r}: must be an address, for example "
                "http://collector:4318/v1/traces"
            )
        _at_least("tracing.share", self.share, 0)


@dataclass(frozen=True)
class MoneySettings:
    """The currency of figures.

    Parameters
    ----------
    currency : str
        ISO 4217; amounts in others are changed into it.
    rates : str
        A file of rates by month, as ``--rates`` of the commands.
    """

    currency: str = ""
    rates: str = ""

    def __post_init__(self) -> None:
        if bool(self.currency) != bool(self.rates):
            raise InputError("settings money.currency and money.rates: give both, or neither")


@dataclass(frozen=True)
class KeepingSettings:
    """How long what is kept stays; what is older goes while the service runs, and with ``vigie nightly``.

    Parameters
    ----------
    audit_days : float
        Of the log of who read or changed what.
    answers_days : float
        Of answers that an ``Idempotency-Key`` gives again.
    events_days : float
        Of webhooks that arrived, and of dead letters.
    records_days : float
        Leads and deals that ended, and of which nothing came in for so long, are forgotten; 0: none are.
    """

    audit_days: float = 365.0
    answers_days: float = 2.0
    events_days: float = 30.0
    records_days: float = 0.0

    def __post_init__(self) -> None:
        _at_least("keeping.audit_days", self.audit_days, 1)
        _at_least("keeping.answers_days", self.answers_days, 1)
        _at_least("keeping.events_days", self.events_days, 1)
        _at_least("keeping.records_days", self.records_days, 0)


@dataclass(frozen=True)
class NightlySettings:
    """What ``vigie nightly`` goes by.

    Parameters
    ----------
    stale_after_hours : float
        The data are stale, and the command says so by its exit code, when nothing was recorded for so long.
    zone : str
        The IANA time zone in which days begin.
    fiscal_start : int
        The month in which the fiscal year begins.
    """

    stale_after_hours: float = 48.0
    zone: str = "UTC"
    fiscal_start: int = 1

    def __post_init__(self) -> None:
        _at_least("nightly.stale_after_hours", self.stale_after_hours, 0.1)
        _at_least("nightly.fiscal_start", self.fiscal_start, 1)
        if self.fiscal_start > 12:
            raise InputError(f"setting nightly.fiscal_start = {self.fiscal_start}: must be at most 12")
        if self.zone not in available_timezones():
            raise InputError(
                f"setting nightly.zone = {shorten(self.zone)!r}: is no time zone; write for example "
                "Europe/Paris"
            )


@dataclass(frozen=True)
class ServiceSettings:
    """All of them; each section is a table of the file."""

    http: HttpSettings = field(default_factory=HttpSettings)
    rate: RateSettings = field(default_factory=RateSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    money: MoneySettings = field(default_factory=MoneySettings)
    keeping: KeepingSettings = field(default_factory=KeepingSettings)
    nightly: NightlySettings = field(default_factory=NightlySettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)


def read_service_settings(environment: Mapping[str, str] = os.environ) -> ServiceSettings:
    """Read the settings.

    Parameters
    ----------
    environment : mapping of str to str
        Its ``VIGIE_CONFIG`` names the file.

    Raises
    ------
    InputError
        If the file cannot be read, or names a setting that does not exist or cannot have that value.
    """
    named = environment.get(CONFIG_VARIABLE, "")
    if not named:
        return ServiceSettings()
    path = Path(named)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: cannot be read as TOML ({error}); see docs/serving.md") from error
    return _build(ServiceSettings, data, str(path), "")


def _build(kind: type[T], data: Mapping[str, Any], where: str, under: str) -> T:
    default = kind()
    known = {one.name: getattr(default, one.name) for one in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in data.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {under}{near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            raise InputError(f"{where}: setting {under}{name} does not exist; {hint}")
        values[name] = _value(known[name], value, where, under + name)
    try:
        return kind(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _value(default: Any, value: Any, where: str, name: str) -> Any:
    """Give a value of the type of the default; a whole number may stand for a fraction."""
    if is_dataclass(default) and isinstance(value, dict):
        return _build(type(default), value, where, f"{name}.")
    if isinstance(default, tuple) and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if not is_dataclass(default) and type(value) is type(default):
        return value
    wanted = "a table" if is_dataclass(default) else _WANTED[type(default)]
    raise InputError(f"{where}: setting {name} = {shorten(value)!r}: must be {wanted}")


_WANTED: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "a list of texts",
    dict: "a table",
}


def _at_least(name: str, value: float, least: float) -> None:
    if not value >= least:
        raise InputError(f"setting {name} = {value!r}: must be at least {least:g}")
