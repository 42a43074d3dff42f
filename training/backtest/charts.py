"""Charts as inline SVG: the box is the plot, x in percent and y in pixels, so that text never scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

_WIDTH = 1000


@dataclass
class Chart:
    """A plot whose axes are set, to which marks are added.

    Parameters
    ----------
    title : str
        What it shows, for who cannot see it.
    description : str
        The numbers in words, for the same.
    low, high : (float, float)
        The ends of the axes: x, y.
    height : int
        In pixels.
    kind : str
        Further classes, which decide the margins.
    """

    title: str
    description: str
    low: tuple[float, float]
    high: tuple[float, float]
    height: int = 260
    kind: str = ""
    _lines: list[str] = field(default_factory=list)
    _curves: list[str] = field(default_factory=list)

    def x(self, value: float) -> str:
        """Give a place across, as a percentage of the box."""
        return f"{self._share(value, 0) * 100:.2f}%"

    def y(self, value: float) -> str:
        """Give a place down, in pixels."""
        return f"{(1 - self._share(value, 1)) * self.height:.1f}"

    def grid(self, values: Sequence[float], label: Callable[[float], str]) -> None:
        """Draw lines across, labelled at their left."""
        for value in values:
            self._lines.append(f'<line class="g" x2="100%" y1="{self.y(value)}" y2="{self.y(value)}"/>')
            self.text(self.low[0], value, label(value), "end", dx=-8, dy=4)

    def ticks(self, values: Sequence[float], labels: Sequence[str]) -> None:
        """Label places across, below the plot; every second is left out where there is little room."""
        for number, (value, label) in enumerate(zip(values, labels, strict=True)):
            wide = " wide" if number % 2 else ""
            self._lines.append(
                f'<text x="{self.x(value)}" y="{self.height + 18}" class="mid{wide}">{escape(label)}</text>'
            )

    def axis_titles(self, across: str, up: str) -> None:
        """Say what the axes measure."""
        self._lines.append(f'<text x="100%" y="{self.height + 36}" class="end t2">{escape(across)}</text>')
        self._lines.append(f'<text x="0" y="-14" dx="-8" class="t2">{escape(up)}</text>')

    def curve(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """Draw a line through points."""
        if points:
            path = " ".join(f"{self._px(x)},{self.y(y)}" for x, y in points)
            self._curves.append(f'<path class="ln {kind}" d="M{path}"/>')

    def area(self, points: Sequence[tuple[float, float, float]], kind: str) -> None:
        """Fill between the low and the high of points (x, low, high)."""
        if points:
            there = [f"{self._px(x)},{self.y(low)}" for x, low, _ in points]
            back = [f"{self._px(x)},{self.y(high)}" for x, _, high in reversed(points)]
            self._curves.append(f'<path class="{kind}" d="M{" ".join(there + back)}Z"/>')

    def range(self, x: float, low: float, high: float, kind: str) -> None:
        """Draw an upright range."""
        place = self.x(x)
        self._lines.append(
            f'<line class="{kind} range" x1="{place}" x2="{place}" y1="{self.y(low)}" y2="{self.y(high)}"/>'
        )

    def bar(self, y: float, low: float, high: float, kind: str, width: int = 8) -> None:
        """Draw a lying bar."""
        self._lines.append(
            f'<line class="{kind}" x1="{self.x(low)}" x2="{self.x(high)}" y1="{self.y(y)}" y2="{self.y(y)}" '
            f'stroke-width="{width}"/>'
        )

    def dot(self, x: float, y: float, kind: str, radius: float = 4.5) -> None:
        """Draw a dot."""
        self._lines.append(f'<circle class="{kind}" cx="{self.x(x)}" cy="{self.y(y)}" r="{radius:.1f}"/>')

    def text(self, x: float, y: float, words: str, kind: str = "", dx: int = 0, dy: int = 0) -> None:
        """Write beside a place."""
        self._lines.append(
            f'<text x="{self.x(x)}" y="{self.y(y)}" dx="{dx}" dy="{dy}" class="{kind}">{escape(words)}</text>'
        )

    def svg(self, number: int) -> str:
        """Give the chart; ``number`` tells its title from those of others on the page."""
        curves = ""
        if self._curves:
            curves = (
                f'<svg viewBox="0 0 {_WIDTH} {self.height}" preserveAspectRatio="none" width="100%" '
                f'height="{self.height}">{"".join(self._curves)}</svg>'
            )
        # What lies below everything else is drawn first: the grid, then lines and areas, then marks.
        grid = [line for line in self._lines if line.startswith('<line class="g" x2')]
        marks = [line for line in self._lines if not line.startswith('<line class="g" x2')]
        return (
            f'<svg class="plot ax {self.kind}" height="{self.height}" role="img" '
            f'aria-labelledby="t{number} d{number}"><title id="t{number}">{escape(self.title)}</title>'
            f'<desc id="d{number}">{escape(self.description)}</desc>'
            f"{''.join(grid)}{curves}{''.join(marks)}</svg>"
        )

    def _share(self, value: float, axis: int) -> float:
        span = self.high[axis] - self.low[axis]
        return (value - self.low[axis]) / span if span else 0.5

    def _px(self, value: float) -> str:
        return f"{self._share(value, 0) * _WIDTH:.1f}"


def round_steps(high: float, about: int = 5) -> list[float]:
    """Give round numbers from 0 to just above a value.

    Examples
    --------
    >>> round_steps(0.37), round_steps(1_234_000)
    ([0.0, 0.1, 0.2, 0.3, 0.4], [0.0, 250000.0, 500000.0, 750000.0, 1000000.0, 1250000.0])
    """
    if high <= 0:
        return [0.0, 1.0]
    raw = high / about
    power = 10.0 ** _floor_log10(raw)
    step = next(one * power for one in (1.0, 2.0, 2.5, 5.0, 10.0) if one * power >= raw * (1 - 1e-9))
    count = -int(-high / step // 1)
    return [round(number * step, 10) for number in range(count + 1)]


def _floor_log10(value: float) -> int:
    exponent = 0
    while value >= 10:
        value, exponent = value / 10, exponent + 1
    while value < 1:
        value, exponent = value * 10, exponent - 1
    return exponent


def short_amount(value: float) -> str:
    """Give an amount in a few letters.

    Examples
    --------
    >>> short_amount(1_234_567), short_amount(250_000), short_amount(0), short_amount(-3200)
    ('1.23M', '250k', '0', '−3.2k')
    """
    sign, size = ("−" if value < 0 else ""), abs(value)
    for unit, scale in (("bn", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= scale:
            return f"{sign}{size / scale:.3g}{unit}"
    return f"{sign}{size:.3g}"
