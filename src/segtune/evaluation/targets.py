"""What is asked of every model alike: the objects of an image and the prompts drawn for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from segtune.core.files import hash_text
from segtune.core.rle import BoolMask
from segtune.core.types import Sample
from segtune.prompts import PROMPTS
from segtune.prompts.objects import ObjectPrompt
from segtune.segment.crops import MaskCrop

AT_ONCE = 16
"""Objects decoded in one call at most."""

_PIXELS_AT_ONCE = 1 << 24
"""Pixels of full-size masks held at once: bounds memory for images with many objects."""

SIZES: Mapping[str, tuple[float, float]] = {"small": (0.0, 0.01), "medium": (0.01, 0.1), "large": (0.1, 1.0)}
"""Size buckets by the share of the image that an object covers: from the first limit up to below the second; an
object that fills the image is large."""


@dataclass(frozen=True, eq=False)
class Target:
    """One object with its prompts.

    Attributes:
        index: its place in the sample.
        truth: its mask without ignored pixels.
        area: pixels of the mask.
        prompts: simulator's name → the prompt drawn.
    """

    index: int
    truth: MaskCrop
    area: int
    prompts: Mapping[str, ObjectPrompt] = field(repr=False)

    @property
    def share(self) -> float:
        """Share of the image that the object covers."""
        return self.area / (self.truth.size[0] * self.truth.size[1])

    @property
    def bucket(self) -> str:
        """Its size bucket, of `SIZES`."""
        return next((name for name, (_, below) in SIZES.items() if self.share < below), "large")


def draw_targets(
    sample: Sample, ignore: BoolMask | None, prompts: Sequence[str], seed: int
) -> Iterator[tuple[Target, ...]]:
    """Yield a sample's objects in chunks, each chunk to be decoded together.

    How objects are gathered depends on the image alone, so that a figure is the same whatever else is evaluated.
    Objects without a pixel that counts are left out.

    Args:
        sample: the image's objects.
        ignore: its ignored pixels, bool [H, W].
        prompts: names of simulators.
        seed: of the evaluation. A prompt depends on it, the image's name, the object's index and the simulator only.
    """
    at_once = max(1, min(AT_ONCE, _PIXELS_AT_ONCE // (sample.size[0] * sample.size[1])))
    chunk: list[Target] = []
    for index in range(len(sample.objects)):
        truth = sample.objects[index].decode()
        crop = MaskCrop.of(truth if ignore is None else truth & ~ignore)
        area = int(np.count_nonzero(crop.inside))
        if not area:
            continue
        # Drawn at once, for a prompt depends on nothing else; the full mask is then let go of.
        drawn = {name: draw_prompt(name, truth, ignore, seed, sample.name, index) for name in prompts}
        chunk.append(Target(index, crop, area, drawn))
        if len(chunk) == at_once:
            yield tuple(chunk)
            chunk = []
    if chunk:
        yield tuple(chunk)


def draw_prompt(
    simulator: str, truth: BoolMask, ignore: BoolMask | None, seed: int, image: str, index: int
) -> ObjectPrompt:
    """Return the prompt for one object, the same for every model, order, batch and part of the data.

    Args:
        simulator: its name in `PROMPTS`.
        truth: bool [H, W].
        ignore: bool [H, W]; no click lies there.
        seed: of the evaluation.
        image: the sample's name.
        index: the object's place in the sample.
    """
    # NUL is in no name, so that no two lists of parts give one text. 128 bits of the hash.
    entropy = int(hash_text("\0".join((str(seed), image, str(index), simulator)))[:32], 16)
    return PROMPTS[simulator](truth, np.random.default_rng(entropy), ignore=ignore)
