"""A learning curve for people: whether more labels would help, in a sentence, a picture and Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segtune.core.files import write_text
from segtune.evaluation.clicks import Figure
from segtune.evaluation.learning import FEWEST_SIZES, LearningCurve
from segtune.report.markdown import escape
from segtune.report.numbers import between, count, decimal, signed, signed_between
from segtune.report.svg import MUTED, SERIES, TEXT, Chart, draw
from segtune.runs.curve import Curve

if TYPE_CHECKING:
    from matplotlib import figure as plots
    from matplotlib.axes import Axes

LITTLE = 0.005
"""A gain below this is called little: other test images of the kind would change the figure by more."""

READING = (
    "Each point is the test IoU, mean over images, prompt modes and seeds, of models tuned on so many images; bars "
    "hold 95 % of resamples of test images and seeds, ticks are the seeds. Fewer training images are always among "
    "more, and validation and test are the same for all. The line is c − a·n^(−b), with its 95 % band; beyond the "
    "last point it is an extrapolation, which holds as long as more images are like those there are. With one seed "
    "neither bars nor band say what another draw of training images would change."
)


def write_curve(found: Curve) -> Path:
    """Write `curve.md` and `curve.svg` into its folder and return the page's path.

    Args:
        found: with at least one fit done.
    """
    folder, curve = found.compared.plan.folder, _curve(found)
    write_text(folder / "curve.svg", draw_curve(curve).standalone())
    page = folder / "curve.md"
    write_text(page, build_curve(found))
    return page


def tell_curve(found: Curve) -> str:
    """Return what was found in a few sentences."""
    plan = found.compared.plan
    missing = len(plan.cells) - len(found.compared.done) - len(found.compared.failed)
    left = [f"{len(found.compared.failed)} of {len(plan.cells)} fits failed."] if found.compared.failed else []
    left += (
        [f"{missing} of {len(plan.cells)} fits {'are' if missing > 1 else 'is'} still to be run."]
        if missing > 0
        else []
    )
    left += ["Stopped before the end; the same command goes on."] if found.compared.stopped else []
    if found.curve is None:
        return " ".join(["No fit is done yet.", *left])
    if found.compared.part != "test":
        left.insert(0, f"The split has no test part: the part '{found.compared.part}' stands for it, and flatters.")
    ablation = found.compared.ablation
    if ablation is not None and not any(one.crowned for one in ablation.standings):
        left.insert(0, "No fit beat the pretrained model on the validation images, so these figures are its own.")
    return " ".join([_now(found.curve), _more(found.curve), *left])


def _now(curve: LearningCurve) -> str:
    last = curve.points[-1]
    return (
        f"With {count(last.images)} training images the test IoU is {_with(last.test)}; that of the pretrained model "
        f"is {decimal(curve.pretrained)}."
    )


def _more(curve: LearningCurve) -> str:
    if curve.doubled is None or curve.fourfold is None:
        if len(curve.points) >= FEWEST_SIZES:
            return (
                f"What more labels would bring cannot be told: the fits on {count(curve.points[-1].images)} images lie "
                "below those on fewer, as no curve of labels that help does. Look at these fits, or give more --seeds."
            )
        return f"What more labels would bring takes {FEWEST_SIZES} sizes at least; {len(curve.points)} are done."
    twice, gain = count(2 * curve.points[-1].images), curve.doubled
    what = f"Doubling the labels to {twice} would bring about {signed(gain.mean, 2)}{_bracketed(gain, 2)}"
    if gain.high is not None and gain.high < LITTLE:
        return f"{what}: more labels of this kind would hardly help."
    if gain.mean < LITTLE:
        return f"{what}: little, as far as these fits can tell."
    return f"{what}, four times as many {signed(curve.fourfold.mean, 2)}{_bracketed(curve.fourfold, 2)}."


def draw_curve(curve: LearningCurve) -> Chart:
    """Draw the points with their intervals and seeds, the fitted line with its band, dashed beyond the last point."""

    def paint(figure: plots.Figure) -> None:
        from matplotlib.ticker import NullLocator

        axes = figure.add_subplot()
        sizes, last = [one.images for one in curve.points], curve.points[-1].images
        axes.axhline(curve.pretrained, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="pretrained")
        if curve.fitted:
            _paint_line(axes, curve)
        for one in curve.points:
            if one.test.low is not None and one.test.high is not None:
                axes.plot([one.images] * 2, [one.test.low, one.test.high], color=SERIES[0], linewidth=4, alpha=0.35)
            if len(one.by_seed) > 1:
                axes.scatter([one.images] * len(one.by_seed), one.by_seed, s=60, marker="_", color=TEXT, zorder=5)
        axes.scatter(sizes, [one.test.mean for one in curve.points], s=56, color=SERIES[0], zorder=4, label="tuned")
        axes.set_xscale("log")
        ticks = [*sizes, *((2 * last, 4 * last) if curve.fitted else ())]
        axes.set_xticks(ticks, [count(tick) for tick in ticks])
        # The logarithm's own marks would stand between the sizes that were asked for.
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("training images")
        axes.set_ylabel("test IoU")
        figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=11.5)

    told = "; ".join(f"{one.images} images {decimal(one.test.mean)}" for one in curve.points)
    return draw(paint, (8.5, 5.2), f"Test IoU by number of training images: {told}")


def _paint_line(axes: Axes, curve: LearningCurve) -> None:
    last = curve.points[-1].images
    places = [place for place, _ in curve.fitted]
    low, high = ([getattr(one, end) for _, one in curve.fitted] for end in ("low", "high"))
    if None not in low:  # a single image or group has no interval
        axes.fill_between(places, low, high, color=SERIES[0], alpha=0.15, linewidth=0)
    means = [one.mean for _, one in curve.fitted]
    beyond = next(row for row, place in enumerate(places) if place > last)
    axes.plot(places[:beyond], means[:beyond], color=SERIES[0], linewidth=2)
    axes.plot(
        places[beyond - 1 :], means[beyond - 1 :], color=SERIES[0], linewidth=2, linestyle=(0, (3, 2)),
        label="extrapolated",
    )  # fmt: skip


def build_curve(found: Curve) -> str:
    """Return the whole page as Markdown."""
    curve = _curve(found)
    rows = [
        [
            count(one.images), _with(one.test), signed(one.test.mean - curve.pretrained),
            ", ".join(decimal(value) for value in one.by_seed), _what_trained(found, one.images),
        ]
        for one in curve.points
    ]  # fmt: skip
    heads = ["Training images", "Test IoU", "Over pretrained", "By seed", "What trained"]
    parts = [
        "# Would more labels help?",
        escape(tell_curve(found)),
        "![Test IoU by number of training images](curve.svg)",
    ]
    parts.append("\n".join(f"| {' | '.join(row)} |" for row in (heads, ["--:"] * 4 + [":--"], *rows)))
    if curve.level is not None and curve.scale is not None and curve.exponent is not None:
        formula = f"IoU(n) = {decimal(curve.level.mean)} − {curve.scale:.3g}·n^(−{curve.exponent:.2g})"
        level = _interval(curve.level)
        parts.append(f"The line is {formula}{f'; the level it rises to has the interval {level}' if level else ''}.")
    if found.compared.failed:
        failed = (f"- {escape(name)}: {escape(reason)}" for name, reason in found.compared.failed.items())
        parts += ["## Failed", "\n".join(failed)]
    return "\n\n".join([*parts, "## How to read this", READING]) + "\n"


def _what_trained(found: Curve, images: int) -> str:
    """Name what trained, which the number of images may have chosen."""
    cells = (cell for cell in found.compared.done if int(cell.combination.values["images"]) == images)
    return next(f"`{cell.settings.settings.model.train}`" for cell in cells)


def _with(figure: Figure) -> str:
    text = _interval(figure)
    return f"{decimal(figure.mean)}{f' ({text})' if text else ''}"


def _interval(figure: Figure) -> str:
    return between(figure.low, figure.high)


def _bracketed(figure: Figure, places: int) -> str:
    text = signed_between(figure.low, figure.high, places)
    return f" (95 % interval {text})" if text else ""


def _curve(found: Curve) -> LearningCurve:
    if found.curve is None:
        raise ValueError("a curve without a finished fit has no report")
    return found.curve
