"""The images of a pretraining: drawn scenes and folders, with what of them is kept out of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtune.core.errors import UsageError
from segtune.core.files import read_json
from segtune.core.progress import SILENT, Progress
from segtune.data.cutouts import Cutouts
from segtune.data.dataset import Dataset
from segtune.data.drawn import drawn_dataset
from segtune.data.unlabelled import open_images, without_masks
from segtune.runs.data import open_as_set
from segtune.runs.folder import RunFolder
from segtune.runs.pretrain_look import Folders, look_over, require_enough, without
from segtune.runs.pretrain_settings import MAE, SCENES, PretrainSettings, SourceSettings
from segtune.training.processes import Processes

HELD_OUT = 900_000_000
"""Scenes from this seed on are for validation; training counts up from its first."""

Shared = tuple[Dataset, float]
"""Images, and their share of the stream."""


@dataclass(frozen=True)
class _Opened:
    """What images are taken from.

    Attributes:
        folders: those named by the settings.
        found: what was found when they were looked over.
        cutouts: pictures that drawn scenes hold, if any.
    """

    folders: Folders
    found: Mapping[str, Any]
    cutouts: Cutouts | None


@dataclass(frozen=True)
class PretrainSource:
    """One source of images with masks.

    Attributes:
        train: images that train.
        held_out: images with objects the model is looked at on; none of them, nor of their groups, nor their like,
            trains.
        share: of the stream.
    """

    train: Dataset
    held_out: Dataset
    share: float


@dataclass(frozen=True)
class PretrainData:
    """All images of a pretraining.

    Attributes:
        sources: with masks.
        unlabelled: those of the self-supervised start, masks unread; none where there is none, or it is done.
    """

    sources: tuple[PretrainSource, ...]
    unlabelled: tuple[Shared, ...]


def open_pretrain_data(
    settings: PretrainSettings,
    side: int,
    folder: RunFolder,
    processes: Processes,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = SILENT,
    *,
    resume: bool = False,
    started: bool = False,
) -> PretrainData | None:
    """Open the images, look over all that lie in folders, and part them.

    They are looked over when the run begins: what cannot be read takes no part, and the others' fingerprints keep their
    like, and that of what the base has seen, out of later tests. A resumed run goes by what was found.

    Args:
        settings: the whole tree.
        side: of the scenes that are drawn, in pixels.
        folder: of the run.
        processes: who trains together; the first one looks the images over.
        stop: says whether the user asked this process to stop.
        progress: what people see.
        resume: go by what was found when the run began.
        started: the self-supervised start is done, so that nothing is opened for it.

    Returns:
        The images; None where the user stopped the first look at them.

    Raises:
        UsageError: shares that do not fit, scenes for training that are for validation, cut-outs without scenes, or a
            run folder that is not the first process's.
        DataError: a folder that cannot be used, or has too few images, or images with objects, to keep some out of
            training; no cut-outs where they were said to be.
    """
    # A run of an earlier version has nothing to go by yet.
    is_new = processes.any(processes.is_first and not (resume and folder.sources.is_file()))
    shares = _shares(settings.data)
    _refuse_held_out_scenes(settings)
    cutouts = _open_cutouts(settings)
    folders = _open_folders(settings, with_start=is_new or not started)
    if is_new:
        if processes.is_first:
            look_over(folders, settings, folder, processes, stop, progress)
        processes.wait_while_busy()
        if processes.any(stop()):
            return None
    folder.require_shared(folder.sources)
    opened = _Opened(folders, read_json(folder.sources), cutouts)
    sources = tuple(
        _source(settings, side, name, share, opened) for name, share in zip(settings.data.sources, shares, strict=True)
    )
    return PretrainData(sources, () if started else _start(settings, side, sources, opened))


def _shares(data: SourceSettings) -> tuple[float, ...]:
    shares = data.shares or (1.0,) * len(data.sources)
    if len(shares) != len(data.sources):
        raise UsageError(
            f"There are {len(data.sources)} sources but {len(shares)} shares. Give data.shares one number a source."
        )
    return shares


def _open_folders(settings: PretrainSettings, *, with_start: bool) -> Folders:
    labelled = {name: open_as_set(Path(name), settings.data) for name in settings.data.sources if name != SCENES}
    for images in labelled.values():
        require_enough(images)  # before all of them are looked at
    named = settings.mae.sources or () if with_start and settings.model.init == MAE else ()
    limit = settings.data.pixel_limit
    return {
        "data": labelled,
        "mae": {name: open_images(Path(name), pixel_limit=limit) for name in named if name != SCENES},
    }


def _source(settings: PretrainSettings, side: int, name: str, share: float, opened: _Opened) -> PretrainSource:
    most = settings.validation.images
    if name == SCENES:
        scenes = _training_scenes(settings, settings.steps, side, opened.cutouts)
        return PretrainSource(scenes, drawn_dataset(most, side=side, first=HELD_OUT), share)
    images, told = opened.folders["data"][name], opened.found["data"][name]
    kept = told["held_out"]
    # Runs of earlier versions do not say which of them have an object.
    shown = told.get("held_out_with_objects", kept)
    # Of a group that is larger than asked for some will do, from its beginning to its end.
    held_out = images.subset(shown[:: -(-len(shown) // most)])
    return PretrainSource(without(images, {*kept, *_no_part(told)}), held_out, share)


def _no_part(told: Mapping[str, Any]) -> set[str]:
    """Return the images of a folder that take no part; runs of earlier versions know of none that are alike."""
    return {*told["unreadable"], *told.get("alike", ())}


def _start(
    settings: PretrainSettings, side: int, sources: Sequence[PretrainSource], opened: _Opened
) -> tuple[Shared, ...]:
    """Return the images of the self-supervised start: of its own sources, or those that train afterwards."""
    if settings.model.init != MAE:
        return ()
    if settings.mae.sources is None:
        return tuple((without_masks(one.train), one.share) for one in sources)
    steps = settings.start_recipe.steps or 1
    return tuple(
        (without_masks(_training_scenes(settings, steps, side, opened.cutouts)), 1.0)
        if name == SCENES
        else (without(opened.folders["mae"][name], _no_part(opened.found["mae"][name])), 1.0)
        for name in settings.mae.sources
    )


def _refuse_held_out_scenes(settings: PretrainSettings) -> None:
    first, batch = settings.data.first, settings.recipe.optimizer.batch
    taken = [settings.steps] if SCENES in settings.data.sources else []
    if settings.model.init == MAE and SCENES in (settings.mae.sources or ()):
        taken.append(settings.start_recipe.steps or 1)
    for steps in taken:
        if first + steps * batch > HELD_OUT:
            raise UsageError(
                f"Scenes from {HELD_OUT} on are kept out of training, to look at the model; from data.first = {first} "
                f"on, {steps} steps of {batch} scenes would go up to {first + steps * batch}. Give a smaller "
                "data.first, or fewer steps."
            )


def _open_cutouts(settings: PretrainSettings) -> Cutouts | None:
    asked = settings.data
    if asked.cutouts is None:
        if asked.cutout_share != SourceSettings().cutout_share:
            raise UsageError("data.cutout_share says how many things are cut-outs, but data.cutouts names no folder.")
        return None
    if SCENES not in (*asked.sources, *(settings.mae.sources or ())):
        raise UsageError(
            f"data.cutouts={asked.cutouts} is for drawn scenes, and none are drawn here. Add --data {SCENES}, or leave "
            "data.cutouts out."
        )
    return Cutouts.open(Path(asked.cutouts), asked.cutout_share, pixel_limit=asked.pixel_limit)


def _training_scenes(settings: PretrainSettings, steps: int, side: int, cutouts: Cutouts | None) -> Dataset:
    """Return a scene for each image of so many steps, so that none is seen twice."""
    count, first = settings.recipe.optimizer.batch * steps, settings.data.first
    return drawn_dataset(count, side=side, first=first, cutouts=cutouts)
