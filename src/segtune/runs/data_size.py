"""What the number of training images suggests, where nobody said otherwise.

Below twenty images little trains, each is seen in more views, and training stops early (after peft-sam: low rank and an
early stop; the decoder alone stands for low rank, for it needs no further package and keeps the cache of embeddings:
low rank in the decoder gained less, and in the encoder too, where it gained more, the encoder runs in every step); with
many, late layers and then all of a large base learn along. These steps are the literature's and not measured here, so
they are taken with care: nano, which gains most when it trains whole at 16 images too (docs/tuning.md), stays as it is,
and what makes a large image encoder train waits for a GPU, for without one a pass that is cached now would take hours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segtune.core.errors import SegtuneError
from segtune.data.splits import read_split, resolve
from segtune.models.device import pick_device
from segtune.runs.data import open_run_data
from segtune.runs.settings import DataSettings, Settings, SettingsWithOrigins, first_base
from segtune.runs.settings_tree import compose

FEW = 20
"""Training images below which little trains (peft-sam)."""

MANY = 1_000
"""From here on a large base's last layers learn too, on a GPU."""

VERY_MANY = 10_000
"""From here on all of it does, on a GPU."""

_SAID = frozenset({"command line", "--set"})
_ORIGIN = "by data size"


def count_training_images(data: DataSettings) -> int | None:
    """Return how many images will train, to within what a split rounds; None where the data cannot be used.

    No image is decoded. What is wrong with data is told by the run itself, which looks closer.
    """
    try:
        dataset = open_run_data(data)
        if data.split is not None:
            images = len(resolve(read_split(Path(data.split)), dataset).train)
        else:
            images = round(len(dataset) * data.fractions[0])
    except (SegtuneError, OSError):
        return None
    return images if data.train_images is None else min(images, data.train_images)


def by_size(images: int, base: str, *, on_gpu: bool) -> dict[str, Any]:
    """Return the settings that a number of training images suggests, by dotted name; empty where it suggests nothing.

    Args:
        images: how many train.
        base: the model tuning starts from, the first of a chain of runs.
        on_gpu: whether the run computes on one.
    """
    if base == "nano":
        return {}
    if images < FEW:
        return {
            "model.train": "decoder",
            "training.patience": 5,
            "cache.views": 8,
            "augment.rotation_probability": 0.5,
            "augment.scale_probability": 0.7,
            "augment.brightness_probability": 0.5,
            "augment.contrast_probability": 0.5,
        }
    if images >= MANY and on_gpu:
        return {"model.train": "full" if images >= VERY_MANY else "late:2"}
    return {}


def suit_data(settings: SettingsWithOrigins, images: int | None) -> SettingsWithOrigins:
    """Return settings that suit the number of training images, each changed value with that as its origin.

    What the command line says stays, and a preset other than the default is a recipe of its own.

    Args:
        settings: as they were composed.
        images: how many will train (`count_training_images`); None changes nothing.
    """
    tree = settings.settings
    if images is None or tree.preset != "default":
        return settings
    found = by_size(images, first_base(tree.model.base), on_gpu=pick_device(tree.device) != "cpu")
    chosen = {name: value for name, value in found.items() if settings.origins.get(name) not in _SAID}
    if not chosen:
        return settings
    values = {name: (entry["value"], entry["origin"]) for name, entry in settings.entries().items()}
    why = f"{_ORIGIN} ({_count(images)})"
    return compose(values | {name: (value, why) for name, value in chosen.items()}, Settings)


def tell_choice(settings: SettingsWithOrigins, images: int | None) -> str:
    """Say in a line what the number of training images chose and why, or why it chose nothing.

    Args:
        settings: as `suit_data` returned them.
        images: how many will train; None where the data cannot be used, of which nothing is said here.
    """
    if images is None:
        return ""
    chosen = {name: entry for name, entry in settings.entries().items() if entry["origin"].startswith(_ORIGIN)}
    if not chosen:
        return f"{_count(images)}: {_why_nothing(settings.settings, images)}."
    values = ", ".join(f"{name}={entry['value']}" for name, entry in chosen.items())
    little = "little trains, and " if "model.train" in chosen else ""
    reason = f"few images: {little}more views of each" if images < FEW else "many images"
    return f"Chosen {_ORIGIN}, {_count(images)} ({reason}): {values}. --train and --set say otherwise."


def _why_nothing(tree: Settings, images: int) -> str:
    base = first_base(tree.model.base)
    if tree.preset != "default":
        return f"their number changes nothing, for the preset {tree.preset} is a recipe of its own"
    if base == "nano":
        return (
            "their number changes nothing, for nano gains most when it trains whole, on as few as 16 too "
            "(docs/tuning.md)"
        )
    if by_size(images, base, on_gpu=pick_device(tree.device) != "cpu"):
        return "what their number would choose is said already"
    if images >= MANY:
        return f"from {MANY:,} on more of the image encoder would learn, but on a GPU only, and this run has none"
    return f"their number changes nothing between {FEW} and {MANY:,}"


def _count(images: int) -> str:
    return f"{images:,} training image{'s' if images != 1 else ''}"
