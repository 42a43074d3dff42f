"""What several plots share: dates along an axis, and long names broken into lines."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib.axes import Axes


def date_ticks(axes: Axes, moments: pd.Series, most: int = 7) -> None:
    """Put dates below some of the moments that are drawn, evenly chosen; a single one works, too.

    Parameters
    ----------
    axes : Axes
    moments : Series of datetime64[us, UTC]
        Ascending.
    most : int
        How many dates, at most.
    """
    local = moments.dt.tz_localize(None)
    # Months say it all where each moment begins one.
    form = "%b %Y" if (local.dt.day == 1).all() else "%d %b %y"
    some = local.iloc[:: max(-(-len(local) // most), 1)]
    axes.set_xticks(some.to_numpy(), some.dt.strftime(form).tolist())


def in_lines(name: str, width: int = 38) -> str:
    """Break a name into lines, where it is too long to stand above a small plot.

    Examples
    --------
    >>> in_lines("Days from creation to the first: web visit", 30)
    'Days from creation to the\\nfirst: web visit'
    """
    return textwrap.fill(name, width, break_long_words=False)


def counted(n: int, thing: str) -> str:
    """Give a count with its noun.

    Examples
    --------
    >>> counted(1, "forecast"), counted(9, "forecast")
    ('1 forecast', '9 forecasts')
    """
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"
