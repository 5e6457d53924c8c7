"""The recipes by name, as the settings in which they differ from the defaults; and what each base suggests."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from segtune.adapters.way import parse_way
from segtune.data.augment import SLIDES
from segtune.losses.mixture import REFERENCE

_NANO_LR = 3e-4
"""Highest rate of nano's own weights."""

PRESETS: dict[str, dict[str, Any]] = {
    # SAM's interactive recipe: the defaults of `training.recipe` are it.
    "default": {},
    # The decoder-only recipe of the polyp project: one point at the mask's centre together with the tight box.
    "slides": {
        "model.train": "decoder",
        "training.epochs": 60,
        "training.patience": None,
        "training.prompts.first": {"point_box": 1.0},
        "training.prompts.corrections": 0,
        "training.prompts.refinements": 0,
        "training.prompts.prompts_per_object": 1,
        "training.loss.weights": dict(REFERENCE),
        "training.loss.quality": 0.0,
        "training.optimizer.lr": 1e-5,
        "training.optimizer.whole_scale": 1.0,
        "training.optimizer.weight_decay": 1e-4,
        "training.optimizer.layer_decay": 1.0,
        "training.optimizer.clip": None,
        "training.optimizer.schedule": "constant",
        "training.optimizer.warmup_steps": 0,
        "training.optimizer.batch": 4,
        "training.optimizer.micro_batch": 4,
        **{f"augment.{name}": value for name, value in asdict(SLIDES).items()},
    },
}


def by_base(base: str, train: str | None = None) -> dict[str, tuple[Any, str]]:
    """Return what suits a base, as (value, why) by setting: a small model trains whole, a large one from the cache.

    Args:
        base: the model tuning starts from, the first of a chain of runs.
        train: what trains, where that is said: with nano each way has a rate that suits it. Large bases have one for
            all, from where results were flat (peft-sam).

    Raises:
        UsageError: an unknown way or option in `train`.
    """
    name, way, options = parse_way(train or "full")
    if base == "nano":
        why = "suits nano, which is small enough to train whole"
        pace = why if way.rate == 1 else f"suits {name}, which bears a higher rate than weights themselves"
        steps = "gives nano, of which a step costs little, more steps an epoch"
        # Beside an adapter weights keep the rate that suits them; who trains none is not asked about it.
        beside = "gives weights that train whole beside an adapter the rate that suits weights"
        whole = float(f"{1 / way.rate:.1g}"), beside
        return {
            "model.train": ("full", why),
            "training.optimizer.lr": (float(f"{_NANO_LR * way.rate:.3g}"), pace),
            **({"training.optimizer.whole_scale": whole} if getattr(options, "whole", ()) else {}),
            "training.optimizer.batch": (4, steps),
            "training.optimizer.micro_batch": (4, steps),
            "training.optimizer.layer_decay": (0.9, "suits nano, whose early layers have seen little and must learn"),
            "training.prompts.prompts_per_object": (3, "makes the most of each pass of an encoder that trains"),
            "training.loss.weights": ({"bce": 0.5, "dice": 0.5}, "is what nano was pretrained with"),
        }
    why = f"suits {base}, whose image encoder is run once and cached"
    return {"model.train": ("decoder+prompt", why), "training.optimizer.lr": (1e-4, why)}
