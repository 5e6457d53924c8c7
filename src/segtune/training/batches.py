"""The order of training: which images make up each step, on each process, and how examples become batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from segtune.core.errors import SegtuneError
from segtune.core.geometry import Frame
from segtune.core.types import Prompts
from segtune.prompts.collate import collate
from segtune.training.examples import Example, generator
from segtune.training.processes import Processes
from segtune.training.recipe import Recipe


@dataclass(frozen=True)
class Batch:
    """Examples side by side. P objects over B images.

    Attributes:
        frames: B frames.
        views: B pairs of (pass over the images, the image's name).
        pixels: float32 [M, 3, side, side] of the M images in `missing`, those of which nothing is cached.
        missing: int64 [M], their places in the batch.
        keys: B cache keys, None without a cache.
        features: B times what is cached (tensors by name), None where missing.
        prompts: P first prompts.
        truth: float32 [P, h, w] in 0 to 1.
        valid: bool [P, h, w].
        uniforms: float32 [P, rounds, 3].
        weights: float32 [P], how much each prompt's loss counts.
        rehearsed: bool [B], of which images the pretrained model's answers count in place of the truth.
    """

    frames: tuple[Frame, ...]
    views: tuple[tuple[int, str], ...]
    pixels: Tensor
    missing: Tensor
    keys: tuple[str | None, ...]
    features: tuple[dict[str, Tensor] | None, ...]
    prompts: Prompts
    truth: Tensor
    valid: Tensor
    uniforms: Tensor
    weights: Tensor
    rehearsed: Tensor

    def images(self, places: Sequence[int]) -> Batch:
        """Return the batch with only the images at these places, rising, and as it was in all else."""
        rows = {place: row for row, place in enumerate(self.missing.tolist())}
        kept = [(number, rows[place]) for number, place in enumerate(places) if place in rows]
        return replace(
            self,
            frames=tuple(self.frames[place] for place in places),
            pixels=self.pixels[[row for _, row in kept]],
            missing=torch.tensor([number for number, _ in kept], dtype=torch.int64),
            keys=tuple(self.keys[place] for place in places),
            features=tuple(self.features[place] for place in places),
        )


class Examples(Protocol):
    """What batches are made of: examples by (pass from 1, index)."""

    @property
    def mask_size(self) -> tuple[int, int]:
        """(h, w) of the model's logits."""

    def __len__(self) -> int:
        """How many images a pass has."""

    def __getitem__(self, where: tuple[int, int], /) -> Example:
        """Return the example of image `index` in a pass."""


@dataclass(frozen=True)
class Order:
    """Which images make up each step. A pure function of the seed and the epoch.

    Attributes:
        images: how many images the training part has.
        recipe: batch sizes and seed.
    """

    images: int
    recipe: Recipe

    @property
    def pass_steps(self) -> int:
        """Steps of a pass over the images; the last may be smaller."""
        return -(-self.images // self.recipe.optimizer.batch)

    @property
    def total_steps(self) -> int:
        """Steps of all epochs."""
        whole = self.recipe.epochs * (self.recipe.epoch_steps or self.pass_steps)
        return min(whole, self.recipe.steps or whole)

    def steps(self, epoch: int) -> int:
        """Steps in an epoch (from 1); none in those for which no steps are left."""
        each = self.recipe.epoch_steps or self.pass_steps
        return max(0, min(each, self.total_steps - (epoch - 1) * each))

    def step(self, epoch: int, step: int, processes: Processes) -> list[list[tuple[int, int]]]:
        """Return what this process sees of one step, as micro-batches of (pass from 1, index of the image)."""
        before = (epoch - 1) * (self.recipe.epoch_steps or self.pass_steps)
        number, place = divmod(before + step, self.pass_steps)
        size = self.recipe.optimizer.batch
        images = _permutation(self.recipe.seed, number + 1, self.images)[place * size : (place + 1) * size]
        # Shared out inside the step: it is of the same images however many processes there are.
        mine = [(number + 1, index) for index in images[processes.rank :: processes.world].tolist()]
        micro = self.recipe.optimizer.micro_batch
        return [mine[start : start + micro] for start in range(0, len(mine), micro)]


@lru_cache(maxsize=2)
def _permutation(seed: int, number: int, images: int) -> npt.NDArray[np.int64]:
    return generator(seed, "order", number).permutation(images)


class BatchSource:
    """Reads the steps of an epoch in order, ahead of their use, in `recipe.workers` processes."""

    def __init__(self, source: Examples, recipe: Recipe, processes: Processes) -> None:
        self.source = source
        self.order = Order(len(source), recipe)
        self._workers = recipe.workers
        self._processes = processes

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[list[Batch]]:
        """Yield each step's micro-batches from `first_step` on.

        Raises:
            SegtuneError: an image cannot be read, in whatever process that was.
        """
        steps = _Steps(self.order, epoch, first_step, self._processes)
        loader = DataLoader(
            _Batches(self.source, Collate(self.source.mask_size)),
            batch_size=None,  # what is read at once is a batch already
            sampler=_MicroBatches(steps),
            num_workers=self._workers,
            prefetch_factor=2 if self._workers else None,  # torch refuses one without processes
            # It draws a number each time it begins. Of torch's own generator, a resumed epoch would draw one more than
            # the one that was cut off, and what trains by chance (dropout) would go another way.
            generator=torch.Generator(),
        )
        batches = iter(loader)
        for step in steps:
            # Empty where this process has no image of the step: it is still there for the sums that all of them make.
            yield [_unwrapped(next(batches)) for _ in step]


def _unwrapped(batch: Batch | SegtuneError) -> Batch:
    if isinstance(batch, SegtuneError):
        raise batch
    return batch


@dataclass(frozen=True)
class _Batches(torch.utils.data.Dataset[Batch | SegtuneError]):
    """Makes batches by the places of their examples; what a batch failed of comes in its place.

    Raised in a reading process it would arrive as another error, with the traceback for its message.
    """

    source: Examples
    collate: Collate

    def __getitem__(self, places: list[tuple[int, int]]) -> Batch | SegtuneError:
        try:
            return self.collate([self.source[place] for place in places])
        except SegtuneError as error:
            return error


@dataclass(frozen=True)
class _Steps:
    """The rest of an epoch's steps, each found when it is reached: an epoch may have more than memory holds."""

    order: Order
    epoch: int
    first: int
    processes: Processes

    def __iter__(self) -> Iterator[list[list[tuple[int, int]]]]:
        numbers = range(self.first, self.order.steps(self.epoch))
        return (self.order.step(self.epoch, number, self.processes) for number in numbers)


class _MicroBatches(Sampler[list[tuple[int, int]]]):
    """What the reading processes are asked for, one micro-batch after the other, a little ahead of its use."""

    def __init__(self, steps: _Steps) -> None:
        self._steps = steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return (indices for step in self._steps for indices in step)


@dataclass(frozen=True)
class Collate:
    """Puts examples side by side; a class, so that reading processes can be sent it."""

    mask_size: tuple[int, int]

    def __call__(self, examples: Sequence[Example]) -> Batch:
        """Return the examples as one batch."""
        counts = [len(example.prompts) for example in examples]
        index = np.repeat(np.arange(len(examples)), counts)  # [P]
        frames = tuple(example.frame for example in examples)
        pixels = [example.pixels for example in examples if example.pixels is not None]
        missing = [place for place, example in enumerate(examples) if example.pixels is not None]
        return Batch(
            frames=frames,
            views=tuple(example.view for example in examples),
            pixels=torch.stack(pixels) if pixels else torch.zeros(0),
            missing=torch.tensor(missing, dtype=torch.int64),
            keys=tuple(example.key for example in examples),
            features=tuple(example.features for example in examples),
            prompts=collate([p for e in examples for p in e.prompts], index.tolist(), frames, self.mask_size),
            truth=torch.cat([example.truth for example in examples]),
            valid=torch.stack([example.valid for example in examples])[torch.from_numpy(index)],  # [P, h, w]
            uniforms=torch.cat([example.uniforms for example in examples]),
            weights=torch.cat([example.weights for example in examples]),
            rehearsed=torch.tensor([example.rehearsed for example in examples], dtype=torch.bool),
        )


def gather_maps(
    fresh: Mapping[int, Mapping[str, Tensor]], batch: Batch, device: torch.device | str
) -> dict[str, Tensor]:
    """Return the batch's maps by name, each float32 [B, ...]: what the cache had and what was made just now.

    Args:
        fresh: place in the batch → that image's maps by name.
        batch: with the cached maps of all other images.
        device: where to bring them.
    """
    rows = [fresh[place] if cached is None else cached for place, cached in enumerate(batch.features)]
    return {name: torch.stack([row[name].to(device).float() for row in rows]) for name in rows[0]}
