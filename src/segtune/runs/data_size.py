"""What the number of training images suggests, where nobody said otherwise.

Below twenty images little trains, each is seen in more views, and training stops early (after peft-sam: low rank and an
early stop; the decoder alone stands for low rank, for it needs no further package and keeps the cache of embeddings);
with many, late layers and then all of a large base learn along. These steps are the literature's and not measured here,
so they are taken with care: nano, which gains most when it trains whole at 16 images too (docs/tuning.md), stays as it
is, and what makes a large image encoder train waits for a GPU, for without one a pass that is cached now would take
hours.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    why = f"by data size ({images} training image{'s' if images != 1 else ''})"
    return compose(values | {name: (value, why) for name, value in chosen.items()}, Settings)


def tell_choice(settings: SettingsWithOrigins) -> str:
    """Say what the number of training images chose and why; nothing where it chose nothing."""
    chosen: Mapping[str, Any] = {
        name: entry for name, entry in settings.entries().items() if entry["origin"].startswith("by data size")
    }
    if not chosen:
        return ""
    values = ", ".join(f"{name}={entry['value']}" for name, entry in chosen.items())
    reason = "few images: little trains, and more views of each" if "training.patience" in chosen else "many images"
    why = next(iter(chosen.values()))["origin"].removeprefix("by data size ").strip("()")
    return f"Chosen by data size, {why} ({reason}): {values}. --train and --set say otherwise."
