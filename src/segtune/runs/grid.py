"""What a comparison is to try: settings with several values each, and all combinations of them."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from segtune.core.errors import UsageError
from segtune.core.files import hash_text
from segtune.losses import LOSSES
from segtune.runs.settings import Settings
from segtune.runs.settings_tree import parse_override

SHORT: Mapping[str, str] = {
    "loss": "training.loss.weights",
    "train": "model.train",
    "model": "model.base",
    "lr": "training.optimizer.lr",
    "epochs": "training.epochs",
}
"""Words for settings that are often compared; any other goes by its name in settings.yaml, or by a clear ending."""

_FIXED = ("data.", "validation.", "evaluation.", "out", "device", "training.seed")
"""What must be alike in all runs, or their figures could not be compared."""

_LONGEST_NAME = 80


@dataclass(frozen=True)
class Axis:
    """A setting that varies.

    Attributes:
        key: what people call it.
        name: of the setting, in full.
        values: as they were written, each once.
    """

    key: str
    name: str
    values: tuple[str, ...]

    def override(self, value: str) -> str:
        """Return a value as `--set` takes it."""
        return f"{self.name}={json.dumps(parse_loss(value))}" if self.key == "loss" else f"{self.name}={value}"


@dataclass(frozen=True)
class Combination:
    """One value of each axis, as text by the axis's key."""

    values: Mapping[str, str]

    def __str__(self) -> str:
        return "  ".join(f"{key}={value}" for key, value in self.values.items()) or "as it is"

    @property
    def folder(self) -> str:
        """A name for a folder: the text itself as far as file systems allow, made unique where they don't."""
        text = ",".join(f"{key}={value}" for key, value in self.values.items()) or "as-it-is"
        plain = re.sub(r"[^\w.,+=-]+", "-", text).strip("-.")[:_LONGEST_NAME]
        return plain if plain == text else f"{plain}-{hash_text(text)[:8]}"


def parse_axes(wishes: Sequence[str]) -> tuple[Axis, ...]:
    """Return what varies, from texts "KEY=VALUE,VALUE,…"; values of one key given twice are put together.

    Raises:
        UsageError: not of that form, an unknown or fixed setting, or a value that comes twice.
    """
    found: dict[str, Axis] = {}
    for wish in wishes:
        key, equals, text = wish.partition("=")
        key, values = key.strip(), split_values(text)
        if not equals or not key or not all(values):
            raise UsageError(f"--vary takes KEY=VALUE,VALUE, as in --vary loss=dice,bce+dice; this was '{wish}'.")
        before = found.get(key)
        axis = Axis(key, _name(key), (*(before.values if before else ()), *values))
        if len(set(axis.values)) < len(axis.values):
            raise UsageError(f"--vary {wish}: a value of '{key}' comes twice. Name each once.")
        found[key] = axis
    names = [axis.name for axis in found.values()]
    if len(set(names)) < len(names):
        raise UsageError(f"Two of the keys {', '.join(found)} are one setting. Put its values together under one.")
    return tuple(found.values())


def combine(axes: Sequence[Axis]) -> Iterator[Combination]:
    """Yield all combinations, the last axis changing fastest."""
    for values in itertools.product(*(axis.values for axis in axes)):
        yield Combination({axis.key: value for axis, value in zip(axes, values, strict=True)})


def split_values(text: str) -> list[str]:
    """Return the values of a list: parted by "|" where there is one, else by commas.

    A comma inside brackets belongs to the value, as does one before "name=": in "decoder,lora:r=8,in=encoder" there are
    two values.
    """
    if "|" in text:
        return [value.strip() for value in text.split("|")]
    values, depth = [""], 0
    for place, character in enumerate(text):
        depth += (character in "[{(") - (character in "]})")
        if character == "," and depth <= 0 and not re.match(r"\s*\w+=", text[place + 1 :]):
            values.append("")
        else:
            values[-1] += character
    return [value.strip() for value in values]


def parse_loss(text: str) -> dict[str, float]:
    """Return the weights of a sum such as "bce+dice" or "focal:20+dice:1", as shares that add up to 1.

    A loss without a number has the weight 1. Shares, so that combinations differ in what they weigh and not in how
    large the loss is beside that of the quality head. Weights as they are go by `training.loss.weights={dice: 2}`.

    Raises:
        UsageError: an unknown loss, a weight that is no number above 0, or a loss that comes twice.
    """
    weights: dict[str, float] = {}
    for term in text.split("+"):
        name, colon, number = (part.strip() for part in term.partition(":"))
        LOSSES[name]  # raises on an unknown name
        try:
            weight = float(number) if colon else 1.0
        except ValueError:
            weight = math.nan
        if not (math.isfinite(weight) and weight > 0) or name in weights:
            raise UsageError(
                f"loss={text}: a sum of losses names each once, with a weight above 0 if any, as in bce+dice or "
                f"focal:20+dice:1; '{term.strip()}' is not that."
            )
        weights[name] = weight
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _name(key: str) -> str:
    name = SHORT.get(key) or parse_override(f"{key}=0", Settings)[0]
    if name.startswith(_FIXED):
        remedy = "Give --seeds for several seeds." if name == "training.seed" else "Make a comparison for each."
        raise UsageError(
            f"--vary {key}: all runs of a comparison share their data, their split and how they are scored, so {name} "
            f"cannot vary. {remedy}"
        )
    return name
