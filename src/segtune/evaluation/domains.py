"""Other domains: the same models on data of another clinic, camera or season, held against the evaluation's own.

The two sets of images differ, so nothing is paired between them: a drop is a difference of two means, and its interval
resamples each set by itself. Part of it is that one set is harder than the other; a second model on the same sets (the
pretrained one) shows how large that part is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segtune.core.progress import SILENT, Progress
from segtune.data.dataset import Dataset
from segtune.evaluation.conclusion import MatrixResult
from segtune.evaluation.matrix import evaluate
from segtune.evaluation.results import Drop, Results, Unseen
from segtune.evaluation.statistics import Bootstrap
from segtune.evaluation.tally import ScoreTable
from segtune.evaluation.verdict import LEADING_MODES, build_verdict, format_interval, format_score
from segtune.models.family import PromptableModel
from segtune.segment.refine import Cleanup


@dataclass(frozen=True)
class Domain:
    """Images of another domain.

    Attributes:
        name: for tables and for the folder of its own tables.
        path: where they lie.
        dataset: what is scored.
        left_out: what is not, because a compared model has learned from it.
        home: name of the data that it is held against.
    """

    name: str
    path: str
    dataset: Dataset
    left_out: Mapping[str, Any]
    home: str


def measure_domains(
    models: Mapping[str, PromptableModel],
    home: MatrixResult,
    domains: Sequence[Domain],
    *,
    modes: Iterable[str] | None = None,
    seed: int = 0,
    folder: Path | None = None,
    cleanups: Mapping[str, Cleanup] | None = None,
    progress: Progress = SILENT,
) -> tuple[Unseen, ...]:
    """Score models on other domains by the same matrix and tell what they lose against their own images.

    Args:
        models: name → model, those that `home` was made of.
        home: the matrix on the evaluation's own images.
        domains: the others.
        modes: prompt modes, those of `home`.
        seed: of prompts and intervals.
        folder: gets a folder for each domain, by its name, with `per_image.csv` and `per_object.csv`.
        cleanups: model's name → how its masks are cleaned.
        progress: hears of every image.

    Raises:
        DataError: of a domain not one image could be scored.
    """
    wanted = None if modes is None else tuple(modes)
    own = _bootstrap(home.scores, seed)
    found = []
    for domain in domains:
        place = None if folder is None else folder / domain.name
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)
        there = evaluate(
            models, domain.dataset, modes=wanted, seed=seed, folder=place, baselines=False, subject=home.subject,
            cleanups=cleanups, progress=progress,
        )  # fmt: skip
        drops = tuple(_drops(there.scores, _bootstrap(there.scores, seed), home.scores, own))
        sizes = int(there.data["images"]), int(there.data["objects"])
        one = Unseen(domain.name, domain.path, *sizes, there.rows, there.differences, drops, domain.left_out)
        found.append(replace(one, verdict=_verdict(one, domain.home, there)))
    return tuple(found)


def _bootstrap(table: ScoreTable, seed: int) -> Bootstrap | None:
    """Return the resampling of a table's means; None for data of images without objects."""
    groups = table.groups if any(table.groups) else None
    return Bootstrap(table.values, groups, seed=seed) if table.names else None


def _drops(table: ScoreTable, there: Bootstrap | None, home: ScoreTable, own: Bootstrap | None) -> Iterator[Drop]:
    if there is None or own is None:
        return
    places = {column: place for place, column in enumerate(home.columns)}
    for column, name in enumerate(table.columns):
        interval = there.interval_from(column, own, places[name])
        low, high = (interval.low, interval.high) if interval else (None, None)
        yield Drop(*name, there.mean(column) - own.mean(places[name]), low, high)


def _verdict(one: Unseen, home: str, there: MatrixResult) -> str:
    """Say how the subject fares there against its own images, and then against the other model on the same ones."""
    drops = {drop.mode: drop for drop in one.drops if (drop.model, drop.metric) == (there.subject, "iou")}
    sentences = [_against_home(one, home, there.subject, drops)] if drops else []
    if there.rival is not None:
        results = Results(there.rows, there.differences)
        sentences.append(f"On {one.name} itself: {build_verdict(results, there.subject, there.rival)}")
    return " ".join(sentences)


def _against_home(one: Unseen, home: str, subject: str, drops: Mapping[str, Drop]) -> str:
    lower, higher = sum(drop.worse for drop in drops.values()), sum(drop.better for drop in drops.values())
    said = [f"clearly lower in {lower}"] if lower else []
    said += [f"clearly higher in {higher}"] if higher else []
    words = " and ".join(said) if said else "not clearly different in any"
    # A single image or group, here or there, has no interval.
    if all(drop.low is None for drop in drops.values()):
        words = "not shown to differ, for one image or group cannot show it, in any"
    modes = f"of {len(drops)} prompt mode{'s' if len(drops) > 1 else ''}"
    lead = next((drops[mode] for mode in LEADING_MODES if mode in drops), next(iter(drops.values())))
    row = one.row(subject, lead.mode)
    after = row.mean if row is not None else None
    before = None if after is None or lead.mean is None else after - lead.mean
    change = format_score(lead.mean, digits=3, signed=True)
    if lead.low is not None and lead.high is not None:
        change += f", 95 % interval {format_interval(lead.low, lead.high, digits=3)}"
    return (
        f"IoU of {subject} on {one.name} ({one.images} image{'s' if one.images != 1 else ''}) is {words} {modes} "
        f"against {home}; {lead.mode} {format_score(before, digits=3)} → {format_score(after, digits=3)} ({change})."
    )
