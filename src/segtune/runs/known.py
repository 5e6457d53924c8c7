"""What runs know of data: how they read it, which of it they have learned from, and which they were tested on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from segtune.core.errors import DataError, UsageError
from segtune.core.files import read_json
from segtune.data.dataset import Dataset
from segtune.data.fingerprints import Fingerprints, digest
from segtune.data.formats.georeference import is_tiff_name
from segtune.data.reading import GEOTIFF, Reading
from segtune.data.splits import PARTS, Split, read_split
from segtune.models.save import BLEND, RECORD
from segtune.runs.data import open_run_data
from segtune.runs.folder import RunFolder, run_of
from segtune.runs.settings import DataSettings, ReadingSettings, read_settings
from segtune.runs.settings_tree import build_tree, read_section

READING = "reading"
"""What a model's record says, of a blend, about how the run that it was made from read its images."""

_COMPARED = 3
"""Images looked at to tell whether a folder holds the data of a run."""


def fit_of(run: RunFolder | None) -> RunFolder | None:
    """Return the fit whose data a run was made on: itself, or the one a blend was made from; None: neither is there."""
    if run is None or run.is_fit:
        return run
    if (blend := blend_of(run)) is None:
        return None
    fit = RunFolder(Path(blend["run"]))
    return fit if fit.is_fit else None


def blend_of(run: RunFolder) -> Mapping[str, Any] | None:
    """Return what a folder's model says of the blend that it is; None where it is none."""
    record = run.model / RECORD
    return read_json(record).get(BLEND) if record.is_file() else None


def open_as_trained(
    data: Path,
    runs: Iterable[RunFolder | None],
    *,
    format: str | None = None,  # noqa: A002 - the word users know it by
    objects: str | None = None,
) -> tuple[Dataset, DataSettings]:
    """Open a data set as a run on it does: what an object is, and from which grey on, is part of the data.

    Args:
        data: the data set.
        runs: the first of them whose data it is says how it is read; what is none's data is read as if there were none.
        format: name of the data format; without it that of such a run, else detected.
        objects: what one object is; without it as such a run has it, else "whole".

    Returns:
        The data set, and how it was read.

    Raises:
        DataError: the data cannot be used.
    """
    for run in runs:
        if run is None or (fit := fit_of(run)) is None:
            continue
        told = read_settings(fit.settings).settings.data
        # The data may lie elsewhere by now, and what the command line says comes first.
        reading = read_like(told, data, format=format or told.format, objects=objects or told.objects)
        try:
            dataset = open_run_data(reading)
            if is_data_of(dataset, run):
                return dataset, reading
        except DataError:
            continue  # other data than the run's, which may well be of another format
    reading = read_like(DataSettings(), data, format=format, objects=objects or "whole")
    return open_run_data(reading), reading


def reading_of(source: Path) -> Reading | None:
    """Return how the run that a model came of read its images; None where it came of none.

    Args:
        source: what the model was opened from, as `run_of` takes it.

    Raises:
        UsageError: what the run says of that is damaged.
    """
    run = run_of(source)
    if run is not None and run.pretraining.is_file():
        told = _told_of_files(run.pretraining)
        # Without the format the files say the same, unless it was given.
        learned = Fingerprints.read(run.fingerprints).names if told.format and run.fingerprints.is_file() else ()
        return Reading(_said_of_tiffs(told.format, learned), told.bands, told.window)
    if run is None:
        return None
    if (fit := fit_of(run)) is None:
        # A blend remembers it, for its run may have gone.
        kept = (blend_of(run) or {}).get(READING)
        return None if kept is None else _reading_again(kept)
    told = _told_of_files(fit.settings)
    split = _read_facts(fit.split)
    names = (name for part in PARTS for name in split.get(part, ()))
    found = told.format or _read_facts(fit.record).get("data", {}).get("format")
    return Reading(_said_of_tiffs(found, names), told.bands, told.window)


def _reading_again(kept: Mapping[str, Any]) -> Reading:
    """Return the reading of which `Reading.to_json` told."""
    told = build_tree(kept, ReadingSettings)
    return Reading(told.format, told.bands, told.window)


def _told_of_files(path: Path) -> ReadingSettings:
    """Return what settings say of image files; what else a run of another version may know is nothing to them."""
    return read_section(path, "data", ReadingSettings, ("format", "bands", "window"))


def _read_facts(path: Path) -> dict[str, Any]:
    """Return what a JSON file of a run holds; nothing where it is missing."""
    try:
        found = read_json(path) if path.is_file() else {}
        if not isinstance(found, dict):
            raise ValueError("it holds no facts by name")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path}, which tells how the run's images were read, cannot be read ({error}). Restore it, or copy model/ "
            "out of the run folder and use the copy, for which each image is read as its file says."
        ) from error
    return found


def _said_of_tiffs(format: str | None, names: Iterable[str]) -> str | None:  # noqa: A002
    """Return the format of data as what it says of TIFFs: nothing where none is among the images of these names."""
    return format if format == GEOTIFF or any(map(is_tiff_name, names)) else None


def read_like(
    told: DataSettings,
    data: Path,
    *,
    format: str | None = None,  # noqa: A002 - the word users know it by
    objects: str | None = None,
) -> DataSettings:
    """Return how other data is read like some: alike in objects, threshold, encoding, bands and window.

    Args:
        told: how the one is read.
        data: the other, which may be of another format.
        format: its format; detected without it.
        objects: what one object is there; without it as in the one.

    Raises:
        UsageError: an unknown kind of object, when the data is opened.
    """
    return told.model_copy(update={"path": str(data), "format": format, "objects": objects or told.objects})


def stored_split(dataset: Dataset, runs: Iterable[RunFolder | None]) -> Split | None:
    """Return the split of the first run whose data this is; None where it is no run's."""
    return next((read_split(run.split) for run in runs if run is not None and is_data_of(dataset, run)), None)


def is_data_of(dataset: Dataset, run: RunFolder) -> bool:
    """Say whether a folder, wherever it lies now, holds the data of a run: the same names and the same pixels."""
    if not run.is_prepared:
        return False
    split, known = read_split(run.split), Fingerprints.read(run.fingerprints)
    rows = {name: row for row, name in enumerate(dataset.names)}
    if not rows.keys() >= {*split.train, *split.val, *split.test}:
        return False
    # A few will do: other data under the same names mostly differs from the first image on.
    # What an earlier run learned from stands there too, under names that are not of this data.
    own = {*split.train, *split.val}
    some = [pair for pair in zip(known.names, known.digests, strict=True) if pair[0] in own][:_COMPARED]
    return all(digest(dataset[rows[name]].image) == expected for name, expected in some)


def known_to(runs: Mapping[str, RunFolder | None]) -> dict[str, Fingerprints]:
    """Return by name the fingerprints of what those that are runs have learned from."""
    return {
        name: Fingerprints.read(run.fingerprints)
        for name, run in runs.items()
        if run is not None and run.fingerprints.is_file()
    }
