"""Write the report: `report.html`, `report.md` and `matrix.csv`, from the files of a run or an evaluation."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtune.core.files import write_text
from segtune.core.progress import SILENT, Progress
from segtune.evaluation.results import write_matrix
from segtune.report import facts
from segtune.report.blend import draw_blend, tell_blend
from segtune.report.calibration import calibration_lines, calibration_modes, draw_calibration
from segtune.report.charts import colour_of, draw_distribution, draw_iou_curves, draw_loss_curves, draw_paired
from segtune.report.doctor import describe_data, draw_object_sizes, list_findings
from segtune.report.forgetting import build_forgetting, draw_forgetting
from segtune.report.gallery import (
    FOLDER,
    Example,
    Gallery,
    Pictures,
    StoredPicture,
    choose_examples,
    choose_failures,
    read_gallery,
    store_pictures,
)  # fmt: skip
from segtune.report.glossary import metric_term, mode_term, model_label
from segtune.report.markdown import build_markdown
from segtune.report.matrix import build_tables
from segtune.report.numbers import count, decimal, moment, plain, signed
from segtune.report.review import build_review
from segtune.report.run import RunView, is_baseline, read_run
from segtune.report.sensitivity import describe_sensitivity, sensitivity_lines
from segtune.report.svg import Chart, colour_variable
from segtune.report.unseen import build_unseen
from segtune.runs.folder import RunFolder


@dataclass(frozen=True)
class ModeCharts:
    """The charts of one prompt mode, as elements of the page."""

    mode: str
    distribution: str
    paired: str


@dataclass(frozen=True)
class Card:
    """One image with its pictures; `anchor` is its place in the page."""

    anchor: str
    example: Example
    picture: StoredPicture


def write_report(folder: Path, pictures: Pictures | None = None, progress: Progress = SILENT) -> Path:
    """Write the report of a run or evaluation folder into it, and return the page's path.

    Args:
        folder: holds `metrics.json`; `per_image.csv`, `log.jsonl`, `settings.yaml`, `split.json`, `check.json` and
            `run.json` are told of where they are there.
        pictures: (image name, prompt mode) → what the models answer there. They are drawn into `figures/`; without it,
            those of an earlier report are shown again, as long as they are of the same scores.
        progress: told of each picture.

    Raises:
        DataError: no `metrics.json`, or a file that is not what its name says.
        ResourceError: the disk is full or the folder cannot be written.
    """
    run = read_run(folder)
    gallery = store_pictures(run, pictures, progress) if pictures and run.scores else read_gallery(folder)
    curves, trust = draw_curves(run), draw_calibration(run)
    for name, chart in (curves | draw_changes(run) | trust).items():
        write_text(folder / FOLDER / f"{name}.svg", chart.standalone())
    # Written anew too: it follows metrics.json, also when that came from elsewhere.
    write_matrix(folder / "matrix.csv", run.results.rows)
    curve_files, trust_files = ({name: f"{FOLDER}/{name}.svg" for name in charts} for charts in (curves, trust))
    write_text(folder / "report.md", build_markdown(run, gallery, curve_files, trust_files))
    page = RunFolder(folder).report
    write_text(page, build_page(run, gallery, curves, trust))
    return page


def draw_curves(run: RunView) -> dict[str, Chart]:
    """Draw the training curves by name; none without a training log."""
    if run.log is None or len(run.log.epochs) < 2:
        return {}
    drawn = {"iou": draw_iou_curves(run.log), "loss": draw_loss_curves(run.log)}
    return {name: chart for name, chart in drawn.items() if chart is not None}


def draw_changes(run: RunView) -> dict[str, Chart]:
    """Draw by name what tuning changed on general images, and the curve of a blend; none where neither is known."""
    drawn = {"blend": draw_blend(run), "general": draw_forgetting(run)}
    return {name: chart for name, chart in drawn.items() if chart is not None}


def build_page(run: RunView, gallery: Gallery, curves: Mapping[str, Chart], trust: Mapping[str, Chart]) -> str:
    """Return the whole page as HTML that asks no other host for anything."""
    # Imported here, so that reading a run does not wait for a template engine.
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        # Unknown names in a template are errors, and what files say is escaped.
        loader=PackageLoader("segtune.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"decimal": decimal, "signed": signed, "count": count, "plain": plain, "moment": moment}
    environment.globals |= {"mode_term": mode_term, "metric_term": metric_term, "model_label": model_label}
    template = environment.get_template("report.html.j2")
    context = _context(run, gallery, environment)
    sizes = draw_object_sizes(run.check)
    # Trusted as markup: `svg` escapes the description, matplotlib the texts.
    context["sizes_chart"] = Markup(sizes.inline("sizes")) if sizes else ""
    context["changes"] = {name: Markup(chart.inline(name)) for name, chart in draw_changes(run).items()}
    context["curves"] = {name: Markup(chart.inline(name)) for name, chart in curves.items()}
    context["trust"] = {name: Markup(chart.inline(name)) for name, chart in trust.items()}
    context["mode_charts"] = [
        {"mode": one.mode, "distribution": Markup(one.distribution), "paired": Markup(one.paired)}
        for one in _mode_charts(run)
    ]
    return template.render(context)


def _context(run: RunView, gallery: Gallery, environment: Any) -> dict[str, Any]:
    from markupsafe import Markup

    sizes, bucket_lines = facts.bucket_table(run)
    chosen, others = facts.settings_by_origin(run)
    examples = {mode: choose_examples(run, mode) for mode in run.leading_modes}
    failures = {mode: choose_failures(run, mode) for mode in run.leading_modes}
    shown = _cards(gallery, [one for found in examples.values() for one in found])
    rest = [one for found in failures.values() for one in found if (one.image, one.mode) not in shown]
    return {
        "run": run,
        "title": facts.title_of(run),
        "style": Markup("".join(_source(environment, name) for name in ("style.css", "report.css"))),
        "colours": {model: colour_variable(colour_of(run, model)) for model in run.models},
        "pair_label": pair_label(run),
        "is_baseline": is_baseline,
        "baselines": [model for model in run.models if is_baseline(model)],
        "has_change": run.pair[1] is not None,
        "warning": facts.warning(run),
        "unread": facts.unread_images(run),
        "facts": facts.key_facts(run),
        "tables": build_tables(run),
        "forgetting": build_forgetting(run),
        "blend": tell_blend(run),
        "domains": build_unseen(run.results),
        "review": build_review(run),
        "gallery": gallery,
        "examples": examples,
        "failures": failures,
        "cards": shown,
        "failure_cards": _cards(gallery, rest),
        # Read only when the template asks for it.
        "data_uri": lambda file: _data_uri(run.folder / FOLDER / file),
        "bucket_sizes": sizes,
        "bucket_lines": bucket_lines,
        "empty": facts.empty_facts(run),
        "sensitivity": sensitivity_lines(run),
        "sensitivity_told": describe_sensitivity(run),
        "calibration": calibration_lines(run),
        "calibration_modes": calibration_modes(run),
        "check": describe_data(run.check),
        "findings": list_findings(run.check),
        "data": facts.data_facts(run),
        "size_limits": facts.size_limits(run),
        "split": facts.split_facts(run),
        "command": facts.command_line(run),
        "settings": {"chosen": chosen, "others": others},
        "provenance": facts.provenance(run),
    }


def pair_label(run: RunView) -> str:
    """Return what the column of changes compares; nothing for tuned against pretrained, which goes without saying."""
    if run.pair == ("tuned", "pretrained") or None in run.pair:
        return ""
    return " − ".join(model_label(str(model)) for model in run.pair)


def _mode_charts(run: RunView) -> Iterator[ModeCharts]:
    if run.scores is None:
        return
    ordered = [*run.leading_modes, *(mode for mode in run.modes if mode not in run.leading_modes)]
    for mode in ordered:
        drawn = draw_distribution(run, run.scores, mode), draw_paired(run, run.scores, mode)
        distribution, paired = (
            chart.inline(f"{kind}-{mode}") if chart else "" for kind, chart in zip("dp", drawn, strict=True)
        )
        if distribution:
            yield ModeCharts(mode, distribution, paired)


def _cards(gallery: Gallery, examples: list[Example]) -> dict[tuple[str, str], Card]:
    cards = {}
    for example in examples:
        key = example.image, example.mode
        if key in gallery:
            cards[key] = Card(gallery[key].collage.removesuffix(".jpg"), example, gallery[key])
    return cards


def _data_uri(path: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _source(environment: Any, name: str) -> str:
    source: str = environment.loader.get_source(environment, name)[0]
    return source
