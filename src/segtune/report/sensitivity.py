"""How far masks follow the prompt, for people."""

from __future__ import annotations

from dataclasses import dataclass

from segtune.report.glossary import MODES, in_order, mode_term, model_label
from segtune.report.numbers import between, count, decimal
from segtune.report.run import RunView


@dataclass(frozen=True)
class SensitivityLine:
    """One model under one kind of prompt: texts; the ends of its interval and the figure as shares of an axis."""

    model: str
    label: str
    mode: str
    value: str
    interval: str
    own: str
    other: str
    alike: str
    at: float | None
    low: float
    high: float


def sensitivity_lines(run: RunView) -> tuple[SensitivityLine, ...]:
    """Return a line per kind of prompt and model, in the order of the matrix; none for results without them."""
    models = in_order((*run.models, *(one.model for one in run.results.sensitivity)), {})
    modes = in_order((one.mode for one in run.results.sensitivity), MODES)
    found = sorted(run.results.sensitivity, key=lambda one: (modes.index(one.mode), models.index(one.model)))
    return tuple(
        SensitivityLine(
            one.model, model_label(one.model), mode_term(one.mode).label, decimal(one.value),
            between(one.low, one.high), decimal(one.own), decimal(one.other), decimal(one.alike), one.value,
            *(end if end is not None else one.value or 0.0 for end in (one.low, one.high)),
        )
        for one in found
    )  # fmt: skip


def describe_sensitivity(run: RunView) -> str:
    """Return what was asked of how much; empty for results without it."""
    if not run.results.sensitivity:
        return ""
    one = max(run.results.sensitivity, key=lambda found: found.objects)
    rest = one.objects - one.swapped
    where = [f"{count(one.swapped)} by the prompt of another object"] if one.swapped else []
    where += [f"{count(rest)} by one on the background"] if rest else []
    return f"{count(one.objects)} objects on {count(one.images)} images, {' and '.join(where)}."
