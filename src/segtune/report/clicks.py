"""The interactive benchmark for people: curves of IoU by click, and the table of NoC as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segtune.core.files import write_text
from segtune.evaluation.clicks import ClickResult, Figure
from segtune.report.glossary import model_label
from segtune.report.markdown import escape
from segtune.report.numbers import decimal, signed
from segtune.report.svg import MUTED, SERIES, Chart, draw

if TYPE_CHECKING:
    from matplotlib import figure as plots

_SIZE = (6.75, 4.5)


def draw_clicks(result: ClickResult) -> Chart:
    """Draw mean IoU after each click with its interval as a band, one line per model."""

    def paint(figure: plots.Figure) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = figure.add_subplot()
        axes.set_xlabel("clicks")
        axes.set_ylabel("IoU")
        numbers = range(1, result.limit + 1)
        for place, curve in enumerate(result.curves):
            colour = SERIES[place % len(SERIES)]
            means = [one.mean for one in curve.iou]
            axes.plot(numbers, means, color=colour, marker="o", markersize=4, label=model_label(curve.model))
            if all(one.low is not None for one in curve.iou):
                ends = [one.low or 0.0 for one in curve.iou], [one.high or 0.0 for one in curve.iou]
                axes.fill_between(numbers, *ends, color=colour, alpha=0.15, linewidth=0)
        for target in (one.target for one in result.curves[0].noc):
            axes.axhline(target, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(
                decimal(target, 2), (1, target), (6, 0), xycoords=("axes fraction", "data"),
                textcoords="offset points", va="center", fontsize=11.5, color=MUTED,
            )  # fmt: skip
        # Half a click to both sides, so that no mark is cut.
        axes.set_xlim(0.5, result.limit + 0.5)
        axes.set_ylim(0, 1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.legend(loc="lower right", frameon=False, fontsize=11.5)

    lines = "; ".join(
        f"{model_label(curve.model)} {decimal(curve.iou[0].mean)} after one, {decimal(curve.iou[-1].mean)} after "
        f"{result.limit}"
        for curve in result.curves
    )
    return draw(paint, _SIZE, f"IoU by number of clicks: {lines}")


def describe_clicks(result: ClickResult) -> str:
    """Return what was found in a sentence or two."""
    said = []
    for curve in result.curves:
        needed = " and ".join(
            f"{one.clicks.mean:.1f} clicks to IoU {decimal(one.target, 2)} ({one.failures} of {result.objects} objects "
            f"never get there and count as {result.limit})"
            for one in curve.noc
        )
        said.append(f"{model_label(curve.model)}: {decimal(curve.iou[0].mean)} after one click; {needed}.")
    return "\n".join(said)


def write_clicks(folder: Path, result: ClickResult) -> Path:
    """Write `clicks.svg` and `clicks.md` into `folder`; return the latter's path."""
    write_text(folder / "clicks.svg", draw_clicks(result).standalone())
    path = folder / "clicks.md"
    write_text(path, build_clicks(result))
    return path


def build_clicks(result: ClickResult) -> str:
    """Return the whole page as Markdown."""
    shown = [count for count in (1, 2, 3, 5, 10, 15, 20) if count <= result.limit]
    targets = [one.target for one in result.curves[0].noc]
    heads = [
        "model", *(f"IoU@{count}" for count in shown), *(f"NoC@{100 * target:.0f}" for target in targets),
        *(f"never at {100 * target:.0f}" for target in targets),
    ]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for curve in result.curves:
        cells = [escape(model_label(curve.model)), *(_with_interval(curve.iou[count - 1]) for count in shown)]
        cells += [_clicks(one.clicks) for one in curve.noc]
        cells += [f"{one.failures} ({one.share:.0%})" for one in curve.noc]
        lines.append(f"| {' | '.join(cells)} |")
    parts = [
        "# Clicks",
        f"{result.objects} objects on {result.images} images, up to {result.limit} clicks each: the first at the inner "
        "centre, each further one at the centre of the largest error. Means over images with 95 % intervals; an object "
        f"that never reaches a level counts with {result.limit} clicks.",
        "![IoU by number of clicks](clicks.svg)",
        "\n".join(lines),
    ]
    parts += [
        f"{escape(model_label(one.model))} against {escape(model_label(one.against))}, NoC@{100 * one.target:.0f}: "
        f"{_gain(one.clicks)} clicks{'' if one.p is None else f' (p = {one.p:.2g})'}."
        for one in result.gains
    ]
    return "\n\n".join(parts) + "\n"


def _with_interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return decimal(figure.mean)
    return f"{decimal(figure.mean)} ({decimal(figure.low)} to {decimal(figure.high)})"


def _clicks(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.mean:.2f}"
    return f"{figure.mean:.2f} ({figure.low:.2f} to {figure.high:.2f})"


def _gain(figure: Figure) -> str:
    interval = (
        "" if figure.low is None or figure.high is None else f" ({signed(figure.low, 2)} to {signed(figure.high, 2)})"
    )
    return f"{signed(figure.mean, 2)}{interval}"
