"""Draws the curves of growth: one panel over another, both axes logarithmic, as SVG.

The picture brings its own ground and follows the reader's choice of light or dark.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import ceil, floor, log10
from typing import Any, NamedTuple

from benchmarks.growth import Panel

WIDTH, HEIGHT = 760, 200
LEFT, RIGHT, TOP, BOTTOM = 64, 280, 34, 46
"""Room around each panel for its words; the names of the curves stand at the right."""

NAME_GAP = 16
"""Between two names of curves that would lie on each other."""

LIGHT = ("#ffffff", "#1c1c1c", "#dedede", "#1f5fa8", "#b3541e", "#2c7a3f", "#7a3fa0")
DARK = ("#16181d", "#e4e4e4", "#3a3d45", "#79b8ff", "#ff9e64", "#7ee08f", "#d2a8ff")
"""The ground, words, grid, and one colour for each curve of a panel."""

COLOURS = len(LIGHT) - 3


def _rules(ground: str, ink: str, grid: str, *colours: str) -> str:
    of_curves = (
        f".s{number} {{ stroke: {it}; }} .f{number} {{ fill: {it}; }}"
        for number, it in enumerate(colours)
    )
    words = f".ground {{ fill: {ground}; }} text {{ fill: {ink}; }} .grid {{ stroke: {grid}; }}"
    return "\n".join([words, *of_curves])


STYLE = f"""<style>
.line {{ fill: none; stroke-width: 2; }}
{_rules(*LIGHT)}
@media (prefers-color-scheme: dark) {{
{_rules(*DARK)}
}}
</style>"""


class Axes(NamedTuple):
    """The words at a panel, and the unit of what it shows."""

    title: str
    over: str
    cost: str


AXES = {
    Panel.ORDERS: Axes(
        "Cost of a fact over orders", "orders in the book", "processor time, microseconds"
    ),
    Panel.INSTRUMENTS: Axes(
        "Cost of a decision and of a bar over instruments",
        "instruments, each with an order that could fill",
        "median time, microseconds",
    ),
    Panel.RECORDS: Axes(
        "Cost of a start and of a check over the length of the journal",
        "records in the journal",
        "time, milliseconds",
    ),
}

_Curve = Mapping[str, Any]


class Scale(NamedTuple):
    """A logarithmic axis: powers of ten at both ends, and where those lie in the picture."""

    low: int
    high: int
    first: float
    last: float

    def place(self, value: float) -> float:
        """Return where ``value`` lies."""
        share = (log10(value) - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)

    @property
    def decades(self) -> range:
        """The powers of ten on it."""
        return range(self.low, self.high + 1)


def picture(curves: Sequence[_Curve]) -> str:
    """Return the picture of ``curves`` as their document has them."""
    panels = [panel for panel in Panel if any(it["panel"] == panel for it in curves)]
    height = len(panels) * (TOP + HEIGHT + BOTTOM)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="sans-serif" font-size="12" role="img">'
        ),
        "<title>How cost grows with orders, instruments and the length of the journal</title>",
        STYLE,
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
    ]
    for number, panel in enumerate(panels):
        shown = [it for it in curves if it["panel"] == panel]
        lines += _panel(AXES[panel], shown, number * (TOP + HEIGHT + BOTTOM) + TOP)
    return "\n".join([*lines, "</svg>", ""])


def _panel(axes: Axes, curves: Sequence[_Curve], top: int) -> Iterator[str]:
    points = [point for curve in curves for point in curve["points"]]
    across = _scale([it["at"] for it in points], LEFT, WIDTH - RIGHT)
    values = [it[end] for it in points for end in ("low", "high")]
    up = _scale(values, top + HEIGHT, top)
    yield f'<text x="{LEFT}" y="{top - 14}" font-weight="bold">{axes.title}</text>'
    yield from _grid(across, up, top)
    middle = (across.first + across.last) / 2
    yield (
        f'<text x="{middle:.1f}" y="{top + HEIGHT + 34}" text-anchor="middle">{axes.over}</text>'
        f'<text transform="translate(14 {top + HEIGHT / 2:.1f}) rotate(-90)" '
        f'text-anchor="middle">{axes.cost}</text>'
    )
    for number, curve in enumerate(curves):
        yield from _line(curve, across, up, number % COLOURS)
    yield from _names(curves, across, up)


def _scale(values: Sequence[float], first: float, last: float) -> Scale:
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    return Scale(low, max(high, low + 1), first, last)


def _grid(across: Scale, up: Scale, top: int) -> Iterator[str]:
    for power in up.decades:
        y = up.place(10**power)
        yield (
            f'<line class="grid" x1="{across.first}" x2="{across.last}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{across.first - 6}" y="{y + 4:.1f}" text-anchor="end">{_plain(power)}</text>'
        )
    for power in across.decades:
        x = across.place(10**power)
        yield (
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + HEIGHT}"/>'
            f'<text x="{x:.1f}" y="{top + HEIGHT + 16}" text-anchor="middle">{_plain(power)}</text>'
        )


def _line(curve: _Curve, across: Scale, up: Scale, colour: int) -> Iterator[str]:
    places = [(across.place(it["at"]), up.place(it["median"]), it) for it in curve["points"]]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    yield f'<polyline class="line s{colour}" points="{path}"/>'
    for x, y, point in places:
        ends = f'y1="{up.place(point["low"]):.1f}" y2="{up.place(point["high"]):.1f}"'
        yield (
            f'<line class="s{colour}" x1="{x:.1f}" x2="{x:.1f}" {ends}/>'
            f'<circle class="f{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
        )


def _names(curves: Sequence[_Curve], across: Scale, up: Scale) -> Iterator[str]:
    """Write each curve's name beside its end, in its colour, and none over another."""
    ends = sorted(
        (up.place(curve["points"][-1]["median"]), number) for number, curve in enumerate(curves)
    )
    below = up.last
    for end, number in ends:
        below = max(end + 4, below)
        yield (
            f'<text class="f{number % COLOURS}" x="{across.last + 10}" y="{below:.1f}">'
            f"{curves[number]['what']}</text>"
        )
        below += NAME_GAP


def _plain(power: int) -> str:
    """Return a power of ten as people write it."""
    return f"{10**power:,}".replace(",", " ") if power >= 0 else f"{10**power:g}"
