"""What `check.json` says of the data, in few words: the page of the data doctor has the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segtune.report.numbers import count, plain
from segtune.report.svg import LINE, SERIES, Chart, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Json = Mapping[str, Any]

_TONES = {"error": "bad", "warning": "warning"}
_CLASSES = 8
"""Most class names that are listed."""


@dataclass(frozen=True)
class Finding:
    """One thing the doctor found: "error", "warning" or "note", what it is, and the figures behind it."""

    severity: str
    title: str
    value: str

    @property
    def tone(self) -> str:
        """Its colour."""
        return _TONES.get(self.severity, "")


def describe_data(check: Json) -> list[tuple[str, str]]:
    """Return the data set in a few lines; empty without a check."""
    if not check:
        return []
    # An older check may lack parts: what is not there is not told.
    statistics: Json = check.get("statistics") or {}
    lines = [
        ("format", plain(check.get("format"))),
        ("one object is", plain(check.get("objects_are"))),
        ("images", f"{count(check.get('images'))}{_without_objects(statistics)}"),
        ("image size", _image_size(statistics.get("image_size") or {})),
        ("objects", count(check.get("objects"))),
        ("objects an image", _range(statistics.get("objects_per_image") or {}, "{:g}")),
        ("object size", _range(statistics.get("object_share") or {}, "{:.2g} %", 100, " of the image")),
        ("objects at the border", _percent(statistics.get("at_border"))),
        ("classes", _classes(statistics.get("labels") or {})),
        ("alike", _alike(check)),
        ("left out", count(len(check.get("set_aside") or ()))),
    ]
    return [(name, text) for name, text in lines if text]


def list_findings(check: Json) -> list[Finding]:
    """Return what the doctor found, the gravest first."""
    found = check.get("findings") or ()
    return [Finding(str(one.get("severity")), str(one.get("title")), str(one.get("value"))) for one in found]


def draw_object_sizes(check: Json) -> Chart | None:
    """Draw how many objects are how large, as a share of the image; the lines part small, medium and large."""
    numbers = ((check.get("statistics") or {}).get("object_share") or {}).get("histogram") or []
    if not any(numbers):
        return None
    # The doctor's edges: even steps of the logarithm, from 1e-5 of the image to all of it.
    edges = np.logspace(-5, 0, len(numbers) + 1)
    # Decades without objects would squeeze the others.
    filled = np.flatnonzero(numbers)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.set_xscale("log")
        # On a logarithmic axis bars have widths of their own.
        axes.bar(edges[:-1], numbers, np.diff(edges) * 0.94, align="edge", color=SERIES[0])
        for limit in (0.01, 0.1):
            axes.axvline(limit, color=LINE, linewidth=1.5, zorder=0)
        axes.set_xlim(min(edges[filled[0]], 0.005), 1)
        axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("share of the image that an object covers")
        axes.set_ylabel("objects")

    return draw(paint, (6.75, 3.4), f"Sizes of {count(sum(numbers))} objects")


def _without_objects(statistics: Json) -> str:
    none = ((statistics.get("objects_per_image") or {}).get("histogram") or {}).get("0")
    return f", {count(none)} without objects" if none else ""


def _image_size(sizes: Json) -> str:
    width, height = (sizes.get(side) or {} for side in ("width", "height"))
    if not width or not height:
        return ""
    if sizes.get("distinct") == 1:
        return f"{width['least']:g} × {height['least']:g} px"
    across = f"{width['least']:g} to {width['most']:g} px wide, {height['least']:g} to {height['most']:g} high"
    return f"{across}, {count(sizes.get('distinct'))} sizes"


def _range(spread: Json, form: str, factor: float = 1, tail: str = "") -> str:
    """Return the median and where nine of ten lie."""
    if "median" not in spread:
        return ""
    median, low, high = (form.format(factor * spread[name]) for name in ("median", "low", "high"))
    return f"{median}{tail}" if low == high == median else f"median {median}{tail}, nine of ten {low} to {high}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.3g} %"


def _classes(labels: Json) -> str:
    """Return class names with their numbers; nothing where the data names none."""
    if len(labels) < 2:
        return ""
    named = [f"{name} {count(number)}" for name, number in list(labels.items())[:_CLASSES]]
    return ", ".join(named) + (f" and {len(labels) - _CLASSES} more" if len(labels) > _CLASSES else "")


def _alike(check: Json) -> str:
    exact, near = (_groups(check.get(name) or ()) for name in ("exact_duplicates", "near_duplicates"))
    return f"{exact} of equal images, {near} of nearly equal ones"


def _groups(groups: Sequence[Any]) -> str:
    return "1 group" if len(groups) == 1 else f"{count(len(groups))} groups"
