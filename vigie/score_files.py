"""Score files: CSV or Parquet, one row a record and moment, there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from serving.scoring import Scores

SUFFIXES = (".csv", ".csv.gz", ".parquet")


def check_out(path: Path) -> None:
    """Refuse a place where no score file can be written, before the work is done.

    Raises
    ------
    InputError
    """
    if not path.name.lower().endswith(SUFFIXES):
        raise InputError(f"{path}: a score file ends in {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file in it")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it first")


def score_frame(scores: Scores) -> pd.DataFrame:
    """Give scores as the table of a score file.

    Returns
    -------
    DataFrame, one row a snapshot, in their order
        Leads: ``lead_id``, ``as_of``, ``propensity``, ``horizon_days``, ``reasons``, ``model_version``,
        ``reason_missing``. Deals: ``deal_id``, ``as_of``, ``win_probability``, ``close_p10``, ``close_p50``,
        ``close_p90``, ``expected_amount``, ``reasons``, ``model_version``, ``reason_missing``. Moments are
        UTC, those of closing to the second; ``reasons`` is JSON text, strongest first.
    """
    import numpy as np
    import pandas as pd

    def moments(values: Any, unit: str = "us") -> pd.Series:
        index = pd.DatetimeIndex(np.asarray(values).astype(f"datetime64[{unit}]").astype("datetime64[us]"))
        return pd.Series(index.tz_localize("UTC"))

    def texts(values: list[Any]) -> pd.Series:
        return pd.Series(values, dtype="str")

    n = len(scores)
    columns: dict[str, Any] = {f"{scores.entity}_id": texts(list(scores.record_id))}
    columns["as_of"] = moments(scores.as_of)
    if scores.entity == "lead":
        horizon = np.nan if scores.horizon_days is None else scores.horizon_days
        columns |= {"propensity": scores.probability, "horizon_days": np.full(n, horizon, np.float64)}
    else:
        columns |= {
            "win_probability": scores.probability,
            "close_p10": moments(scores.close_p10, "s"),
            "close_p50": moments(scores.close_p50, "s"),
            "close_p90": moments(scores.close_p90, "s"),
            "expected_amount": scores.expected_amount,
        }
    columns |= {
        "reasons": texts([_reasons(scores, row) for row in range(n)]),
        "model_version": texts([scores.model_version] * n),
        "reason_missing": texts(list(scores.reason_missing)),
    }
    return pd.DataFrame(columns)


def _reasons(scores: Scores, row: int) -> str | None:
    import orjson

    if scores.reason_missing[row] is not None:
        return None
    found = sorted((*scores.raising[row], *scores.lowering[row]), key=lambda reason: -abs(reason.effect))
    return orjson.dumps([reason._asdict() for reason in found]).decode()


def write_scores(frame: pd.DataFrame, path: Path) -> None:
    """Write a score file; where that fails, what was there before stays.

    Raises
    ------
    InputError
        Where it cannot be written.
    """
    check_out(path)
    path = path.absolute()
    name = path.name.lower()
    suffix = next(suffix for suffix in SUFFIXES if name.endswith(suffix))
    fresh: Path | None = None
    try:
        handle, text = tempfile.mkstemp(prefix=f".{path.name}-", suffix=suffix, dir=path.parent)
        fresh = Path(text)
        os.close(handle)
        if suffix == ".parquet":
            frame.to_parquet(fresh, index=False)
        else:
            _as_text(frame).to_csv(fresh, index=False, lineterminator="\n")
        # The rights of a new file, which a temporary one does not have.
        mask = os.umask(0)
        os.umask(mask)
        fresh.chmod(0o666 & ~mask)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); what was there before is unchanged"
        ) from error
    finally:
        if fresh is not None:
            fresh.unlink(missing_ok=True)


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Give moments as ISO 8601, each column at one precision, so that any reader guesses right."""
    import pandas as pd

    moments = {str(name) for name in frame.columns if isinstance(frame[name].dtype, pd.DatetimeTZDtype)}
    return frame.assign(**{name: _iso(frame[name]) for name in moments})


def _iso(values: pd.Series) -> pd.Series:
    whole = bool((values.dropna().dt.microsecond == 0).all())
    texts: pd.Series = values.dt.strftime(
        "%Y-%m-%dT%H:%M:%S+00:00" if whole else "%Y-%m-%dT%H:%M:%S.%f+00:00"
    )
    return texts
