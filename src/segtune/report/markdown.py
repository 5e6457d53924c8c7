"""The report as Markdown that GitHub and model cards render."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from segtune.report import facts
from segtune.report.blend import blend_rows, tell_blend
from segtune.report.calibration import calibration_lines
from segtune.report.doctor import describe_data, list_findings
from segtune.report.forgetting import build_forgetting
from segtune.report.gallery import FOLDER, Example, Gallery, choose_examples, choose_failures
from segtune.report.glossary import metric_term, mode_term, model_label
from segtune.report.matrix import Cell, Change, Table, build_tables
from segtune.report.numbers import decimal, plain, signed
from segtune.report.review import ReviewLine, build_review
from segtune.report.run import RunView
from segtune.report.sensitivity import describe_sensitivity, sensitivity_lines
from segtune.report.unseen import build_unseen

_SPECIAL = str.maketrans(
    # Names of files and classes hold such marks, which would become emphasis, links or columns.
    {character: f"\\{character}" for character in "\\`*_[]|#~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;", "\n": " "}
)


def escape(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, in a table cell too."""
    return text.translate(_SPECIAL)


def build_markdown(
    run: RunView, gallery: Gallery, curves: Mapping[str, str], trust: Mapping[str, str] | None = None
) -> str:
    """Return the whole report.

    Args:
        run: what is told.
        gallery: its pictures.
        curves: name → file of the training curves, relative to the report.
        trust: name → file of the charts of predicted quality.
    """
    sections = [
        _verdict(run), _matrix(run), _forgetting(run), _unseen(run), _curves(curves), _examples(run, gallery),
        _failures(run), _review(run, gallery), _sizes(run), _empty(run), _prompted(run), _trust(run, trust or {}),
        _data(run), _made(run), _reading(run),
    ]  # fmt: skip
    return "\n\n".join(section for section in sections if section) + "\n"


def _verdict(run: RunView) -> str:
    state = {True: "**Crowned.** ", False: "**Not crowned.** ", None: ""}[run.results.crowned]
    lines = [f"# {escape(facts.title_of(run))}", f"{state}{escape(run.results.verdict)}"]
    if warning := facts.warning(run):
        # GitHub draws this as a red box; elsewhere it is a quotation.
        lines.append(f"> [!CAUTION]\n> {escape(warning)}")
    lines.append(
        "\n".join(
            f"- {escape(fact.label)}: {fact.value}{f' ({fact.note})' if fact.note else ''}"
            for fact in facts.key_facts(run)
        )
    )
    return "\n\n".join(lines)


def _matrix(run: RunView) -> str:
    parts = ["## The prompt matrix", "Mean over images with its 95 % interval; pooled over all pixels in italics."]
    for number, table in enumerate(build_tables(run)):
        text = _matrix_table(table)
        # The first metric is open, the others fold.
        if number:
            text = _folded(escape(table.term.label), text)
        parts.append(text)
    return "\n\n".join(parts)


def _matrix_table(table: Table) -> str:
    compared = any(line.change for line in table.lines)
    head = [
        table.term.label,
        *(escape(model_label(model)) for model in table.models),
        *(["Change", "p"] if compared else []),
        "Images",
    ]
    rows = []
    for line in table.lines:
        change = [_with_interval(line.change), line.change.p] if line.change else ["–", "–"]
        cells = [_cell(cell) for cell in line.cells]
        rows.append([f"{line.term.label} `{line.mode}`", *cells, *(change if compared else []), line.n])
    return _table(head, rows, left=1)


def _cell(cell: Cell) -> str:
    if not cell.mean:
        return ""
    mean = f"**{cell.mean}**" if cell.best else cell.mean
    return f"{mean}{f' ({cell.interval})' if cell.interval else ''}{f' *{cell.pooled}*' if cell.pooled else ''}"


def _with_interval(change: Change) -> str:
    return f"{change.mean}{f' ({change.interval})' if change.interval else ''}"


def _forgetting(run: RunView) -> str:
    table, general = build_forgetting(run), run.results.general
    if table is None or general is None:
        return ""
    compared = [f"Change, {escape(model)}" for model in table.compared]
    rows = [
        [
            line.label,
            *line.means,
            *(_with_interval(one) if one else "–" for one in line.changes_and_gain),
        ]
        for line in table.lines
    ]
    head = ["IoU on general images", *map(escape, table.models), *compared, f"{escape(table.subject)} on your images"]
    text = f"{escape(general.verdict)} {escape(table.note)}"
    picture = f"![Change of IoU on your images and on general ones]({FOLDER}/general.svg)"
    return "\n\n".join(["## Gain and forgetting", text, picture, _table(head, rows, left=1), *_blend(run)])


def _blend(run: RunView) -> list[str]:
    rows = blend_rows(run)
    if not rows:
        return []
    head = ["Alpha", "Gain on validation images", "95 % interval", "Change on general images", "95 % interval"]
    picture = f"![Gain and loss by the share of the tuned model]({FOLDER}/blend.svg)"
    return [
        "### Between the pretrained and the tuned model",
        escape(tell_blend(run)),
        picture,
        _table(head, rows, left=0),
    ]


def _unseen(run: RunView) -> str:
    table = build_unseen(run.results)
    if table is None:
        return ""
    rows = [
        [
            escape(line.domain),
            escape(line.model),
            *(f"{cell.mean} {_with_interval(cell.drop)}" if cell.drop else cell.mean for cell in line.cells),
        ]
        for line in table.lines
    ]
    told = [escape(one.verdict) for one in run.results.unseen]
    note = "IoU, and on other data its difference from the first with the 95 % interval; nothing is paired."
    return "\n\n".join(["## Other domains", *told, note, _table(["Data", "Model", *table.modes], rows, left=2)])


def _curves(curves: Mapping[str, str]) -> str:
    pictures = [f"![{name} by epoch]({file})" for name, file in curves.items()]
    return "\n\n".join(["## Training", *pictures]) if pictures else ""


def _examples(run: RunView, gallery: Gallery) -> str:
    parts = []
    for mode in run.leading_modes:
        for one in choose_examples(run, mode):
            if (one.image, mode) in gallery:
                file = gallery[one.image, mode].collage
                parts.append(f"{_caption(one)}\n\n![{escape(one.title)}]({FOLDER}/{file})")
    return "\n\n".join(["## Best, median and worst", *parts]) if parts else ""


def _caption(one: Example) -> str:
    gain = "" if one.gain is None else f", {signed(one.gain)}"
    return f"**{one.title}**, {mode_term(one.mode).label.lower()}{gain}: {escape(one.image)}"


def _failures(run: RunView) -> str:
    parts = []
    for mode in run.leading_modes:
        found = choose_failures(run, mode)
        if found:
            rows = [[one.title, escape(one.image), decimal(one.before), decimal(one.after)] for one in found]
            heads = [escape(model_label(model)) if model else "" for model in reversed(run.pair)]
            parts.append(f"{mode_term(mode).label}\n\n{_table(['#', 'Image', *heads], rows, left=2)}")
    return "\n\n".join(["## Where it fails", *parts]) if parts else ""


def _review(run: RunView, gallery: Gallery) -> str:
    found = build_review(run)
    if found is None:
        return ""
    rows = [
        [one.rank, escape(one.image), one.object, one.reason, one.iou, one.quality, one.agreement, one.doubt]
        for one in found.lines
    ]
    head = ["#", "Image", "Object", "Why", "IoU", "Quality", "Agreement", "Doubt"]
    pictures = [
        f"{_named(one)}\n\n![Label and answer]({FOLDER}/{gallery[one.place].collage})"
        for one in found.lines
        if one.place in gallery
    ]
    table = [escape(found.meaning), _table(head, rows, left=4), *pictures] if rows else []
    return "\n\n".join(["## Worth a second look", found.verdict, *table])


def _named(one: ReviewLine) -> str:
    return f"**{one.rank}**, {one.reason}: {escape(one.image)}"


def _sizes(run: RunView) -> str:
    sizes, lines = facts.bucket_table(run)
    if not lines:
        return ""
    rows = [[line.mode, *(f"{before} → {after}" for before, after, _ in line.sizes)] for line in lines]
    return "## By object size\n\n" + _table(["IoU", *(f"{size} ({n})" for size, n in sizes)], rows, left=1)


def _empty(run: RunView) -> str:
    found = facts.empty_facts(run)
    return "## Images without objects\n\n" + _list(found) if found else ""


def _prompted(run: RunView) -> str:
    lines = sensitivity_lines(run)
    if not lines:
        return ""
    head = ["Prompt", "Model", "Sensitivity", "IoU, own prompt", "IoU, other prompt", "IoU of both answers"]
    rows = [
        [
            one.mode, escape(one.label), f"{one.value}{f' ({one.interval})' if one.interval else ''}", one.own,
            one.other, one.alike,
        ]
        for one in lines
    ]  # fmt: skip
    meaning = (
        f"Each object is asked about by its own prompt and by one that is not about it: {describe_sensitivity(run)} "
        "Sensitivity is 1 − (IoU with the other answer) / (IoU with its own): 0 ignores the prompt, 1 follows it."
    )
    return "\n\n".join(["## Does it follow the prompt?", meaning, _table(head, rows, left=2)])


def _trust(run: RunView, charts: Mapping[str, str]) -> str:
    lines = calibration_lines(run)
    if not lines:
        return ""
    head = ["Model", "Predicted IoU", "True IoU", "ECE", "ECE by chance", "AURC", "AURC, true order", "AURC, no order"]
    rows = [
        [
            escape(one.label), one.predicted, one.actual, f"{one.error}{f' ({one.interval})' if one.interval else ''}",
            one.by_chance, one.area, one.best, one.chance,
        ]
        for one in lines
    ]  # fmt: skip
    pictures = [f"![{name} of predicted quality]({file})" for name, file in charts.items()]
    meaning = (
        "Predicted quality beside the true one, over all prompt modes. ECE: mean gap in ten bins; perfectly "
        "calibrated, it stays below the one by chance in 95 % of such draws of images. AURC: mean error, "
        "1 − IoU, when only the answers predicted best are kept."
    )
    return "\n\n".join(["## Can its own judgement be believed?", meaning, _table(head, rows, left=1), *pictures])


def _data(run: RunView) -> str:
    parts = [
        ("The data", describe_data(run.check)),
        ("What was found in it", [(one.severity, f"{one.title} {one.value}") for one in list_findings(run.check)]),
        ("What was scored", facts.data_facts(run)),
        ("The split", facts.split_facts(run)),
    ]
    return "\n\n".join(["## Data and split", *(f"### {title}\n\n{_list(items)}" for title, items in parts if items)])


def _made(run: RunView) -> str:
    parts = ["## How it was made"]
    if command := facts.command_line(run):
        parts.append(f"```\n{command}\n```")
    if run.settings:
        rows = [[f"`{one.name}`", escape(plain(one.value)), escape(one.origin)] for one in run.settings]
        parts.append(_folded(f"{len(rows)} settings", _table(["Setting", "Value", "Origin"], rows, left=3)))
    parts += [f"### {escape(topic)}\n\n{_list(items)}" for topic, items in facts.provenance(run)]
    return "\n\n".join(parts)


def _reading(run: RunView) -> str:
    modes = [(f"{mode_term(mode).label} `{mode}`", mode_term(mode).meaning) for mode in run.modes]
    metrics = [(metric_term(metric).label, metric_term(metric).meaning) for metric in run.metrics]
    lines = [f"- **{name}**: {escape(meaning)}" for name, meaning in (*modes, *metrics)]
    return "## How to read this\n\n" + "\n".join(lines)


def _folded(title: str, text: str) -> str:
    # Without the blank lines the Markdown inside would stay text.
    return f"<details>\n<summary>{title}</summary>\n\n{text}\n\n</details>"


def _list(items: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- {escape(name)}: {escape(text)}" for name, text in items)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int) -> str:
    """Return a table whose first `left` columns are set left, the numbers right."""
    rule = [":--" if number < left else "--:" for number in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))
