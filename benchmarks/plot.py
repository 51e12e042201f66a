"""A line chart as SVG, by hand: x linear, y logarithmic, readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 120, 50, 50
#: Told apart in grey, too: Okabe and Ito's palette for the colour-blind.
COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#009E73")


@dataclass(frozen=True, slots=True)
class Curve:
    name: str
    points: Sequence[tuple[float, float]]


def chart(curves: Sequence[Curve], *, title: str, x: str, y: str, ticks: Mapping[float, str]) -> str:
    """Draw the curves; `ticks` names values of y, of which those in range are drawn."""
    points = [point for curve in curves for point in curve.points]
    low, high = min(each for _, each in points), max(each for _, each in points)
    bottom = max((tick for tick in ticks if tick <= low), default=low)
    top = min((tick for tick in ticks if tick >= high), default=high)
    bottom = min(bottom, low)
    first, last = min(each for each, _ in points), max(each for each, _ in points)

    def across(value: float) -> float:
        return LEFT + (value - first) / max(1e-9, last - first) * (WIDTH - LEFT - RIGHT)

    def down(value: float) -> float:
        share = math.log(value / bottom) / max(1e-9, math.log(top / bottom))
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#fff"/>',
        f'<text x="{LEFT}" y="26" font-size="15" fill="#111">{escape(title)}</text>',
    ]
    for value, word in ticks.items():
        if bottom <= value <= top:
            at = down(value)
            parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
            parts.append(
                f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end" fill="#444">{escape(word)}</text>'
            )
    for value in sorted({each for each, _ in points}):
        where = f'x="{across(value):.1f}" y="{HEIGHT - BOTTOM + 20}"'
        parts.append(f'<text {where} text-anchor="middle" fill="#444">{value:g}</text>')
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle" fill="#111">{escape(x)}</text>'
    )
    parts.append(f'<text x="{LEFT - 8}" y="{TOP - 8}" text-anchor="end" fill="#111">{escape(y)}</text>')
    taken: list[float] = []
    for curve, colour in zip(curves, COLOURS, strict=False):
        path = " ".join(f"{across(a):.1f},{down(b):.1f}" for a, b in curve.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{across(a):.1f}" cy="{down(b):.1f}" r="3" fill="{colour}"/>'
            for a, b in curve.points
        ]
        at = down(curve.points[-1][1])
        while any(abs(at - other) < 16 for other in taken):
            at -= 16
        taken.append(at)
        parts.append(
            f'<text x="{WIDTH - RIGHT + 10}" y="{at + 4:.1f}" fill="{colour}">{escape(curve.name)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"
