"""Score files: one row a record and moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from serving.scoring import Scores


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
