"""Other domains: models by domain and prompt mode, and what they lose there against the evaluation's own images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from segtune.evaluation.results import Drop, Results, Row, Unseen
from segtune.report.glossary import MODES, in_order, mode_term, model_label
from segtune.report.matrix import Change
from segtune.report.numbers import MISSING, between, count, decimal, signed, signed_between


@dataclass(frozen=True)
class DomainCell:
    """One model in one mode on one domain: texts; `drop` is None on the evaluation's own images."""

    mean: str
    interval: str
    drop: Change | None


@dataclass(frozen=True)
class DomainLine:
    """One model on one domain, a cell for each mode."""

    domain: str
    images: str
    model: str
    cells: tuple[DomainCell, ...]


@dataclass(frozen=True)
class DomainTable:
    """Domains × modes.

    Attributes:
        modes: labels of the columns.
        lines: the evaluation's own images first, then each domain, a line for every model.
        left_out: a sentence for each domain of which images were left out.
    """

    modes: tuple[str, ...]
    lines: tuple[DomainLine, ...]
    left_out: tuple[str, ...]


def build_unseen(results: Results) -> DomainTable | None:
    """Return domains × modes by IoU; None where no other domain was scored."""
    if not results.unseen:
        return None
    modes = in_order(results.modes, MODES)
    models = tuple(dict.fromkeys(row.model for row in results.unseen[0].rows))
    home = str((results.data.get("dataset") or {}).get("path") or "own images")
    images = count(results.data.get("images"))
    lines = [
        DomainLine(Path(home).name, images, model_label(model), _cells(results, model, modes, None)) for model in models
    ]
    for one in results.unseen:
        lines += [
            DomainLine(one.name, count(one.images), model_label(model), _cells(results, model, modes, one))
            for model in models
        ]
    return DomainTable(tuple(mode_term(mode).label for mode in modes), tuple(lines), tuple(_left_out(results)))


def tell_unseen(results: Results) -> list[str]:
    """Return the verdict on each domain and the table as plain text; nothing where no other domain was scored."""
    table = build_unseen(results)
    if table is None:
        return []
    head = ("IoU", "", *in_order(results.modes, MODES))
    rows: list[tuple[str, ...]] = [head]
    for line in table.lines:
        rows.append((line.domain, line.model, *(cell.mean for cell in line.cells)))
        if any(cell.drop for cell in line.cells):
            # A star, not a colour: this may go to a file.
            drops = (f"{cell.drop.mean}{'*' if cell.drop.tone else ''}" if cell.drop else "" for cell in line.cells)
            rows.append(("", "change", *drops))
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    text = "\n".join(
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
    return [*(one.verdict for one in results.unseen), f"{text}\n* the 95 % interval is without zero", *table.left_out]


def _cells(results: Results, model: str, modes: tuple[str, ...], domain: Unseen | None) -> tuple[DomainCell, ...]:
    if domain is None:
        return tuple(_cell(results.row(model, mode), None) for mode in modes)
    return tuple(_cell(domain.row(model, mode), domain.drop(model, mode)) for mode in modes)


def _cell(row: Row | None, drop: Drop | None) -> DomainCell:
    if row is None:
        return DomainCell(MISSING, "", None)
    return DomainCell(decimal(row.mean), between(row.low, row.high), None if drop is None else _change(drop))


def _change(drop: Drop) -> Change:
    tone = "good" if drop.better else "bad" if drop.worse else ""
    return Change(signed(drop.mean), signed_between(drop.low, drop.high), "", tone)


def _left_out(results: Results) -> Iterator[str]:
    for one in results.unseen:
        if number := one.left_out.get("images"):
            were = "images were" if number > 1 else "image was"
            yield f"{count(number)} {were} left out of {one.name}: a compared run has learned from them or their like."
