"""A comparison of settings for people: the picture, one self-contained page, and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtune.core.files import write_text
from segtune.evaluation.ablation import Ablation, Standing
from segtune.evaluation.clicks import Figure
from segtune.report.glossary import MODES, in_order, mode_term
from segtune.report.markdown import escape
from segtune.report.numbers import between, count, decimal, plain, signed, signed_between
from segtune.report.svg import LINE, MUTED, SERIES, TEXT, Chart, draw
from segtune.runs.compare import Compared

if TYPE_CHECKING:
    from matplotlib import figure as plots
    from matplotlib.axes import Axes

_WIDTH, _ROW, _FRAME = 14.4, 0.44, 1.1
"""Inches of 72 units: of the chart, of each of its rows, and of what stands around them."""

_MOST_ROWS = 40
_LONGEST_LABEL = 48

READING: Mapping[str, str] = {
    "Validation": "The score that the best epoch was chosen by, mean IoU over prompt modes, averaged over the seeds; "
    "beside it the lowest and the highest seed. Of the settings with most seeds that of the highest score wins. It is "
    "a choice: the best of many epochs and settings looks a little better here than it is.",
    "Test": "IoU on images that no fit trained on or chose by, mean over prompt modes and seeds, with its 95 % "
    "interval over images (groups of them where known). It tells how good a setting is; choosing by it would spoil it.",
    "Gain": "Test IoU less that of the pretrained model on the same images and prompts.",
    "Against the winner": "Test IoU less the winner's, paired over images, over the seeds both have. Better or worse "
    "is said only where the interval is without zero and every seed is on the same side, and never of less than .001. "
    "With many settings some will seem so by chance: of twenty that are alike, about one interval is.",
    "Crowned": "How many seeds beat the pretrained model on the validation images. Where none does, the fit keeps the "
    "pretrained weights, and its figures are theirs.",
}


def write_comparison(found: Compared) -> Path:
    """Write `comparison.html`, `comparison.md` and `comparison.svg` into its folder; return the page's path.

    Args:
        found: with at least one fit done.
    """
    folder, ablation = found.plan.folder, _ablation(found)
    chart = draw_comparison(ablation)
    write_text(folder / "comparison.svg", chart.standalone())
    write_text(folder / "comparison.md", build_comparison(found))
    page = folder / "comparison.html"
    write_text(page, build_comparison_page(found, chart))
    return page


def describe_comparison(found: Compared) -> str:
    """Return what was found in a few sentences."""
    asked, done = len(found.plan.cells), len(found.done)
    left = [f"{len(found.failed)} of {asked} fits failed."] if found.failed else []
    missing = asked - done - len(found.failed)
    left += [f"{missing} of {asked} fits {'are' if missing > 1 else 'is'} still to be run."] if missing > 0 else []
    if found.stopped:
        left.append("Stopped before the end; the same command goes on.")
    if found.ablation is None:
        return " ".join(["No fit is done yet.", *left])
    if found.part != "test":
        left.insert(
            0, f"The split has no test part: what is called test here is the part '{found.part}', and flatters."
        )
    return " ".join([*_sentences(found.ablation), *left])


def _sentences(ablation: Ablation) -> list[str]:
    winner, others = ablation.winner, ablation.standings[1:]
    name, part = label(winner.setting), f"{count(ablation.images)} test image{'s' if ablation.images != 1 else ''}"
    seeds = f"{len(winner.seeds)} seed{'s' if len(winner.seeds) > 1 else ''}"
    said = f"On {part} it has IoU {_with(winner.test)}, {_gain(winner.gain)} against the pretrained model."
    # A setting that lacks seeds does not win, whatever the others say.
    having = sum(len(one.seeds) == len(winner.seeds) for one in others) + 1
    among = f"{having} settings with {seeds}" if having <= len(others) else f"{having} settings"
    said_seeds = "" if having <= len(others) else f", {seeds}"
    first = f"{name} has the best validation score of {among} ({decimal(winner.validation)}{said_seeds})."
    sentences = [first if others else f"{name}: validation score {decimal(winner.validation)}, {seeds}.", said]
    if not winner.crowned:
        sentences.append("It never beat the pretrained model on the validation images.")
    if others:
        sentences.append(_beside(others))
    return sentences


def _beside(others: Sequence[Standing]) -> str:
    compared = [one for one in others if one.behind is not None and one.behind.low is not None]
    if not compared:
        which = "any of the other settings" if len(others) > 1 else "the other setting"
        return (
            f"Nothing here can show whether it differs from {which}: that takes a common seed, and test images of two "
            "groups."
        )
    apart = len(others) - len(compared)
    left = f" {apart} more could not be compared." if apart else ""
    tones = [_tone(one) for one in compared]
    number = f"the {len(compared)} other settings" if len(compared) > 1 else ""
    if not any(tones):
        who = f"None of {number} is" if number else "The other setting is not"
        return f"{who} clearly better or worse on the test images.{left}"
    words = {"bad": "clearly worse", "good": "clearly better", "": "not clearly different"}
    if len(set(tones)) == 1:
        who = f"All of {number} are" if number else "The other setting is"
        return f"{who} {words[tones[0]]} on the test images.{left}"
    parts = [
        f"{tones.count(tone)} {'is' if tones.count(tone) == 1 else 'are'} {word}"
        for tone, word in words.items()
        if tone in tones
    ]
    return f"Of {number}, on the test images, {_join(parts)}.{left}"


def draw_comparison(ablation: Ablation) -> Chart:
    """Draw each setting's test IoU with its interval, its seeds, and its validation score; the winner on top."""
    shown = ablation.standings[:_MOST_ROWS]

    def paint(figure: plots.Figure) -> None:
        axes = figure.add_subplot()
        axes.grid(visible=False, axis="y")
        for row, one in enumerate(shown):
            _paint_row(axes, row, one)
        _paint_pretrained(axes, shown)
        axes.set_yticks(range(len(shown)), [_short(label(one.setting)) for one in shown])
        for row, text in enumerate(axes.get_yticklabels()):
            text.set_color(TEXT)
            text.set_fontweight("bold" if row == 0 else "normal")
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("IoU, mean over prompt modes")
        axes.margins(x=0.06)
        # Of the figure, not of the axes: room is made for it however few rows there are.
        handles = axes.get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=4, frameon=False, fontsize=11.5, handletextpad=0.4)

    lines = "; ".join(f"{label(one.setting)} {decimal(one.test.mean)}" for one in shown)
    return draw(paint, (_WIDTH, _FRAME + _ROW * len(shown)), f"Test IoU by setting, the winner first: {lines}")


def _paint_row(axes: Axes, row: int, one: Standing) -> None:
    first = row == 0
    if first:
        axes.axhspan(row - 0.45, row + 0.45, color=LINE, alpha=0.35, linewidth=0)
    if one.test.low is not None and one.test.high is not None:
        axes.plot([one.test.low, one.test.high], [row, row], color=SERIES[0], linewidth=5, alpha=0.3,
                  label="95 % interval" if first else None)  # fmt: skip
    axes.scatter([one.test.mean], [row], s=58, color=SERIES[0], linewidths=0, zorder=4,
                 label="test, mean of seeds" if first else None)  # fmt: skip
    if len(one.seeds) > 1:
        axes.scatter(one.test_by_seed, [row] * len(one.seeds), s=70, marker="|", color=TEXT, linewidths=1.1, zorder=5,
                     label="test, each seed" if first else None)  # fmt: skip
    axes.scatter([one.validation], [row], s=44, marker="D", facecolors="none", edgecolors=SERIES[1], linewidths=1.6,
                 zorder=3, label="validation" if first else None)  # fmt: skip


def _paint_pretrained(axes: Axes, shown: Sequence[Standing]) -> None:
    levels = {round(one.test.mean - one.gain.mean, 3) for one in shown}
    # Settings of several bases have each their own start.
    for row, one in enumerate(shown if len(levels) > 1 else ()):
        axes.plot([one.test.mean - one.gain.mean] * 2, [row - 0.3, row + 0.3], color=MUTED, linewidth=1.2)
    if len(levels) == 1:
        (level,) = levels
        axes.axvline(level, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate("pretrained", (level, 0), (4, 4), xycoords=("data", "axes fraction"), textcoords="offset points",
                      fontsize=11.5, color=MUTED)  # fmt: skip


def build_comparison(found: Compared) -> str:
    """Return the whole page as Markdown."""
    ablation = _ablation(found)
    parts = ["# Comparison of settings", escape(describe_comparison(found)), "![Test IoU by setting](comparison.svg)"]
    heads = ["setting", "validation", "test IoU", "gain", "against the winner", "crowned", "trained parameters"]
    rows = [
        [
            escape(label(one.setting)), f"{decimal(one.validation)}{_bracketed(_range(one))}", _with(one.test),
            _gain(one.gain), _against(one), f"{one.crowned} of {len(one.seeds)}", count(one.parameters),
        ]
        for one in ablation.standings
    ]  # fmt: skip
    parts.append(_table(heads, rows))
    if ablation.effects:
        effects = [
            [escape(f"{one.key}={one.value}"), decimal(one.validation), _with(one.test)] for one in ablation.effects
        ]
        parts += ["## Each value, averaged over the others", _table(["value", "validation", "test IoU"], effects)]
    shown = in_order(ablation.modes, MODES)
    modes = [[escape(label(one.setting)), *(decimal(one.by_mode[mode]) for mode in shown)]
             for one in ablation.standings]  # fmt: skip
    parts += ["## Test IoU by prompt", _table(["setting", *(mode_term(mode).label for mode in shown)], modes)]
    if found.failed:
        parts.append("## Failed")
        parts.append("\n".join(f"- {escape(name)}: {escape(reason)}" for name, reason in found.failed.items()))
    parts.append("## How to read this")
    parts.append("\n".join(f"- **{name}**: {meaning}" for name, meaning in READING.items()))
    return "\n\n".join(parts) + "\n"


def build_comparison_page(found: Compared, chart: Chart) -> str:
    """Return the page as HTML that asks no other host for anything; it links to the fits' own reports beside it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("segtune.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    ablation = _ablation(found)
    any_crowned = any(one.crowned for one in ablation.standings)
    environment.filters |= {"decimal": decimal, "signed": signed, "count": count}
    return environment.get_template("comparison.html.j2").render(
        # Inside the page, which is one file.
        style=Markup(environment.loader.get_source(environment, "style.css")[0]),  # type: ignore[union-attr]
        verdict=describe_comparison(found),
        tone="warning" if found.failed or found.stopped or not ablation.winner.crowned else "good",
        ablation=ablation, winner=ablation.winner, any_crowned=any_crowned, chart=Markup(chart.inline("c")),
        axes=found.plan.axes,
        facts=_facts(found), rows=[_row(found, one) for one in ablation.standings], failed=found.failed,
        more=max(0, len(ablation.standings) - _MOST_ROWS), interval=_interval, mode_term=mode_term,
        modes=in_order(ablation.modes, MODES), reading=READING.items(), common=_common_settings(found),
    )  # fmt: skip


def label(setting: Mapping[str, str]) -> str:
    """Return what tables call a setting."""
    return ", ".join(f"{key}={value}" for key, value in setting.items()) or "as it is"


def _facts(found: Compared) -> list[tuple[str, str, str]]:
    ablation = _ablation(found)
    settings, seeds = len(found.plan.cells) // found.plan.seeds, found.plan.seeds
    done = f"{len(found.done)} of {len(found.plan.cells)} fits done"
    winner = ablation.winner
    return [
        ("Settings", count(settings), f"{seeds} seed{'s' if seeds > 1 else ''} each, {done}"),
        ("Winner, validation", decimal(winner.validation), _range(winner) and f"seeds {_range(winner)}"),
        ("Winner, test", decimal(winner.test.mean), _interval(winner.test)),
        ("Gain on the test", signed(winner.gain.mean), signed_between(winner.gain.low, winner.gain.high)),
        ("Test images", count(ablation.images), "with objects"),
    ]


def _row(found: Compared, one: Standing) -> dict[str, Any]:
    runs = [(seed, f"{place}/report.html") for seed, place in found.runs_of(one.setting)]
    return {
        "one": one,
        "seeds": _range(one),
        "tone": _tone(one),
        "runs": [(seed, page) for seed, page in runs if (found.plan.folder / page).is_file()],
    }


def _common_settings(found: Compared) -> list[tuple[str, str]]:
    """Return what the command line set for all fits alike."""
    varied = {axis.name for axis in found.plan.axes} | {"out", "training.seed", "preset"}
    entries = found.plan.cells[0].settings.entries()
    return [
        (name, plain(entry["value"]))
        for name, entry in entries.items()
        if name not in varied and entry["origin"] in {"command line", "--set"}
    ]


def _tone(one: Standing) -> str:
    if one.behind is None or not one.clear:
        return ""
    return "good" if one.behind.mean > 0 else "bad"


def _against(one: Standing) -> str:
    if one.behind is None:
        return "–"
    word = {"good": " better", "bad": " worse", "": ""}[_tone(one)]
    return f"{signed(one.behind.mean)}{_bracketed(signed_between(one.behind.low, one.behind.high))}{word}"


def _range(one: Standing) -> str:
    if len(one.seeds) < 2:
        return ""
    return between(min(one.validation_by_seed), max(one.validation_by_seed))


def _interval(figure: Figure) -> str:
    return between(figure.low, figure.high)


def _with(figure: Figure) -> str:
    return f"{decimal(figure.mean)}{_bracketed(_interval(figure))}"


def _gain(figure: Figure) -> str:
    return f"{signed(figure.mean)}{_bracketed(signed_between(figure.low, figure.high))}"


def _bracketed(text: str) -> str:
    return f" ({text})" if text else ""


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = [":--", *["--:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rule, *rows))


def _ablation(found: Compared) -> Ablation:
    if found.ablation is None:
        raise ValueError("a comparison without a finished fit has no report")
    return found.ablation
