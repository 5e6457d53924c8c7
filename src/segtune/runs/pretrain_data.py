"""The images of a pretraining: drawn scenes and folders, with what of them is kept out of training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segtune.core.errors import DataError, UsageError
from segtune.data.dataset import Dataset, open_dataset
from segtune.data.drawn import drawn_dataset
from segtune.data.stratify import Unit, independent_units
from segtune.data.unlabelled import open_images, without_masks
from segtune.runs.pretrain_settings import MAE, SCENES, PretrainSettings
from segtune.training.examples import generator

HELD_OUT = 900_000_000
"""Scenes from this seed on are for validation; training counts up from its first."""

Shared = tuple[Dataset, float]
"""Images, and their share of the stream."""


@dataclass(frozen=True)
class PretrainSource:
    """One source of images with masks.

    Attributes:
        train: images that train.
        held_out: images the model is looked at on; none of them, nor of their groups, trains.
        share: of the stream.
    """

    train: Dataset
    held_out: Dataset
    share: float


def open_sources(settings: PretrainSettings, side: int) -> list[PretrainSource]:
    """Open the sources that train on masks, and part them.

    Args:
        settings: the whole tree.
        side: of the scenes that are drawn, in pixels.

    Raises:
        UsageError: shares that do not fit, or scenes for training that are for validation.
        DataError: a folder that cannot be used, or is too small to keep images out of.
    """
    data, most = settings.data, settings.validation.images
    shares = data.shares or (1.0,) * len(data.sources)
    if len(shares) != len(data.sources):
        raise UsageError(
            f"There are {len(data.sources)} sources but {len(shares)} shares. Give data.shares one number a source."
        )
    opened = []
    for name, share in zip(data.sources, shares, strict=True):
        if name == SCENES:
            scenes = _training_scenes(settings, settings.steps, side)
            opened.append(PretrainSource(scenes, drawn_dataset(most, side=side, first=HELD_OUT), share))
        else:
            images = open_dataset(Path(name), objects=data.objects)
            kept = draw_held_out(images, most, settings.training.seed)
            out = set(kept)
            train = images.subset(name for name in images.names if name not in out)
            # Of a group that is larger than asked for some will do, from its beginning to its end.
            opened.append(PretrainSource(train, images.subset(kept[:: -(-len(kept) // most)]), share))
    return opened


def open_unlabelled(settings: PretrainSettings, side: int, sources: list[PretrainSource]) -> list[Shared]:
    """Return the images of the self-supervised start, masks unread: of its own sources, or those that train afterwards.

    None where no such start is asked for.

    Raises:
        UsageError: scenes for training that are for validation.
        DataError: a folder without an image that can be used.
    """
    if settings.model.init != MAE:
        return []
    if settings.mae.sources is None:
        return [(without_masks(one.train), one.share) for one in sources]
    steps = settings.start_recipe.steps or 1
    return [
        (without_masks(_training_scenes(settings, steps, side)) if name == SCENES else open_images(Path(name)), 1.0)
        for name in settings.mae.sources
    ]


def draw_held_out(images: Dataset, most: int, seed: int) -> list[str]:
    """Draw the images that are kept out of training: a tenth, at most `most`, in the data set's order.

    Images of one group (patient, scene, video) stay together. Where each group has more than that, the smallest is
    kept out whole.

    Raises:
        DataError: fewer than ten images, or all of one group.
    """
    names, wanted = images.names, min(most, len(images) // 10)
    if not wanted:
        raise DataError(
            f"{images.root} has {len(images)} images, of which a tenth is kept out of training to look at the model; "
            "that takes at least 10."
        )
    units = _units_of_groups(images)
    unit_of = {name: unit for unit in units for name in unit}
    chosen: set[str] = set()
    # By the seed and the set's size alone, so that a resumed run keeps out the same.
    for row in generator(seed, "held out", len(images)).permutation(len(images)).tolist():
        unit = unit_of.get(names[row], (names[row],))
        if names[row] not in chosen and len(chosen) + len(unit) <= wanted:
            chosen.update(unit)
    if not chosen:
        if len(units) == 1:
            raise DataError(
                f"All {len(images)} images of {images.root} are of one group, so none of them can be kept out of "
                "training to look at the model. Add images of other patients, scenes or videos, or mend its groups."
            )
        smallest: Unit = min(units, key=len)
        chosen.update(smallest)
    return [name for name in names if name in chosen]


def _units_of_groups(images: Dataset) -> list[Unit]:
    """Return the names that belong together; none where no image has a group, however many there are."""
    groups = images.groups
    return independent_units(images.names, groups, ()) if any(group is not None for group in groups) else []


def _training_scenes(settings: PretrainSettings, steps: int, side: int) -> Dataset:
    """Return a scene for each image of so many steps, so that none is seen twice."""
    count, first = settings.recipe.optimizer.batch * steps, settings.data.first
    if first + count > HELD_OUT:
        raise UsageError(
            f"Scenes from {HELD_OUT} on are kept out of training, to look at the model; from data.first = {first} on, "
            f"{steps} steps of {settings.recipe.optimizer.batch} scenes would go up to {first + count}. Give a smaller "
            "data.first, or fewer steps."
        )
    return drawn_dataset(count, side=side, first=first)
