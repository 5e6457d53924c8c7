"""`segtune compare`: a grid of fits, each an ordinary run folder, and what they come to."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from segtune.core.errors import DataError, SegtuneError, UsageError
from segtune.core.files import read_json, write_json
from segtune.core.progress import SILENT, Progress
from segtune.evaluation.ablation import Ablation, Trial, compare_trials
from segtune.evaluation.per_image import read_scores
from segtune.runs.data_size import count_training_images, suit_data
from segtune.runs.finetune import FitResult
from segtune.runs.folder import RunFolder, other_than_a_run
from segtune.runs.grid import Axis, Combination, combine, parse_axes
from segtune.runs.settings import DataSettings, SettingsWithOrigins, load_settings, read_settings

MANIFEST = "grid.json"
"""Marks the folder of a comparison."""

Fit = Callable[[SettingsWithOrigins, bool], FitResult | None]
"""Runs one fit and writes its report: its settings, and whether it goes on with what is in its folder."""

_PLACE = {"out", "device"}


@dataclass(frozen=True)
class Cell:
    """One fit of the grid: a combination with one seed, and the settings that makes."""

    combination: Combination
    seed: int
    settings: SettingsWithOrigins

    @property
    def folder(self) -> RunFolder:
        """The fit's own folder."""
        return RunFolder(Path(self.settings.settings.out))

    @property
    def is_done(self) -> bool:
        """Whether it ran to its end, the report: not cut off, nor stopped by the user."""
        folder = self.folder
        if not (folder.metrics.is_file() and folder.record.is_file() and folder.report.is_file()):
            return False
        record = read_json(folder.record)
        return "training" in record and not record.get("stopped", True)

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.combination}  seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """All fits of a comparison, one after the other."""

    folder: Path
    axes: tuple[Axis, ...]
    seeds: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Compared:
    """What came of a comparison.

    Attributes:
        plan: what was asked for.
        ablation: of the fits that are done; None when there is none yet.
        done: those fits.
        failed: name of each fit that failed → why.
        stopped: whether the user ended it before the last.
        part: of the split that was scored: "val" where it has no test part.
    """

    plan: Plan
    ablation: Ablation | None
    done: tuple[Cell, ...]
    failed: Mapping[str, str] = field(default_factory=dict)
    stopped: bool = False
    part: str = "test"

    def to_json(self) -> dict[str, Any]:
        """Return the content of comparison.json."""
        return {
            "vary": {axis.key: list(axis.values) for axis in self.plan.axes},
            "seeds": self.plan.seeds,
            "asked": len(self.plan.cells),
            "done": [{**cell.combination.values, "seed": cell.seed, "run": self._place(cell)} for cell in self.done],
            "failed": dict(self.failed),
            "stopped": self.stopped,
            "part": self.part,
            **({} if self.ablation is None else asdict(self.ablation)),
        }

    def runs_of(self, setting: Mapping[str, str]) -> list[tuple[int, str]]:
        """Return seed and folder, from the comparison's own, of a setting's finished fits."""
        return [(cell.seed, self._place(cell)) for cell in self.done if cell.combination.values == setting]

    def _place(self, cell: Cell) -> str:
        return cell.folder.path.relative_to(self.plan.folder).as_posix()


def plan_comparison(
    vary: Sequence[str], seeds: int, out: Path, *, preset: str, overrides: Sequence[str] = (), **given: Any
) -> Plan:
    """Return the fits of a grid, the settings of each made and checked before the first of them runs.

    Args:
        vary: "KEY=VALUE,VALUE" (`grid.parse_axes`).
        seeds: each combination runs with the training seeds 0 to this less one.
        out: the comparison's folder; each fit has one below it.
        preset: where nothing else is said.
        overrides: "dotted.name=value" for all fits.
        given: what `load_settings` takes besides.

    Raises:
        UsageError: a setting or a value that is not allowed, or a folder that holds something else.
    """
    return plan_grid(parse_axes(vary), seeds, out, preset=preset, overrides=overrides, **given)


def plan_grid(
    axes: tuple[Axis, ...],
    seeds: int,
    out: Path,
    *,
    preset: str,
    overrides: Sequence[str] = (),
    seeded: Sequence[str] = ("training.seed",),
    **given: Any,
) -> Plan:
    """Return the fits of a grid whose axes are known; see `plan_comparison`.

    Args:
        axes: what varies.
        seeds: how many of them.
        out: the folder.
        preset: where nothing else is said.
        overrides: "dotted.name=value" for all fits.
        seeded: the settings that take the seed.
        given: what `load_settings` takes besides.

    Raises:
        UsageError: a setting or a value that is not allowed, or a folder that holds something else.
    """
    counts: dict[DataSettings, int | None] = {}
    presets = next((axis for axis in axes if axis.name == "preset"), None)
    cells = []
    for combination in combine(axes):
        chosen = [axis.override(combination.values[axis.key]) for axis in axes if axis is not presets]
        for seed in range(seeds):
            settings = load_settings(
                preset=combination.values[presets.key] if presets else preset,
                out=out / combination.folder / f"seed-{seed}",
                # Last: they are what is asked for, whatever --set says.
                overrides=[*overrides, *chosen, *(f"{name}={seed}" for name in seeded)],
                **given,
            )
            data = settings.settings.data
            # Listed once, however many fits share it.
            if data not in counts:
                counts[data] = count_training_images(data)
            cells.append(Cell(combination, seed, suit_data(settings, counts[data])))
    require_own_folder(out)
    _require_same_question(out, axes, cells)
    for cell in cells:
        _require_unchanged(cell)
    return Plan(out, axes, seeds, tuple(cells))


def run_comparison(plan: Plan, fit: Fit, progress: Progress = SILENT) -> Compared:
    """Run the fits that are not done, go on with those that were cut off, and compare all that are done.

    A fit that fails is told and left out; the others go on.

    Args:
        plan: which.
        fit: runs one.
        progress: what people see.

    Raises:
        SegtuneError: no fit could be run; the first one's error.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    asked = {"vary": {axis.key: axis.values for axis in plan.axes}, "seeds": plan.seeds, "data": _data_of(plan.cells)}
    write_json(plan.folder / MANIFEST, asked)
    failed: dict[str, str] = {}
    first_error: Exception | None = None
    stopped = False
    for number, cell in enumerate(plan.cells, start=1):
        if cell.is_done:
            continue
        progress.say(f"[{number}/{len(plan.cells)}] {cell.name}")
        try:
            stopped = _run(cell, fit)
        except Exception as error:  # a night's work is not lost for one fit that runs out of memory
            failed[cell.name] = _told(error)
            first_error = first_error or error
            progress.say(f"Failed: {failed[cell.name]}")
            _give_memory_back(error)
        if stopped:
            break
    done = [cell for cell in plan.cells if cell.is_done]
    if not done and first_error is not None and not stopped:
        raise first_error
    trials, groups = read_trials(done, failed)
    ablation = compare_trials(list(trials.values()), groups) if trials else None
    counted = tuple(cell for cell in done if cell.name in trials)
    part = str(read_json(counted[0].folder.metrics)["data"]["part"]) if counted else "test"
    compared = Compared(plan, ablation, counted, failed, stopped, part)
    write_json(plan.folder / "comparison.json", compared.to_json())
    return compared


def _run(cell: Cell, fit: Fit) -> bool:
    """Run a fit and say whether the user stopped it; its models are let go before the next one's are made."""
    try:
        result = fit(cell.settings, cell.folder.path.exists())
    except KeyboardInterrupt:  # before it had learned anything, or by one who would not wait for its end
        return True
    return result is not None and result.interrupted


def require_own_folder(out: Path) -> None:
    """Refuse a folder that holds anything but a grid of fits.

    Raises:
        UsageError: it does, or this is one of several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "A comparison runs its fits in one process, but this is one of several. Start it without torchrun, or run "
            "the fits one by one with segtune fit."
        )
    other_than_a_run(out)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MANIFEST).is_file())):
        raise UsageError(
            f"{out} holds other things and no comparison. Give --out a new or an empty folder, or that of an earlier "
            "one to go on with; nothing was touched."
        )


def _require_same_question(out: Path, axes: Sequence[Axis], cells: Sequence[Cell]) -> None:
    """Refuse a folder that holds the answer to another question, which this one's would replace.

    Raises:
        UsageError: another setting was varied there, or other data looked at.
    """
    if not (out / MANIFEST).is_file():
        return
    before = read_json(out / MANIFEST)
    varied, asked = (", ".join(keys) for keys in (before["vary"], [axis.key for axis in axes]))
    # A grid of an earlier version does not say its data.
    data, known = _data_of(cells), before.get("data")
    if set(before["vary"]) != {axis.key for axis in axes} or (known is not None and known != data):
        raise UsageError(
            f"{out} holds a comparison that varies {varied}{f' on {known}' if known else ''}, and this one varies "
            f"{asked} on {data}: its result would be replaced. Give --out another folder; nothing was touched."
        )


def _data_of(cells: Sequence[Cell]) -> str:
    return ", ".join(sorted({str(Path(cell.settings.settings.data.path).absolute()) for cell in cells}))


def _require_unchanged(cell: Cell) -> None:
    """Refuse a fit that was begun with other settings than it is to have now, said or not."""
    if not cell.folder.is_fit:
        return
    before, now = read_settings(cell.folder.settings).entries(), cell.settings.entries()
    for name in now:
        if name not in _PLACE and before[name]["value"] != now[name]["value"]:
            raise UsageError(
                f"{cell.folder.path} holds a fit with {name} = {before[name]['value']!r}, and this comparison asks for "
                f"{now[name]['value']!r}: fits made with different settings would be compared as if they were alike. "
                "Ask for the same as before (more values and more seeds may be added), or give --out another folder; "
                "nothing was touched."
            )


def read_trials(done: Sequence[Cell], failed: dict[str, str]) -> tuple[dict[str, Trial], tuple[str | None, ...]]:
    """Return the trials of finished fits by name, all of the same images, and the images' groups.

    Args:
        done: finished fits.
        failed: gets those that were scored on other images than the first, with the reason.
    """
    trials: dict[str, Trial] = {}
    images: tuple[str, ...] | None = None
    groups: tuple[str | None, ...] = ()
    for cell in done:
        trial, scored, own_groups = _read_trial(cell)
        images, groups = (scored, own_groups) if images is None else (images, groups)
        if scored == images:
            trials[cell.name] = trial
        else:
            failed[cell.name] = (
                "It was scored on other images than the first fit, so the two cannot be compared: what a base that is "
                "itself a run has learned from is kept out of the test. A split of your own (--set data.split=FILE) is "
                "the same for all."
            )
    return trials, groups


def _read_trial(cell: Cell) -> tuple[Trial, tuple[str, ...], tuple[str | None, ...]]:
    record = read_json(cell.folder.record)
    scores = read_scores(cell.folder.path / "per_image.csv")
    if scores is None:
        raise DataError(f"{cell.folder.path} has no per_image.csv any more. Delete that folder to have it run again.")
    modes = dict.fromkeys(mode for model, mode in scores.iou if model == "tuned" and mode != "empty")
    # An image without objects has no IoU; it counts nowhere here.
    rows = [row for row in range(len(scores.images)) if all(scores.of("tuned", mode)[row] >= 0 for mode in modes)]
    tuned, pretrained = (
        {mode: scores.of(model, mode)[rows].astype("float64") for mode in modes} for model in ("tuned", "pretrained")
    )
    trial = Trial(
        setting=cell.combination.values,
        seed=cell.seed,
        validation=float(record["training"]["validation_score"]),
        crowned=bool(record["crowned"]),
        tuned=tuned,
        pretrained=pretrained,
        parameters=int(record["model"]["parameters_trained"]),
    )
    return trial, tuple(scores.images[row] for row in rows), tuple(scores.groups[row] for row in rows)


def _told(error: Exception) -> str:
    if isinstance(error, SegtuneError):
        return str(error)
    # Torch writes pages when memory runs out; the first line says so.
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def _give_memory_back(error: Exception) -> None:
    """What failed for want of memory must not keep it: a traceback holds every tensor of its frames."""
    error.__traceback__ = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
