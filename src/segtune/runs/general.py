"""General images: the drawn suite, or a folder of the user's own, on which forgetting is measured."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from segtune.core.errors import DataError
from segtune.core.progress import SILENT, Progress
from segtune.data.dataset import Dataset, open_dataset
from segtune.data.drawn import drawn_dataset
from segtune.data.fingerprints import Fingerprints
from segtune.evaluation.leakage import find_leaks
from segtune.runs.draw import blind_order, filled

SUITE, NONE = "suite", "none"

_FOR_CHOICE = 1_000_000
"""Seed of the first scene by which something is chosen; those that are reported are numbered from 0."""


@dataclass(frozen=True)
class GeneralImages:
    """General images in two parts.

    Attributes:
        source: what they are, for people.
        reported: what is scored once, at the end.
        choice: by which something may be chosen before; the same images where there are not enough for two parts.
        left_out: how many were left out because a run has learned from them.
    """

    source: str
    reported: Dataset
    choice: Dataset
    left_out: int = 0

    @property
    def is_shared(self) -> bool:
        """Whether both parts are the same images."""
        return self.choice is self.reported


def open_general(spec: str, most: int, side: int) -> GeneralImages | None:
    """Return the general images that a setting names; None where it says none.

    Args:
        spec: "suite", "none", or a folder of images and masks.
        most: images of each part.
        side: longest side of drawn scenes in pixels, the model's own.

    Raises:
        DataError: the folder cannot be used, or none of its images has an object.
    """
    if spec == NONE:
        return None
    if spec == SUITE:
        reported, choice = (drawn_dataset(most, side=side, theme=SUITE, first=first) for first in (0, _FOR_CHOICE))
        return GeneralImages("drawn suite", reported, choice)
    dataset = open_dataset(Path(spec))
    # The same ones in each run, so that runs compare.
    rows = list(islice(filled(dataset, blind_order(dataset, 0, "general images")), 2 * most))
    if not rows:
        raise DataError(
            f"None of the {len(dataset)} images of {spec} has an object, so nothing can be asked about them. Give "
            "general images with masks, or --set evaluation.general=suite for drawn ones."
        )
    reported = dataset.subset(dataset.names[row] for row in rows[:most])
    is_enough = len(rows) == 2 * most
    choice = dataset.subset(dataset.names[row] for row in rows[most:]) if is_enough else reported
    return GeneralImages(str(spec), reported, choice)


def without_learned(general: GeneralImages, known: Path, progress: Progress = SILENT) -> GeneralImages:
    """Return the general images without those that a run has learned from, or their like.

    Args:
        general: drawn scenes stay as they are: no run has seen them.
        known: the run's fingerprints.
        progress: hears of every image.

    Raises:
        DataError: none is left.
    """
    if general.reported.format == "drawn" or not known.is_file():
        return general
    prints = {"tuned": Fingerprints.read(known)}
    parts = []
    for part in (general.reported,) if general.is_shared else (general.reported, general.choice):
        kept = find_leaks(part, prints, progress).kept
        if not kept:
            raise DataError(
                f"The run has learned from each of the {len(part)} general images of {general.source}, so they cannot "
                "show what it forgot. Give other ones: --set evaluation.general=FOLDER, or segtune blend --general "
                "FOLDER; suite in place of FOLDER is drawn ones."
            )
        parts.append(part.subset(kept))
    left_out = len(general.reported) - len(parts[0])
    return GeneralImages(general.source, parts[0], parts[-1], left_out)
