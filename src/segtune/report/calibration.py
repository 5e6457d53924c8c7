"""How far a model's own judgement can be believed, for people: the table, the reliability diagram, risk by coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segtune.evaluation.calibration import ALL, Calibration
from segtune.report.charts import colour_of, plain_axes
from segtune.report.glossary import in_order, model_label
from segtune.report.numbers import between, decimal
from segtune.report.run import RunView
from segtune.report.svg import MUTED, Chart, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE = (6.75, 4.5)
_REFITTED = (0, (3, 1.5))
"""Dashes of what users are told after `segtune calibrate`."""


@dataclass(frozen=True)
class CalibrationLine:
    """One model's figures over all modes: texts, and the model for its colour."""

    model: str
    label: str
    predicted: str
    actual: str
    error: str
    interval: str
    by_chance: str
    area: str
    best: str
    chance: str


def calibration_lines(run: RunView) -> tuple[CalibrationLine, ...]:
    """Return a line per model, and one more where its quality was refitted; none for results without calibration."""
    return tuple(
        CalibrationLine(
            one.model, _label(one), decimal(one.predicted), decimal(one.actual), decimal(one.ece),
            between(one.low, one.high), decimal(one.chance), decimal(one.aurc), decimal(one.aurc_best),
            decimal(one.aurc_chance),
        )
        for one in _over_all_modes(run)
    )  # fmt: skip


def calibration_modes(run: RunView) -> tuple[tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...]]:
    """Return labels of models and, for each mode, the calibration error of each."""
    found: Mapping[tuple[str, str], Calibration] = {(_label(one), one.mode): one for one in run.results.calibration}
    labels = tuple(_label(one) for one in _over_all_modes(run))
    modes = [mode for mode in run.modes if any((label, mode) in found for label in labels)]
    lines = tuple(
        (mode, tuple(decimal(found[label, mode].ece) if (label, mode) in found else "" for label in labels))
        for mode in modes
    )
    return labels, lines


def draw_calibration(run: RunView) -> dict[str, Chart]:
    """Draw the reliability diagram and the risk-coverage curve by name; none for results without calibration."""
    found = _over_all_modes(run)
    return {"reliability": _draw_reliability(run, found), "risk": _draw_risk(run, found)} if found else {}


def _draw_reliability(run: RunView, found: Sequence[Calibration]) -> Chart:
    def paint(figure: Figure) -> None:
        axes = plain_axes(figure, "predicted IoU", "IoU of those masks", zero_to_one=True)
        axes.set_aspect("equal")
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1)
        for one in found:
            bins = sorted(one.bins, key=lambda bin_: bin_.predicted)
            x, y = [bin_.predicted for bin_ in bins], [bin_.actual for bin_ in bins]
            axes.plot(x, y, **_style(run, one), label=_label(one))
            # A bin's area goes with its share of the answers: a gap in a tiny one means little.
            sizes = [12 + 240 * bin_.share for bin_ in bins]
            face = "none" if one.refitted else colour_of(run, one.model)
            axes.scatter(x, y, s=sizes, color=face, edgecolors=colour_of(run, one.model), zorder=3, clip_on=False)
        axes.legend(loc="upper left", frameon=False, fontsize=11.5, handlelength=1.8, borderpad=0.1)

    errors = ", ".join(f"{_label(one)} {decimal(one.ece)}" for one in found)
    return draw(paint, _SIZE, f"Predicted against true IoU in bins; calibration error: {errors}")


def _draw_risk(run: RunView, found: Sequence[Calibration]) -> Chart:
    # Refitting changes no order, so its curve is the raw one's.
    raw = [one for one in found if not one.refitted]
    top = max(risk for one in raw for _, risk in (*one.curve, (1.0, one.aurc_chance)))

    def paint(figure: Figure) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = plain_axes(figure, "share of answers kept, the best predicted first", "mean 1 − IoU", zero_to_one=True)
        for one in raw:
            coverage, risk = zip(*one.curve, strict=True)
            axes.plot(coverage, risk, **_style(run, one), label=_label(one))
            # Where no order is better than another: the level it ends at.
            axes.axhline(one.aurc_chance, color=colour_of(run, one.model), linewidth=1, linestyle=(0, (1, 2)))
        axes.set_ylim(0, top * 1.1 or 1)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.legend(loc="lower right", frameon=False, fontsize=11.5, handlelength=1.8, borderpad=0.1)

    areas = ", ".join(f"{_label(one)} {decimal(one.aurc)} (without order {decimal(one.aurc_chance)})" for one in raw)
    return draw(paint, _SIZE, f"Risk by coverage; area under it: {areas}")


def _over_all_modes(run: RunView) -> list[Calibration]:
    found = [one for one in run.results.calibration if one.mode == ALL]
    order = in_order((*run.models, *(one.model for one in found)), {})
    return sorted(found, key=lambda one: (order.index(one.model), one.refitted))


def _style(run: RunView, one: Calibration) -> dict[str, Any]:
    return {"color": colour_of(run, one.model), "linestyle": _REFITTED if one.refitted else "-", "linewidth": 2.2}


def _label(one: Calibration) -> str:
    return f"{model_label(one.model)}, refitted" if one.refitted else model_label(one.model)
