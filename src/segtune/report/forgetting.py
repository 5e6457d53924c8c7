"""Gain against loss: what tuning brought on the user's own images, beside what it cost on general ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from segtune.evaluation.results import Difference, General
from segtune.report.glossary import MODES, in_order, mode_term, model_label
from segtune.report.matrix import Change, change_of
from segtune.report.numbers import count, decimal, signed
from segtune.report.run import RunView
from segtune.report.svg import MUTED, SERIES, Chart, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LANES = 0.16
"""Distance of the two marks of a mode from its middle, in lines."""


@dataclass(frozen=True)
class ForgettingLine:
    """One prompt mode as texts.

    Attributes:
        label: the mode.
        means: IoU on general images, by model.
        changes: of each model but the pretrained one, on general images.
        gain: of the report's subject on the user's own images; None where that mode was not scored there.
    """

    label: str
    means: tuple[str, ...]
    changes: tuple[Change | None, ...]
    gain: Change | None

    @property
    def changes_and_gain(self) -> tuple[Change | None, ...]:
        """Changes on general images, then the gain."""
        return (*self.changes, self.gain)


@dataclass(frozen=True)
class ForgettingTable:
    """General images as a table.

    Attributes:
        models: the columns of IoU.
        compared: the columns of changes, all models but the pretrained one.
        subject: whose gain on the user's own images stands beside them.
        lines: one per mode.
        note: on which images it was made.
    """

    models: tuple[str, ...]
    compared: tuple[str, ...]
    subject: str
    lines: tuple[ForgettingLine, ...]
    note: str

    @property
    def lost(self) -> bool:
        """Whether a model is clearly worse on general images in one of the modes."""
        return any(change.tone == "bad" for line in self.lines for change in line.changes if change)


def build_forgetting(run: RunView) -> ForgettingTable | None:
    """Return what is known of general images; None where they were not looked at."""
    general, (subject, reference) = run.results.general, run.pair
    if general is None or subject is None or reference is None:
        return None
    rows = {(row.model, row.mode): row for row in general.rows if row.metric == "iou"}
    models = tuple(dict.fromkeys(model for model, _ in rows))
    compared = tuple(model for model in models if any(one.model == model for one in general.differences))
    lines = tuple(
        ForgettingLine(
            mode_term(mode).label,
            tuple(decimal(rows[model, mode].mean) if (model, mode) in rows else "" for model in models),
            tuple(change_of(general.difference(model, mode)) for model in compared),
            change_of(run.results.difference(subject, reference, mode)),
        )
        for mode in in_order(general.modes, MODES)
    )
    return ForgettingTable(
        tuple(map(model_label, models)), tuple(map(model_label, compared)), model_label(subject), lines, _note(general)
    )


def _note(general: General) -> str:
    what = "drawn scenes with kinds of things that nano's pretraining never showed"
    source = what if general.source == "drawn suite" else f"images of {general.source}"
    text = f"{count(general.images)} {source}, {count(general.objects)} objects, each asked for by clicks and boxes."
    left = f" {count(general.left_out)} more were left out: the run has learned from them." if general.left_out else ""
    return text + left


def draw_forgetting(run: RunView) -> Chart | None:
    """Draw, for each prompt mode, the change of IoU on the user's own images and on general ones, with intervals."""
    general, (subject, reference) = run.results.general, run.pair
    if general is None or subject is None or reference is None:
        return None
    modes = in_order(general.modes, MODES)
    pairs = [(run.results.difference(subject, reference, mode), general.difference(subject, mode)) for mode in modes]
    if not any(one is not None for _, one in pairs):
        return None

    def paint(figure: Figure) -> None:
        from matplotlib.ticker import MaxNLocator

        axes: Axes = figure.add_subplot()
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.axvline(0, color=MUTED, linewidth=1.2)
        for line, pair in enumerate(pairs):
            for lane, one in enumerate(pair):
                _mark(axes, one, line + (2 * lane - 1) * _LANES, SERIES[lane])
        axes.set_yticks(range(len(modes)), [mode_term(mode).label for mode in modes])
        axes.set_ylim(len(modes) - 0.5, -0.5)
        axes.set_xlabel("change of IoU by tuning")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(change_tick)
        for lane, name in enumerate(("your images", "general images")):
            axes.plot([], [], color=SERIES[lane], marker="o", label=name)
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=11.5, handlelength=1.8
        )

    told = ", ".join(
        f"{mode_term(mode).label} {_told(own)} and {_told(far)}" for mode, (own, far) in zip(modes, pairs, strict=True)
    )
    height = 1.3 + 0.75 * len(modes)
    return draw(paint, (6.75, height), f"Change of IoU on your images and on general ones: {told}")


def change_tick(value: float, _: float) -> str:
    """Return what stands at an axis of changes: +.05, −.1, 0."""
    return "0" if abs(value) < 1e-9 else signed(value, 3).rstrip("0")


def _mark(axes: Axes, one: Difference | None, place: float, colour: str) -> None:
    if one is None or one.mean is None:
        return
    if one.low is not None and one.high is not None:
        axes.plot([one.low, one.high], [place, place], color=colour, linewidth=3, alpha=0.55)
    axes.plot([one.mean], [place], color=colour, marker="o", markersize=8)


def _told(one: Difference | None) -> str:
    change = change_of(one)
    return change.mean if change is not None else "not scored"
