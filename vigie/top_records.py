"""The best-scored records with their reasons, as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

if TYPE_CHECKING:
    import numpy as np

    from serving.scoring import Reason, Scores


def render_top(scores: Scores, n: int = 5) -> Group:
    """Give the n records most likely to end well, each with why."""
    import numpy as np

    order = np.argsort(-scores.probability, kind="stable")
    best = [int(row) for row in order if np.isfinite(scores.probability[row])][:n]
    lines: list[RenderableType] = []
    for place, row in enumerate(best, start=1):
        lines.append(Text.assemble(f"{place}. ", (scores.record_id[row], "bold"), f"  {_score(scores, row)}"))
        for reason in (*scores.raising[row], *scores.lowering[row]):
            lines.append(Padding(_reason(reason), (0, 0, 0, 5), expand=False))
    return Group(*lines)


def _score(scores: Scores, row: int) -> str:
    chance = f"{scores.probability[row]:.0%}"
    if scores.entity == "lead":
        within = "" if scores.horizon_days is None else f" within {scores.horizon_days:g} days"
        return f"{chance} to buy{within}"
    amount = scores.expected_amount[row]
    worth = f", worth {amount:,.0f}" if amount == amount else ""
    days = [_day(moment[row]) for moment in (scores.close_p50, scores.close_p10, scores.close_p90)]
    closes = f", closes about {days[0]} ({days[1]} to {days[2]})" if all(days) else ""
    return f"{chance} to be won{worth}{closes}"


def _day(moment: np.datetime64) -> str:
    text = str(moment.astype("datetime64[D]"))
    return "" if text == "NaT" else text


def _reason(reason: Reason) -> Text:
    style = "green" if reason.effect > 0 else "red"
    return Text.assemble((f"{100 * reason.effect:+5.1f} points  ", style), f"{reason.label}: {reason.value}")
