"""A run folder, or the folder of an evaluation, as a report reads it. Only `metrics.json` is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from segtune.core.errors import DataError
from segtune.core.files import RUN_SETTINGS, read_json
from segtune.evaluation.per_image import Scores, read_scores
from segtune.evaluation.results import Results, read_results
from segtune.report.glossary import BASELINE, METRICS, MODES, in_order
from segtune.report.log import TrainingLog, read_log

Json = Mapping[str, Any]

LEADING_MODES = ("click", "box", "point_box", "random_click")
"""Which modes are shown in pictures and first in charts: the first two of these that were scored."""


@dataclass(frozen=True)
class Setting:
    """One setting: dotted name, value, and where the value came from ("default", "preset slides", "command line")."""

    name: str
    value: Any
    origin: str

    @property
    def is_default(self) -> bool:
        """Whether nobody asked for this value."""
        return self.origin == "default"


@dataclass(frozen=True)
class RunView:
    """All that a report tells of.

    Attributes:
        folder: where it was read.
        results: the prompt matrix.
        scores: IoU by image, None without `per_image.csv`.
        log: training curves, None for an evaluation.
        settings: empty for a folder without `settings.yaml`.
        split: `split.json`, names included; empty without one.
        check: `check.json`; empty without one.
        run: `run.json`: command, versions, machine, times, hashes; empty without one.
        blend: `blend.json`: the curve between two models and the choice; empty without one.
    """

    folder: Path
    results: Results
    scores: Scores | None
    log: TrainingLog | None
    settings: tuple[Setting, ...]
    split: Json
    check: Json
    run: Json
    blend: Json = field(default_factory=dict)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Models in the order of reading: the reference, the subject, others, and the baselines last."""
        subject, reference = self.pair
        first = [model for model in (reference, subject) if model is not None]
        found = in_order((*first, *self.results.models), {})
        # False sorts before True, and the rest keeps its order.
        return tuple(sorted(found, key=is_baseline))

    @cached_property
    def modes(self) -> tuple[str, ...]:
        """Prompt modes that were scored."""
        return in_order(self.results.modes, MODES)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that were scored."""
        return in_order((row.metric for row in self.results.rows), METRICS)

    @cached_property
    def leading_modes(self) -> tuple[str, ...]:
        """One or two modes that stand for the rest."""
        wanted = [mode for mode in LEADING_MODES if mode in self.modes]
        return tuple((wanted + [mode for mode in self.modes if mode not in wanted])[:2])

    @cached_property
    def pair(self) -> tuple[str | None, str | None]:
        """(subject, reference): the model the report is about, and the one it is held against, if any."""
        real = [model for model in self.results.models if not is_baseline(model)]
        # Of no image there are no differences, and the names are those that a fit gives; an evaluation may be about
        # others, such as a model whose masks are cleaned.
        told = {(one.model, one.against) for one in self.results.differences}
        if ("tuned", "pretrained") in told or (not told and {"tuned", "pretrained"} <= set(real)):
            return "tuned", "pretrained"
        for difference in self.results.differences:
            if difference.model in real and difference.against in real:
                return difference.model, difference.against
        return (real[0] if real else None), None

    @property
    def images(self) -> int:
        """How many images the matrix is made of."""
        return max((row.n for row in self.results.rows), default=0)


def is_baseline(model: str) -> bool:
    """Say whether a model of the matrix is a shape that takes no skill."""
    return model.startswith(BASELINE)


def read_run(folder: Path) -> RunView:
    """Read what a run left.

    Raises:
        DataError: no `metrics.json`, or a file that is not what its name says.
    """
    metrics = folder / "metrics.json"
    if not metrics.exists():
        raise DataError(
            f"{folder} holds no metrics.json, and without it there is nothing to report. "
            "Name the folder of a finished 'segtune fit' or 'segtune evaluate'."
        )
    return RunView(
        folder=folder,
        results=read_results(metrics),
        scores=read_scores(folder / "per_image.csv"),
        log=read_log(folder / "log.jsonl"),
        settings=read_settings(folder / RUN_SETTINGS),
        split=_optional(folder / "split.json"),
        check=_optional(folder / "check.json"),
        run=_optional(folder / "run.json"),
        blend=_optional(folder / "blend.json"),
    )


def read_settings(path: Path) -> tuple[Setting, ...]:
    """Read `settings.yaml`: a tree whose leaves are {value, origin}; empty where there is none.

    Raises:
        DataError: it is not such a tree.
    """
    if not path.exists():
        return ()
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not readable YAML ({error}). Take it from the run folder it belongs to.") from error
    return tuple(_leaves(tree or {}, ()))


def _leaves(tree: Any, path: tuple[str, ...]) -> list[Setting]:
    if isinstance(tree, Mapping) and set(tree) == {"value", "origin"}:
        return [Setting(".".join(path), tree["value"], str(tree["origin"]))]
    if isinstance(tree, Mapping):
        return [leaf for key, branch in tree.items() for leaf in _leaves(branch, (*path, str(key)))]
    # A leaf without an origin: of a file written by hand.
    return [Setting(".".join(path), tree, "")]


def _optional(path: Path) -> Json:
    if not path.exists():
        return {}
    try:
        content = read_json(path)
    except ValueError as error:
        raise DataError(
            f"{path} is not readable JSON ({error}). Restore it, or remove it to report without it."
        ) from error
    return content if isinstance(content, Mapping) else {}
