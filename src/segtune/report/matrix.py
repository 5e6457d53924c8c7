"""The prompt matrix as a report lays it out: one table per metric, a mode a row, with a drawing of the intervals."""

from __future__ import annotations

from dataclasses import dataclass

from segtune.evaluation.results import Difference, Row
from segtune.report.glossary import METRICS, Term, metric_term, mode_term, model_label
from segtune.report.numbers import between, count, decimal, p_value, signed, signed_between
from segtune.report.run import RunView, is_baseline


@dataclass(frozen=True)
class Cell:
    """One model in one mode: texts, ready to be shown."""

    model: str
    mean: str
    interval: str
    pooled: str
    best: bool


@dataclass(frozen=True)
class Change:
    """A paired difference: texts, and "good", "bad" or "" by what its interval says."""

    mean: str
    interval: str
    p: str
    tone: str


@dataclass(frozen=True)
class Mark:
    """One model's interval as it is drawn: shares of the axis, 0 left to 1 right."""

    model: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """One mode of a table."""

    mode: str
    term: Term
    cells: tuple[Cell, ...]
    change: Change | None
    marks: tuple[Mark, ...]
    n: str


@dataclass(frozen=True)
class Comparison:
    """A paired difference other than the main one."""

    model: str
    against: str
    mode: str
    change: Change
    n: str


@dataclass(frozen=True)
class Table:
    """The matrix by one metric.

    Attributes:
        metric: its name.
        term: its words.
        models: names of the columns; the baselines last.
        lines: one per mode.
        others: further comparisons.
        top: right end of the drawn axis.
        has_pooled: whether any cell has a pooled value.
    """

    metric: str
    term: Term
    models: tuple[str, ...]
    lines: tuple[Line, ...]
    others: tuple[Comparison, ...]
    top: float
    has_pooled: bool


def build_tables(run: RunView) -> tuple[Table, ...]:
    """Return one table per metric that was scored."""
    return tuple(_build(run, metric) for metric in run.metrics)


def change_of(difference: Difference | None) -> Change | None:
    """Return a difference as texts; its tone says whether the whole interval lies on one side of zero."""
    if difference is None:
        return None
    places = metric_term(difference.metric).places
    tone = "good" if difference.better else "bad" if difference.worse else ""
    interval = signed_between(difference.low, difference.high, places)
    return Change(signed(difference.mean, places), interval, p_value(difference.p), tone)


def _build(run: RunView, metric: str) -> Table:
    rows = [row for row in run.results.rows if row.metric == metric]
    models = tuple(model for model in run.models if any(row.model == model for row in rows))
    top = _axis_end(metric, rows)
    lines = tuple(_line(run, metric, mode, models, top) for mode in run.modes)
    others = tuple(
        Comparison(model_label(one.model), model_label(one.against), mode_term(one.mode).label, change, count(one.n))
        for one in run.results.differences
        if one.metric == metric and (one.model, one.against) != run.pair and (change := change_of(one))
    )
    return Table(metric, metric_term(metric), models, lines, others, top, any(row.pooled is not None for row in rows))


def _line(run: RunView, metric: str, mode: str, models: tuple[str, ...], top: float) -> Line:
    rows = {model: run.results.row(model, mode, metric) for model in models}
    known = {model: row for model, row in rows.items() if row is not None and row.mean is not None}
    # Baselines take no part: that a box beats a model is told in words.
    best = _best({model: row for model, row in known.items() if not is_baseline(model)}, metric_term(metric))
    subject, reference = run.pair
    difference = run.results.difference(subject, reference, mode, metric) if subject and reference else None
    return Line(
        mode=mode,
        term=mode_term(mode),
        cells=tuple(_cell(model, row, metric, best) for model, row in rows.items()),
        change=change_of(difference),
        marks=tuple(_mark(row, top) for row in known.values()),
        n=count(max((row.n for row in known.values()), default=None)),
    )


def _cell(model: str, row: Row | None, metric: str, best: str | None) -> Cell:
    if row is None:
        return Cell(model, "", "", "", False)
    places = metric_term(metric).places
    pooled = "" if row.pooled is None else decimal(row.pooled, places)
    return Cell(model, decimal(row.mean, places), between(row.low, row.high, places), pooled, model == best)


def _best(rows: dict[str, Row], term: Term) -> str | None:
    # The only one is no best.
    if len(rows) < 2:
        return None
    choose = max if term.higher_is_better else min
    best = choose(rows, key=lambda model: rows[model].mean or 0.0)
    # Of several that read alike none is.
    alike = sum(decimal(row.mean, term.places) == decimal(rows[best].mean, term.places) for row in rows.values())
    return best if alike == 1 else None


def _mark(row: Row, top: float) -> Mark:
    mean = row.mean or 0.0
    # Without an interval the mark is a dot at the mean.
    low, high = (mean if end is None else end for end in (row.low, row.high))
    return Mark(row.model, mean / top, low / top, high / top)


def _axis_end(metric: str, rows: list[Row]) -> float:
    if metric in METRICS and METRICS[metric].higher_is_better:
        return 1.0
    ends = [end for row in rows for end in (row.mean, row.high) if end is not None]
    # Losses have no upper bound. An axis of length 0 could not be divided by.
    return max(ends, default=1.0) * 1.05 or 1.0
