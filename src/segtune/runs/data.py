"""The data of a run: opened, looked over, split, with what the run must remember of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtune.core.errors import DataError
from segtune.core.files import write_json
from segtune.core.progress import SILENT, Progress
from segtune.data.check import check_dataset
from segtune.data.dataset import Dataset, open_dataset
from segtune.data.duplicates import match
from segtune.data.fingerprints import Fingerprints, fingerprints
from segtune.data.splits import (
    Split,
    keep_training,
    make_split,
    parted_groups,
    read_split,
    remarks,
    resolve,
    write_split,
)
from segtune.runs.folder import RunFolder, run_of
from segtune.runs.settings import DataSettings, ReadingSettings
from segtune.training.recipe import TuningRecipe


@dataclass(frozen=True)
class RunData:
    """A data set and its three parts."""

    dataset: Dataset
    split: Split

    @property
    def train(self) -> Dataset:
        """The images that train."""
        return self.dataset.subset(self.split.train)

    @property
    def val(self) -> Dataset:
        """The images the best epoch is chosen by."""
        return self.dataset.subset(self.split.val)

    @property
    def test(self) -> Dataset:
        """The images that are scored once, at the end."""
        return self.dataset.subset(self.split.test)

    def describe(self) -> dict[str, Any]:
        """Return what the record says of the data."""
        return {
            "path": str(self.dataset.root),
            "format": self.dataset.format,
            "objects": self.dataset.objects,
            "images": len(self.dataset),
            "set_aside": len(self.dataset.set_aside),
            "notes": list(self.dataset.notes),
            "parted_groups": len(parted_groups(self.split, self.dataset)),
            "split_sha256": self.split.sha256,
            "sizes": {part: len(getattr(self.split, part)) for part in ("train", "val", "test")},
        }


def open_run_data(settings: DataSettings) -> Dataset:
    """Open the data set of a run.

    Raises:
        DataError: it cannot be used.
    """
    return open_as_set(Path(settings.path), settings)


def open_as_set(path: Path, reading: ReadingSettings) -> Dataset:
    """Open a data set, read as the settings say.

    Raises:
        DataError: it cannot be used.
    """
    return open_dataset(
        path,
        format=reading.format,
        objects=reading.objects,
        threshold=reading.threshold,
        encoding=reading.encoding,
        pixel_limit=reading.pixel_limit,
        bands=reading.bands,
        window=reading.window,
    )


def stored_data(settings: DataSettings, folder: RunFolder) -> RunData:
    """Open the data of a run as it was split.

    Raises:
        DataError: it cannot be used any more, or an image of the split is gone.
    """
    dataset = open_run_data(settings)
    return RunData(dataset, resolve(read_split(folder.split), dataset))


def prepare_data(
    settings: DataSettings,
    folder: RunFolder,
    progress: Progress = SILENT,
    *,
    fresh: bool = False,
    seen: Fingerprints | None = None,
) -> RunData:
    """Open, check and split the data, and write check.json and split.json into the run folder.

    Images that are learned from besides, or their like, train: in validation or test they would flatter. A split of
    the user's own is kept as it is; the report then counts them.

    A split that the folder holds already is kept, unless the run is a fresh one: a resumed run trains on what it was
    started on.

    Args:
        settings: which data.
        folder: of the run.
        progress: what people see.
        fresh: split anew although the folder holds a split.
        seen: fingerprints of the images that are learned from besides (`learned_besides`).

    Raises:
        DataError: the data cannot be used, or holds nothing to learn from.
    """
    dataset = open_run_data(settings)
    if not fresh and folder.is_prepared:
        # Not split again: with files added since, a fresh draw could move test images into training.
        return RunData(dataset, read_split(folder.split))
    check = check_dataset(dataset, progress)
    write_json(folder.check, check.to_json())
    if not any(check.object_counts):
        raise DataError(
            f"None of the {len(dataset)} images in {settings.path} has an object, so there is nothing to learn from. "
            f"'segtune check {settings.path}' shows how the masks were read."
        )
    # What cannot be decoded was found by the check; a split never names it.
    usable = dataset.subset(one.name for one in check.measured)
    if settings.split is not None:
        split = _own_split(Path(settings.split), dataset, usable, progress)
    else:
        seed, fractions = settings.seed, settings.fractions
        # The pixels decide, not the names: copies of the base's training images may be called otherwise.
        known = {name for _, name, _ in match(seen, check.fingerprints, progress)} if seen is not None else set()
        split = make_split(
            usable, fractions=fractions, seed=seed, alike=check.alike, areas=check.areas, only_train=known
        )
    split = keep_training(split, settings.train_images, seed=settings.train_seed)
    if not split.train or not split.val:
        raise DataError(
            f"Tuning needs images to train on and others to choose the best epoch by; the split has {len(split.train)} "
            f"and {len(split.val)}. Give both parts names, or leave data.split out for a split of segtune's own."
        )
    for part, purpose in (("train", "learn from"), ("val", "choose the best epoch by")):
        if not any(check.areas.get(name) for name in split.part(part)):
            filled = sum(map(bool, check.object_counts))
            raise DataError(
                f"None of the {len(split.part(part))} images of the part '{part}' has an object, so there is nothing "
                f"to {purpose}; {filled} of all {len(dataset)} images have one. Add images with objects, or give a "
                "split of your own by --set data.split=FILE that puts some into each part."
            )
    write_split(folder.split, split)
    # To keep these images' like out of later tests. Last: a folder that has it was prepared to the end.
    learned = check.fingerprints.subset((*split.train, *split.val))
    (learned if seen is None else learned.with_earlier(seen)).write(folder.fingerprints)
    return RunData(dataset, split)


def learned_besides(base: str, rehearsal: Dataset | None, progress: Progress = SILENT) -> Fingerprints | None:
    """Return the fingerprints of what a run learns from beside its own data; None where that is nothing.

    Args:
        base: what it is tuned from; where that is a run, what that one has learned from.
        rehearsal: the general images that it rehearses; drawn scenes need not be remembered, for nobody tests on them.
        progress: hears of every image.
    """
    earlier = seen_by(base)
    if rehearsal is None or rehearsal.format == "drawn":
        return earlier
    found = fingerprints(rehearsal, progress)
    # By their folder too: the run's own images may have the same names.
    rehearsed = Fingerprints(tuple(str(rehearsal.root / name) for name in found.names), found.digests, found.pictures)
    return rehearsed if earlier is None else rehearsed.with_earlier(earlier)


def warn_of_certain_masks(dataset: Dataset, recipe: TuningRecipe, progress: Progress = SILENT) -> None:
    """Say that a loss made for a model's labels has nothing to weigh, where all masks that train are certain."""
    rehearses = recipe.rehearsal.soft and recipe.rehearsal.share > 0
    if not recipe.loss.weights.get("pseudo_label") or not dataset.certain or rehearses:
        return
    progress.say(
        "Warning: the loss pseudo_label weighs each pixel by how sure its truth is, but all pixels of these masks are "
        "sure: it is plain bce, but for cells that an edge passes through. For a model's labels, write probabilities "
        "by segtune segment --format probability, and read them by --set data.encoding=probability."
    )


def _own_split(path: Path, dataset: Dataset, usable: Dataset, progress: Progress) -> Split:
    given = read_split(path)
    # Lists of others name files by stems or by paths of their own machines.
    split = resolve(given, usable, unreadable=set(dataset.names) - set(usable.names))
    for words in remarks(split, given, usable):
        progress.say(words)
    return split


def seen_by(base: str) -> Fingerprints | None:
    """Return the fingerprints of what a base was trained and chosen on, earlier runs' included, if it is a run's."""
    run = run_of(base)
    return Fingerprints.read(run.fingerprints) if run is not None and run.fingerprints.is_file() else None
