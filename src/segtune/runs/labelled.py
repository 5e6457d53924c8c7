"""Labelled images that a model has not learned from, for what is fitted to it afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from segtune.core.errors import DataError, UsageError
from segtune.core.progress import SILENT, Progress
from segtune.data.dataset import Dataset
from segtune.data.fingerprints import Fingerprints, fingerprints
from segtune.data.splits import read_split
from segtune.evaluation.leakage import find_leaks
from segtune.runs.data import RunData, open_run_data, stored_data
from segtune.runs.draw import blind_order, filled_by_turns
from segtune.runs.folder import RunFolder, run_of
from segtune.runs.known import fit_of, is_data_of, known_to, open_as_trained, read_like
from segtune.runs.settings import read_settings


@dataclass(frozen=True)
class Labelled:
    """Images with objects.

    Attributes:
        images: at most as many as were asked for, of as many groups as can be.
        left_out: how many were not taken because the model's run has learned from them or was tested on them.
    """

    images: Dataset
    left_out: int = 0


def validation_images(model: Path, most: int) -> Labelled:
    """Return validation images of the run that a model is of.

    Args:
        model: a run folder, its model/, or that of a blend of a run.
        most: how many.

    Raises:
        UsageError: the model is of no finished fit.
        DataError: the run's data cannot be read any more, or its validation part is empty.
    """
    data = _data_of(run_of(model))
    if data is None:
        raise UsageError(
            f"{model} is not of a finished fit, so nothing says what its validation images are. Give labelled images "
            "by --data."
        )
    if not data.split.val:
        raise DataError(f"The split of {model} has no validation images. Give labelled images by --data.")
    return Labelled(_drawn(data.val, most, {}, SILENT).images)


def other_images(model: Path, path: Path, most: int, *, tested: bool, progress: Progress = SILENT) -> Labelled:
    """Return images of other data, read as the model's run reads its own, without those that the run knows.

    Args:
        model: any; only a run knows images.
        path: the data.
        most: how many images.
        tested: leave the run's test images out as well, for what is fitted is told on them.
        progress: hears of every image that is looked at.

    Raises:
        DataError: the data cannot be used, nothing of it is left, or what the run was tested on cannot be read.
    """
    run = run_of(model)
    dataset = _open(path, run)
    known = known_to({"run": run})
    own: tuple[str, ...] = ()
    if run is not None and run.split.is_file():
        split = read_split(run.split)
        is_own = is_data_of(dataset, run)
        own = split.part("all") if is_own else ()
        if tested:
            test = dataset.subset(split.test) if is_own else _test_images(run)
            known["test"] = fingerprints(test, progress)
    taken = set(own)
    rest = dataset.subset(name for name in dataset.names if name not in taken)
    found = _drawn(rest, most, known, progress)
    left_out = len(own) + found.left_out
    if left_out and not len(found.images):
        raise DataError(
            f"{left_out} of the {len(dataset)} images of {path} are, or nearly duplicate, images that the run of "
            f"{model} has learned from or is tested on, and none of the others has an object, so nothing is left to "
            "fit to. Give other data; without --data the run's validation images are taken."
        )
    return Labelled(found.images, left_out)


def _open(path: Path, run: RunFolder | None) -> Dataset:
    """Open data as a run does: its own as it is, other data, which may be of another format, like it."""
    dataset, _ = open_as_trained(path, (run,))
    fit = fit_of(run)
    if run is None or fit is None or is_data_of(dataset, run):
        return dataset
    return open_run_data(read_like(read_settings(fit.settings).settings.data, path))


def _drawn(dataset: Dataset, most: int, known: Mapping[str, Fingerprints], progress: Progress) -> Labelled:
    """Draw images with objects, by turns of their groups, until there are enough that nobody knows."""
    rows = filled_by_turns(dataset, blind_order(dataset, 0, "calibration"))
    names, taken, left_out = dataset.names, list[str](), 0
    # Of large data only as much is searched for leaks as is wanted.
    while len(taken) < most and (chosen := list(islice(rows, most - len(taken)))):
        kept = find_leaks(dataset.subset(names[row] for row in chosen), known, progress).kept
        taken.extend(kept)
        left_out += len(chosen) - len(kept)
    return Labelled(dataset.subset(taken), left_out)


def _data_of(run: RunFolder | None) -> RunData | None:
    """Return the data of a run, or of a blend of one; None where nothing says what it is."""
    fit = fit_of(run)
    if run is None or fit is None or not run.split.is_file():
        return None
    return stored_data(read_settings(fit.settings).settings.data, run)


def _test_images(run: RunFolder) -> Dataset:
    data = _data_of(run)
    if data is None:
        raise DataError(
            f"The run that {run.path} was blended from is not where it was, so nothing says which images it is tested "
            "on, and none of those may be fitted to. Put that run back, or calibrate a copy of the folder model/."
        )
    return data.test
