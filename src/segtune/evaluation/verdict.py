"""What the matrix says, in a sentence or two for people."""

from __future__ import annotations

from collections.abc import Sequence

from segtune.core.digits import digits_shown
from segtune.evaluation.results import Difference, Results, Row

LEADING_MODES = ("box", "point_box", "click")
"""The mode whose figures are quoted: the first of these that was evaluated."""

_FINE = 0.01
"""Differences below this are written with a third digit."""

_SHAPES = {"baseline:box": "the box itself", "baseline:ellipse": "the ellipse in the box"}

_NAMES = {"iou": "IoU", "dice": "Dice", "boundary_iou": "boundary IoU"}


def build_verdict(
    results: Results, model: str, against: str | None = None, *, metric: str = "iou", crowned: bool | None = None
) -> str:
    """Return the verdict on `model`.

    Gains and losses are counted by the 95 % interval of the paired difference: a mode whose interval contains zero made
    no clear difference, whatever its mean.

    Args:
        results: rows and differences.
        model: the model that is judged.
        against: the model it is compared with; None describes `model` alone.
        metric: what is counted and quoted.
        crowned: False adds that the pretrained weights were kept.
    """
    sentences = []
    pairs = [one for one in results.differences if (one.model, one.against, one.metric) == (model, against, metric)]
    if pairs:
        sentences += [_compare(results, pairs), _beside_baselines(results, model, metric)]
    else:
        sentences.append(_describe([row for row in results.rows if (row.model, row.metric) == (model, metric)], metric))
    if crowned is False:
        sentences.append("No epoch beat the pretrained model on the validation images, so its weights were kept.")
    return " ".join(sentence for sentence in sentences if sentence)


def format_score(value: float | None, *, digits: int = 2, signed: bool = False) -> str:
    """Return a score as papers write it, .71, 1.00, +.15; a dash where there is none."""
    if value is None:
        return "–"
    # What rounds to nothing has no sign.
    value = value if round(value, digits) else 0.0
    text = f"{value:{'+' if signed and value else ''}.{digits}f}"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def _compare(results: Results, pairs: Sequence[Difference]) -> str:
    model, against, metric = pairs[0].model, pairs[0].against, _NAMES.get(pairs[0].metric, pairs[0].metric)
    up, down, same = _sort_out(pairs)
    subject, object_ = ("Tuning", "") if (model, against) == ("tuned", "pretrained") else (model, f" against {against}")
    modes = f"{len(pairs)} prompt mode{'s' if len(pairs) > 1 else ''}"
    images = f"{pairs[0].n} image{'s' if pairs[0].n > 1 else ''}"
    if pairs[0].groups is not None:
        images += f" of {pairs[0].groups} group{'s' if pairs[0].groups > 1 else ''}"
    # A single image or group, which has no interval.
    if pairs[0].low is None:
        return f"{images} in one piece cannot show whether {model} differs from {against}: a second one is needed."
    if not up and not down:
        where, which = (f"any of {modes}", "every") if len(pairs) > 1 else (modes, "the")
        text = f"{subject} made no clear difference in {metric}{object_} in {where} on {images}"
        return f"{text}: {which} 95 % interval contains zero; {_quote(results, _leading(pairs))}."
    parts = []
    if up:
        parts.append(f"raised {metric}{object_} in {len(up)} of {modes}{_list(up, len(pairs))}")
    if down:
        what = "it in" if up else f"{metric}{object_} in"
        parts.append(f"lowered {what} {len(down)}{'' if up else f' of {modes}'}{_list(down, len(pairs))}")
    if same:
        parts.append(f"made no clear difference in {len(same)}{_list(same, len(pairs))}")
    # Beside the leading mode the worst fall is quoted: a verdict must not hide it.
    quoted = [_leading(pairs)]
    if down and _worst(down) is not quoted[0]:
        quoted.append(_worst(down))
    figures = "; ".join(_quote(results, one) for one in quoted)
    return f"{subject} {_join(parts)} on {images}; {figures}."


def _sort_out(pairs: Sequence[Difference]) -> tuple[list[Difference], list[Difference], list[Difference]]:
    """Split into raised, lowered and unclear: the direction of the figure, which for the loss is not the better one."""
    up = [one for one in pairs if one.low is not None and one.low > 0]
    down = [one for one in pairs if one.high is not None and one.high < 0]
    return up, down, [one for one in pairs if one not in up and one not in down]


def _leading(pairs: Sequence[Difference]) -> Difference:
    by_mode = {one.mode: one for one in pairs}
    return next((by_mode[mode] for mode in LEADING_MODES if mode in by_mode), pairs[0])


def _worst(pairs: Sequence[Difference]) -> Difference:
    return min(pairs, key=lambda one: one.mean or 0.0)


def _quote(results: Results, one: Difference) -> str:
    before, after = (results.row(name, one.mode, one.metric) for name in (one.against, one.model))
    if one.mean == one.low == one.high == 0:
        return f"{one.mode} stays at {format_score(after.mean if after else None)}"
    # An end that is not zero is not written as if it were: whether the interval contains zero is the whole point.
    ends = [one.mean or 0.0, one.low or 0.0, one.high or 0.0]
    digits = 3 if abs(ends[0]) < _FINE or any(end and not round(end, 2) for end in ends) else 2
    figures = [format_score(row.mean if row else None, digits=digits) for row in (before, after)]
    interval = format_interval(ends[1], ends[2], digits=digits)
    change = format_score(one.mean, digits=digits, signed=True)
    return f"{one.mode} {figures[0]} → {figures[1]} ({change}, 95 % interval {interval})"


def format_interval(low: float, high: float, *, digits: int = 2) -> str:
    """Return the ends of an interval of differences; one that is not zero is not written as if it were."""
    return " to ".join(format_score(end, digits=digits_shown(end, digits)) for end in (low, high))


def _beside_baselines(results: Results, model: str, metric: str) -> str:
    """Say whether the model is clearly above the strongest shape that takes no skill."""
    rows = [row for row in results.rows if row.model in _SHAPES and (row.mode, row.metric) == ("box", metric)]
    rivals = [row for row in rows if results.difference(model, row.model, "box", metric)]
    if not rivals:
        return ""
    rival = max(rivals, key=lambda row: row.mean or 0.0)
    one = results.difference(model, rival.model, "box", metric)
    shape = f"{_SHAPES[rival.model]} ({format_score(rival.mean)})"
    if one is not None and one.better:
        return f"With a box it is above {shape}."
    return f"With a box it is not clearly above {shape}, which takes no skill."


def _describe(rows: Sequence[Row], metric: str) -> str:
    if not rows:
        return "Nothing was scored."
    figures = ", ".join(f"{row.mode} {format_score(row.mean)}" for row in rows)
    images = f"{rows[0].n} image{'s' if rows[0].n > 1 else ''}"
    return f"{_NAMES.get(metric, metric)} of {rows[0].model} on {images}: {figures}."


def _list(some: Sequence[Difference], of: int) -> str:
    return "" if len(some) == of else f" ({', '.join(one.mode for one in some)})"


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
