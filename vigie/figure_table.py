"""Tables of figures on a terminal: where it is narrow, words wrap; a figure is never cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.table import Table
from rich.text import Text

#: From so much on, in cents, a column of money is told in whole units.
_WHOLE_FROM = 10_000_000
#: Between two columns.
_GAP = 2
#: A longer word may be broken.
_WORD = 16


@dataclass(frozen=True)
class FigureTable:
    """A table whose first columns are words and whose others are figures, as wide as the terminal.

    Words wrap; where the figures do not fit side by side, the others follow below with the first column
    again.

    Parameters
    ----------
    head : sequence of str, length n_columns
    rows : sequence of sequences of str
    n_words : int
        How many columns are words.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    n_words: int = 1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rest = list(range(1, len(self.head)))
        shown = self._fitting(rest, options.max_width)
        yield self._table(shown, options.max_width)
        while len(rest) > len(shown):
            rest = rest[len(shown) :]
            shown = self._fitting(rest, options.max_width)
            yield Text()
            yield self._table(shown, options.max_width)

    def _fitting(self, columns: list[int], room: int) -> list[int]:
        """Give the first of the columns, as many as fit beside the very first of the table; one at least."""
        shown: list[int] = []
        room -= self._least(0)
        for column in columns:
            room -= _GAP + self._least(column)
            if shown and room < 0:
                break
            shown.append(column)
        return shown

    def _table(self, shown: list[int], room: int) -> Table:
        columns = [0, *shown]
        widths = {
            column: self._longest(column) if column < self.n_words else self._least(column)
            for column in columns
        }
        while sum(widths.values()) + _GAP * len(shown) > room:
            slack = [column for column in columns if widths[column] > self._least(column)]
            if not slack:
                break
            widths[max(slack, key=lambda column: widths[column])] -= 1
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in columns:
            justify: JustifyMethod = "left" if column < self.n_words else "right"
            heading = Text(self.head[column])
            table.add_column(heading, justify=justify, width=widths[column], overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(row[column]) for column in columns))
        return table

    def _longest(self, column: int) -> int:
        return max(1, len(self.head[column]), *(len(row[column]) for row in self.rows))

    def _least(self, column: int) -> int:
        """Give the width below which a figure would be cut, or a word broken that is not very long."""
        heads = [len(word) for word in self.head[column].split()]
        if column >= self.n_words:
            return max([1, *heads, *(len(row[column]) for row in self.rows)])
        return min(_WORD, max([1, *heads, *(len(word) for row in self.rows for word in row[column].split())]))


def money_format(cents: Iterable[object], *, signed: bool = False) -> Callable[[object], str]:
    """Give how to write the money of a table: in whole units where any of it is large.

    Examples
    --------
    >>> money_format([123456, None])(123456), money_format([123456789])(-123456789)
    ('1,234.56', '-1,234,568')
    """
    large = any(not pd.isna(value) and abs(int(value)) >= _WHOLE_FROM for value in cents)  # type: ignore[call-overload]
    sign, places = "+" if signed else "", 0 if large else 2

    def write(value: object) -> str:
        return "–" if pd.isna(value) else f"{int(value) / 100:{sign},.{places}f}"  # type: ignore[call-overload]

    return write


def percent(share: float, *, signed: bool = False) -> str:
    """Give a share in percent; a dash where there is none.

    Examples
    --------
    >>> percent(0.123), percent(0.123, signed=True), percent(float("nan"))
    ('12.3%', '+12.3%', '–')
    """
    return "–" if pd.isna(share) else f"{share:{'+' if signed else ''}.1%}"
