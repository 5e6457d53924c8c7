"""The report's charts: training curves, the distribution of scores, and pretrained against tuned image by image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segtune.evaluation.per_image import Scores, Scores1D
from segtune.report.glossary import mode_term, model_label
from segtune.report.log import Epoch, TrainingLog
from segtune.report.numbers import count, decimal
from segtune.report.run import RunView, is_baseline
from segtune.report.svg import LINE, MUTED, SERIES, TEXT, Chart, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# 72 units to the inch: the width of half a page, so that text has the size it is set in.
_SIZE = (6.75, 4.5)
_MOST_POINTS = 400
"""Above this a scatter is drawn as pixels: each point costs a hundred bytes of the page."""
_MOST_STEPS = 200
"""Points of a distribution's curve: more cannot be told apart at this size."""
_RASTER_BLUE = "#3b94c9"
"""Between the light and the dark blue: pixels cannot follow the page's colours."""


def draw_iou_curves(log: TrainingLog) -> Chart | None:
    """Draw validation IoU by epoch: each prompt mode thin, their mean bold, the pretrained level dashed."""
    scored = [epoch for epoch in log.epochs if epoch.score is not None]
    if not scored:
        return None

    def paint(figure: Figure) -> None:
        axes = plain_axes(figure, "epoch", "IoU")
        ends = [_plot_mode(axes, log, mode, number) for number, mode in enumerate(log.modes)]
        numbers, values = [epoch.number for epoch in scored], [float(epoch.score or 0) for epoch in scored]
        axes.plot(numbers, values, color=TEXT, linewidth=3)
        ends.append((values[-1], "mean of modes", TEXT))
        if scored[0].number == 0:
            axes.axhline(values[0], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        _mark_best(axes, log.best, numbers[-1])
        _label_ends(axes, numbers[-1], ends)

    return draw(paint, _SIZE, f"Validation IoU over {len(log.epochs)} epochs in {len(log.modes)} prompt modes")


def draw_loss_curves(log: TrainingLog) -> Chart | None:
    """Draw training and validation loss by epoch; logarithmic where they span more than a decade."""
    lines = {"training": log.trained("loss"), "validation": log.mean_validated("loss")}
    # A run without validation has only the first.
    lines = {name: line for name, line in lines.items() if line[0]}
    if not lines:
        return None
    values = [value for _, line in lines.values() for value in line]

    def paint(figure: Figure) -> None:
        axes = plain_axes(figure, "epoch", "loss")
        ends = []
        for (name, (numbers, line)), colour in zip(lines.items(), SERIES, strict=False):
            axes.plot(numbers, line, color=colour, marker="o" if len(line) == 1 else None)
            ends.append((line[-1], name, colour))
        # A loss of 0 has no logarithm.
        if min(values) > 0 and max(values) > 10 * min(values):
            axes.set_yscale("log", subs=(2, 5))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
        else:
            axes.set_ylim(0, max(values) * 1.08 or 1)
        _label_ends(axes, max(numbers[-1] for numbers, _ in lines.values()), ends)

    return draw(paint, _SIZE, f"Loss over epochs: {' and '.join(lines)}")


def draw_distribution(run: RunView, scores: Scores, mode: str) -> Chart | None:
    """Draw, for each model, the share of images that reach an IoU or more: the higher the curve, the better."""
    models = [model for model in run.models if scores.scored(model, mode).size]
    if not models:
        return None

    def paint(figure: Figure) -> None:
        axes = plain_axes(figure, "IoU", "images that reach it", zero_to_one=True)
        for model in models:
            # Baselines share one grey and are told apart by their dashes.
            style: Any = {"baseline:box": (0, (1, 1.6)), "baseline:ellipse": (0, (4, 2))}.get(model, "-")
            reached, share = _reach(scores.scored(model, mode))
            width = 1.4 if is_baseline(model) else 2.4
            axes.plot(
                reached,
                share,
                color=colour_of(run, model),
                linestyle=style,
                linewidth=width,
                label=model_label(model),
            )
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.legend(loc="best", frameon=False, fontsize=11.5, handlelength=1.8, borderpad=0.1)

    medians = ", ".join(
        f"{model_label(model)} {decimal(float(np.median(scores.scored(model, mode))))}" for model in models
    )
    return draw(paint, _SIZE, f"Distribution of IoU with {mode_term(mode).label}; medians: {medians}")


def draw_paired(run: RunView, scores: Scores, mode: str) -> Chart | None:
    """Draw each image's IoU before and after; above the diagonal is a gain."""
    subject, reference = run.pair
    # Only images that both were scored on have a place on both axes.
    shared = scores.paired(subject, reference, mode)
    if subject is None or reference is None or not shared.size:
        return None
    before, after = scores.of(reference, mode)[shared], scores.of(subject, mode)[shared]
    better, worse = int((after > before).sum()), int((after < before).sum())

    def paint(figure: Figure) -> None:
        axes = plain_axes(figure, f"IoU, {model_label(reference)}", f"IoU, {model_label(subject)}", zero_to_one=True)
        # Equal units, so that the diagonal is one.
        axes.set_aspect("equal")
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1)
        _scatter(axes, before, after)
        axes.text(0.03, 0.97, f"{count(better)} better", transform=axes.transAxes, va="top", fontsize=12, color=TEXT)
        axes.text(0.97, 0.03, f"{count(worse)} worse", transform=axes.transAxes, ha="right", fontsize=12, color=TEXT)

    return draw(paint, _SIZE, f"{better} images better and {worse} worse with {mode_term(mode).label}")


def colour_of(run: RunView, model: str) -> str:
    """Return a model's stand-in colour, the same in every chart and table: the subject's is the first."""
    if is_baseline(model):
        return MUTED
    subject, reference = run.pair
    others = [one for one in run.models if one not in run.pair]
    return SERIES[[subject, reference, *others].index(model) % len(SERIES)]


def _scatter(axes: Axes, before: Scores1D, after: Scores1D) -> None:
    if len(before) > _MOST_POINTS:
        # The more points, the fainter each, so that their density shows.
        alpha = max(0.08, min(0.5, 400 / len(before)))
        axes.scatter(before, after, s=9, color=_RASTER_BLUE, alpha=alpha, linewidths=0, rasterized=True, clip_on=False)
        return
    gained = after >= before
    for chosen, colour in ((gained, SERIES[0]), (~gained, SERIES[1])):
        axes.scatter(
            before[chosen], after[chosen], s=26, color=colour, alpha=0.6, linewidths=0, clip_on=False, zorder=3
        )


def plain_axes(figure: Figure, xlabel: str, ylabel: str, *, zero_to_one: bool = False) -> Axes:
    """Return the axes of a chart; `zero_to_one`: both of them over 0 to 1, else the lower one over whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes: Axes = figure.add_subplot()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    if zero_to_one:
        axes.set(xlim=(0, 1), ylim=(0, 1))
        ticks = [0, 0.25, 0.5, 0.75, 1]
        axes.set_xticks(ticks, ["0", ".25", ".5", ".75", "1"])
        axes.set_yticks(ticks, ["0", ".25", ".5", ".75", "1"])
    else:
        axes.grid(visible=False, axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    return axes


def _plot_mode(axes: Axes, log: TrainingLog, mode: str, number: int) -> tuple[float, str, str]:
    colour = SERIES[number % len(SERIES)]
    numbers, values = log.validated(mode, "iou")
    # More modes than colours: the second round is dashed.
    style: Any = "-" if number < len(SERIES) else (0, (3, 1.5))
    axes.plot(numbers, values, color=colour, linewidth=1.4, linestyle=style)
    return values[-1] if values else 0.0, mode_term(mode).label, colour


def _mark_best(axes: Axes, best: Epoch | None, last: int) -> None:
    if best is None or best.score is None:
        return
    axes.axvline(best.number, color=LINE, linewidth=1.5, zorder=0)
    axes.plot([best.number], [best.score], marker="o", markersize=8, color=TEXT, clip_on=False)
    # Written to the side that has more room, and above the pretrained model's line, which is mostly the lowest.
    is_late = best.number > last / 2
    axes.annotate(
        f"best: epoch {best.number}" if best.number else "best: pretrained",
        (best.number, 0), (-5 if is_late else 5, 20), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha="right" if is_late else "left", fontsize=11.5, color=MUTED,
    )  # fmt: skip


def _label_ends(axes: Axes, x: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """Name the lines at their right ends instead of in a legend, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    logarithmic = axes.get_yscale() == "log"
    place = np.log if logarithmic else np.asarray
    share = (place([value for value, _, _ in ends]) - place(low)) / (place(high) - place(low))  # [n], 0 bottom to 1 top
    apart = spread(share, 0.058)
    # Moved apart upwards they may leave the axes: then all move down.
    apart -= max(0.0, float(apart.max()) - 1)
    for (_, name, colour), where in zip(ends, apart, strict=True):
        axes.annotate(
            name, (1, float(where)), (6, 0), xycoords="axes fraction", textcoords="offset points",
            va="center", fontsize=11.5, color=colour,
        )  # fmt: skip
    axes.set_xlim(min(0, axes.get_xlim()[0]) if x else -0.5, x or 0.5)


def spread(places: npt.ArrayLike, gap: float) -> npt.NDArray[np.float64]:
    """Move places on a line apart until neighbours are `gap` from each other, in order, about where they were."""
    places = np.asarray(places, dtype=np.float64)
    # Stable: equal places keep their order, in every report.
    order = np.argsort(places, kind="stable")
    # Less its rank times the gap, a spread line is just one that never falls: pool neighbours that do (isotonic).
    blocks: list[tuple[float, int]] = []
    for rank, index in enumerate(order):
        mean, size = float(places[index]) - rank * gap, 1
        while blocks and blocks[-1][0] > mean:
            other, width = blocks.pop()
            mean, size = (mean * size + other * width) / (size + width), size + width
        blocks.append((mean, size))
    level = np.repeat([mean for mean, _ in blocks], [size for _, size in blocks])
    apart = np.empty_like(places)
    apart[order] = level + np.arange(len(places)) * gap
    return apart


def _reach(values: Scores1D) -> tuple[Scores1D, npt.NDArray[np.float64]]:
    """Return IoU levels and the share of images at or above each, thinned, with its two ends."""
    ordered = np.sort(values)
    # Both ends are among those kept: the curve begins and ends where the scores do.
    kept = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), _MOST_STEPS)).round().astype(np.int64))
    share = np.append(1 - kept / len(ordered), 0.0)
    # Twice each: a curve of steps, level between scores and falling at them.
    level = np.concatenate([[0.0], np.repeat(ordered[kept], 2), [1.0]]).astype(np.float32)
    return level, np.concatenate([[1.0], np.repeat(share, 2)[1:-1], [0.0]])
