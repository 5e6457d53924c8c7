"""The curve between the pretrained and the tuned model: what each blend gains, and what it loses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from segtune.report.forgetting import change_tick
from segtune.report.numbers import signed, signed_between
from segtune.report.run import RunView
from segtune.report.svg import MUTED, SERIES, TEXT, Chart, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = (("gain", "your validation images"), ("general", "general images"))


def draw_blend(run: RunView) -> Chart | None:
    """Draw gain and loss over the share of the tuned model, with intervals and the choice; None without a blend."""
    points, chosen = run.blend.get("curve") or [], run.blend.get("alpha")
    if len(points) < 2 or chosen is None:
        return None
    alphas = [point["alpha"] for point in points]
    least = run.blend["keep"] * max(one["gain"]["mean"] for one in points) if not _is_given(run.blend) else 0.0

    def paint(figure: Figure) -> None:
        axes: Axes = figure.add_subplot()
        axes.set_xlabel("share of the tuned model, alpha")
        axes.set_ylabel("change of mean IoU")
        axes.axhline(0, color=MUTED, linewidth=1)
        axes.axvline(chosen, color=TEXT, linewidth=1.2, linestyle=(0, (4, 3)))
        for colour, (name, label) in zip(SERIES, _LINES, strict=False):
            _plot(axes, alphas, [point[name] for point in points], colour, label)
        if least > 0:
            axes.axhline(least, color=SERIES[0], linewidth=1, linestyle=(0, (1, 2)))
            axes.annotate(
                f"{100 * run.blend['keep']:g} % of the highest gain", (0, least), (4, 4), textcoords="offset points",
                fontsize=11.5, color=SERIES[0],
            )  # fmt: skip
        is_late = chosen > 0.5
        axes.annotate(
            f"chosen: {chosen:g}".replace("0.", "."), (chosen, 0), (-5 if is_late else 5, 5),
            xycoords=("data", "axes fraction"), textcoords="offset points", ha="right" if is_late else "left",
            fontsize=11.5, color=TEXT,
        )  # fmt: skip
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter(change_tick)
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=11.5, handlelength=1.8
        )

    told = "; ".join(f"alpha {row[0]}: {row[1]} and {row[3]}" for row in blend_rows(run))
    return draw(paint, (6.75, 4.5), f"Change of mean IoU on validation and on general images by alpha: {told}")


def blend_rows(run: RunView) -> list[tuple[str, ...]]:
    """Return the curve as texts: alpha, gain and its interval, change on general images and its interval."""
    return [
        (f"{point['alpha']:g}".replace("0.", "."), *_texts(point["gain"]), *_texts(point["general"]))
        for point in run.blend.get("curve") or []
    ]


def tell_blend(run: RunView) -> str:
    """Return what was blended, how far and why, in a sentence or two; empty without a blend."""
    told = run.blend
    if not told:
        return ""
    others = "the same general images" if told["chosen_by"]["same_as_reported"] else "general images of their own"
    why = told["rule"] if _is_given(told) else f"chosen on validation images and on {others} for {told['rule']}"
    text = f"Alpha {told['alpha']:g} between {told['base']} and {told['run']}, {why}."
    kept = told.get("kept") or {}
    shares = [
        f"{words} {signed(kept[f'{name}_tuned'])} tuned, {signed(kept[f'{name}_blended'])} blended"
        for name, words in (("gain", "on the images scored here IoU changed by"), ("general", "on general ones by"))
        if kept.get(f"{name}_tuned") is not None and kept.get(f"{name}_blended") is not None
    ]
    return f"{text} As means over prompt modes, {', '.join(shares)}." if shares else text


def _is_given(told: Mapping[str, Any]) -> bool:
    return str(told["rule"]).startswith("given")


def _texts(change: Mapping[str, float | None]) -> tuple[str, str]:
    return signed(change["mean"]), signed_between(change["low"], change["high"])


def _plot(axes: Axes, alphas: list[float], changes: list[Mapping[str, float | None]], colour: str, label: str) -> None:
    means = [change["mean"] or 0.0 for change in changes]
    if all(change["low"] is not None for change in changes):
        low, high = ([change[end] or 0.0 for change in changes] for end in ("low", "high"))
        axes.fill_between(alphas, low, high, color=colour, alpha=0.14, linewidth=0)
    axes.plot(alphas, means, color=colour, marker="o", markersize=5, label=label, clip_on=False)
