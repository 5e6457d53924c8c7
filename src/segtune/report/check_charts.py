"""The check page's charts as SVG text: bars, a scatter, a map and a strip of colours, in the page's own colours."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

_WIDTH, _HEIGHT = 340, 190
_STRIP_WIDTH, _STRIP = 1000, 40
_MAP = (38, 132, 200)
"""Seen on light and on dark paper alike: pixels cannot follow the page's colours."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 8, 12, 36


@dataclass(frozen=True)
class Axis:
    """One axis: where its values lie between its ends, and what is written at it.

    Attributes:
        low: value at its start.
        high: value at its end.
        marks: (value, text) to be written.
        name: what it shows.
        logarithmic: whether equal steps are equal factors.
    """

    low: float
    high: float
    marks: tuple[tuple[float, str], ...]
    name: str
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies, 0 to 1."""
        low, high = self.low, self.high
        if self.logarithmic:
            # What lies below the axis, 0 included, is drawn at its start.
            low, high, value = np.log10(low), np.log10(high), np.log10(max(value, low))
        return float(np.clip((value - low) / max(high - low, 1e-12), 0, 1))


def bars(values: Sequence[float], edges: Axis, description: str) -> str:
    """Return a histogram: bars of equal width along `edges`, their heights counts from 0."""
    heights = count_axis(max(values, default=0))
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(values))
    body = []
    for number, value in enumerate(values):
        top = _y(heights.place(value))
        # A gap of a unit and a half between bars, which stay visible when they are many.
        x, width = _LEFT + number * step + 0.75, max(1.0, step - 1.5)
        body.append(
            f'<rect class="bar" x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{_y(0) - top:.1f}" rx="1.5"/>'
        )
    return _chart("".join(body), edges, heights, description)


def named_bars(counts: Sequence[tuple[str, int]], description: str) -> str:
    """Return one horizontal bar per name, the count written behind it."""
    most = max((number for _, number in counts), default=1)
    row, left = 22, 110
    body = []
    for line, (name, number) in enumerate(counts):
        y, width = line * row, (_WIDTH - left - 52) * number / max(1, most)
        shown = name if len(name) <= 17 else f"{name[:16]}…"
        body.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(shown)}</text>')
        body.append(f'<rect class="bar" x="{left}" y="{y + 4}" width="{max(1.0, width):.1f}" height="14" rx="1.5"/>')
        body.append(f'<text x="{left + width + 6:.1f}" y="{y + 15}">{number:,}</text>')
    return _svg("".join(body), _WIDTH, max(1, len(counts)) * row, description)


def scatter(points: npt.NDArray[np.float64], across: Axis, up: Axis, description: str) -> str:
    """Return dots at [n, 3]: value across, value up, how many lie there (the dot's area)."""
    most = points[:, 2].max(initial=1)
    body = []
    for x, y, number in points:
        # The root, as it is the area that is read.
        radius = 2 + 9 * np.sqrt(number / most)
        body.append(f'<circle class="dot" cx="{_x(across.place(x)):.1f}" cy="{_y(up.place(y)):.1f}" r="{radius:.1f}"/>')
    return _chart("".join(body), across, up, description)


def heat_map(shares: npt.NDArray[np.float64], aspect: float, description: str) -> str:
    """Return a map [rows, columns] whose colour grows with the share; `aspect` is its width by its height."""
    height = min(float(_HEIGHT), _WIDTH / aspect)
    width = height * aspect
    opacity = np.round(255 * shares / (float(shares.max(initial=0)) or 1.0)).astype(np.uint8)  # [rows, columns]
    pixels = np.dstack([np.full((*shares.shape, 3), _MAP, dtype=np.uint8), opacity])  # [rows, columns, 4]
    place = f'x="{(_WIDTH - width) / 2:.1f}" y="0.5" width="{width:.1f}" height="{height - 1:.1f}"'
    body = f'<image {place} href="{_png(pixels)}" preserveAspectRatio="none"/><rect class="sheet" {place}/>'
    return _svg(body, _WIDTH, _HEIGHT, description)


def swatches(colours: Sequence[tuple[float, float, float]], description: str) -> str:
    """Return a strip of colours (red, green, blue, 0 to 255), side by side; it takes whatever height it is given."""
    step = _STRIP_WIDTH / max(1, len(colours))
    body = []
    for number, colour in enumerate(colours):
        fill = "#" + "".join(f"{round(value):02x}" for value in colour)
        # Half a unit wider than its place: rounding would leave hair lines between colours.
        body.append(f'<rect x="{number * step:.2f}" width="{step + 0.5:.2f}" height="{_STRIP}" fill="{fill}"/>')
    strip = _svg("".join(body), _STRIP_WIDTH, _STRIP, description)
    return strip.replace("<svg ", '<svg preserveAspectRatio="none" ', 1)


def count_axis(most: float) -> Axis:
    """Return an axis of counts from 0 to a round number of `most` or more."""
    top = max(1.0, most)
    scale = 10 ** np.floor(np.log10(top))
    top = float(next(step * scale for step in (1, 2, 2.5, 4, 5, 10) if step * scale >= top))
    # Counts are whole: half of 1 is no mark.
    marks = {0.0, top / 2, top} if top > 1 else {0.0, top}
    return Axis(0, top, tuple((mark, f"{mark:,.0f}") for mark in sorted(marks) if mark == int(mark)), "")


def _chart(body: str, across: Axis, up: Axis, description: str) -> str:
    lines, words = [], []
    for value, text in up.marks:
        y = _y(up.place(value))
        lines.append(f'<path class="axis" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        words.append(f'<text x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{escape(text)}</text>')
    for value, text in across.marks:
        x = _x(across.place(value))
        # A mark at the end of the axis would be cut off by the edge of the chart.
        anchor = "end" if across.place(value) > 0.97 else "middle"
        words.append(f'<text x="{x:.1f}" y="{_HEIGHT - 20}" text-anchor="{anchor}">{escape(text)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    words.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(across.name)}</text>')
    return _svg("".join([*lines, body, *words]), _WIDTH, _HEIGHT, description)


def _svg(body: str, width: float, height: float, description: str) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(description)}">'
        f"{body}</svg>"
    )


def _png(pixels: npt.NDArray[np.uint8]) -> str:
    """Return pixels [H, W, 4] as a PNG in a data URI."""
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _x(place: float) -> float:
    return _LEFT + place * (_WIDTH - _LEFT - _RIGHT)


def _y(place: float) -> float:
    return _HEIGHT - _BOTTOM - place * (_HEIGHT - _TOP - _BOTTOM)
