"""From a sample to what a training step needs of it: a view, its prompts, its truth at the model's output size.

Everything random is drawn from generators seeded by (seed, epoch, image, object), never from a stream: so a view or a
prompt does not depend on how many processes or workers there are, nor on where a run was interrupted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segtune.core.cover import around_best_level, best_level
from segtune.core.geometry import Frame, masks_to_frame, truth_in_frame
from segtune.core.rle import BoolMask
from segtune.core.types import Image, Probability, Sample
from segtune.data.augment import IDENTITY, AugmentSettings, ViewParameters, apply_view, apply_view_to_map, draw_view
from segtune.data.dataset import Dataset
from segtune.models.preparation import Preparation
from segtune.prompts import PROMPTS
from segtune.prompts.correction import cells_to_points
from segtune.prompts.objects import ObjectPrompt
from segtune.training.recipe import PromptRecipe
from segtune.training.weights import ObjectWeights

if TYPE_CHECKING:
    from segtune.models.embedding_cache import EmbeddingCache

_SMALLEST_OBJECT = 16
"""Pixels an object must keep in a view to be prompted: less is the stump of something the crop cut off."""

NEGATIVES = ("random_click", "inner_box")
"""Simulators that prompt the background, each as likely: the kinds of prompt that SAM is first trained with."""


@dataclass(frozen=True)
class Example:
    """One view of one image.

    Attributes:
        frame: where the view lies in the model's square.
        view: (pass over the images, the image's name); what is drawn for this view besides is seeded by both.
        pixels: float32 [3, side, side], or None when what the frozen encoder makes of it is at hand.
        features: that, from the cache: tensors by name, or None.
        key: the view's key in the embedding cache, or None without a cache.
        prompts: n first prompts in the view's pixels.
        truth: float32 [n, h, w], the best mask at the output size (`truth_in_frame`), or the probability of it where
            the sample has one; nothing for a prompt on the background.
        valid: bool [h, w], cells that hold image and are not ignored.
        uniforms: float32 [n, rounds, 3] in [0, 1), from which the correction clicks are drawn.
        weights: float32 [n], how much each prompt's loss counts; 1 on average.
        rehearsed: what counts is the pretrained model's answer, not the truth.
    """

    frame: Frame
    view: tuple[int, str]
    pixels: Tensor | None
    features: dict[str, Tensor] | None
    key: str | None
    prompts: tuple[ObjectPrompt, ...]
    truth: Tensor
    valid: Tensor
    uniforms: Tensor
    weights: Tensor
    rehearsed: bool = False


class _Question(NamedTuple):
    """A prompt of a view: the numbers that name it, and the row of the object it is about, None for nothing."""

    names: tuple[int, ...]
    prompt: ObjectPrompt
    row: int | None


@dataclass(frozen=True)
class ViewPlan:
    """Which views of an image training sees.

    Attributes:
        augment: how views are drawn.
        seed: of the views and prompts.
        cached_views: with a cache, how many views of each image exist (the first is the image itself); they
            are the same in every run, so that runs share them. None: a fresh view every epoch.
    """

    augment: AugmentSettings
    seed: int
    cached_views: int | None = None

    def view(self, epoch: int, name: str, size: tuple[int, int]) -> ViewParameters:
        """Return the parameters of the view of image `name`, of `size`, seen in `epoch` (from 1)."""
        if self.cached_views is None:
            return draw_view(generator(self.seed, "view", epoch, name), self.augment)
        number = (epoch - 1) % self.cached_views
        # Not of this run's seed.
        return IDENTITY if number == 0 else draw_view(generator(0, "view", number, name), self.augment)


@dataclass(frozen=True)
class ExampleSource(torch.utils.data.Dataset[Example]):
    """Makes examples by (epoch, index), an epoch here being a pass over the images; runs in the reading processes.

    Attributes:
        dataset: the training part.
        preparation: how the model wants images.
        mask_size: (h, w) of the model's logits.
        plan: which views.
        recipe: which prompts.
        cache: of what the frozen part of the encoder makes, or None when every image is encoded whole.
        weights: how much each object counts; None: all alike.
    """

    dataset: Dataset
    preparation: Preparation
    mask_size: tuple[int, int]
    plan: ViewPlan
    recipe: PromptRecipe
    cache: EmbeddingCache | None = field(default=None)
    weights: ObjectWeights | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, where: tuple[int, int]) -> Example:
        """Return the example of image `index` in `epoch`, for `where` = (epoch, index)."""
        epoch, index = where
        sample = self.dataset[index]
        view = self.plan.view(epoch, sample.name, sample.size)
        key = features = None
        if self.cache is not None:
            key = self.cache.key(self.dataset.image_hash(index), view.key())
            features = self.cache.get(key)
        rng = generator(self.plan.seed, "objects", epoch, sample.name)
        chosen = choose_objects(sample, self.recipe.objects_per_image, self.recipe.size_weight, rng)
        # A known embedding spares decoding the image: its masks alone are warped.
        image = np.zeros((*sample.size, 3), np.uint8) if features is not None else sample.image
        masks = self._with_background(sample, chosen)
        image, masks, ignore = shrunk(image, masks, sample.ignore_mask(), self._limit(view))
        image, masks, ignore = apply_view(image, masks, ignore, view)
        background, masks = ~masks[len(chosen) :], masks[: len(chosen)]
        # Pixels that are ignored do not make an object: no click may land there and no loss would count.
        counted = masks if ignore is None else masks & ~ignore
        frame = self.preparation.frame(masks.shape[1:])
        likely = self._likely(sample, chosen, view)
        truth = truth_in_frame(torch.from_numpy(masks), frame, self.mask_size, likely)
        valid = valid_cells(ignore, frame, self.mask_size)
        kept = np.flatnonzero((counted.sum(axis=(1, 2)) >= _SMALLEST_OBJECT) & _is_seen(truth, valid))
        masks, truth = masks[kept], truth[kept]
        # By the object's number rather than its row: what the view cut off changes no other object's prompt.
        numbers = [chosen[row] for row in kept]
        asked = self._ask(masks, background, ignore, numbers, (epoch, sample.name))
        return Example(
            frame=frame,
            view=(epoch, sample.name),
            pixels=None if features is not None else self.preparation.prepare([image])[0][0],
            features=features,
            key=key,
            prompts=tuple(one.prompt for one in asked),
            truth=_rows_of(truth, [one.row for one in asked]),
            valid=valid,
            uniforms=self._uniforms(epoch, sample.name, [one.names for one in asked]),
            weights=self._weights(sample, asked),
        )

    def _likely(self, sample: Sample, chosen: Sequence[int], view: ViewParameters) -> Iterator[Probability] | None:
        """Return the probabilities of the objects in a view, one after another; None where masks are certain."""
        known, limit = sample.probabilities, self._limit(view)
        if known is None:
            return None
        return (apply_view_to_map(shrunk_map(known[number](), limit), view) for number in chosen)

    def _with_background(self, sample: Sample, chosen: Sequence[int]) -> BoolMask:
        """Return the objects' masks, and below them one of all objects where the background is asked about too."""
        masks = sample.masks(chosen)
        return np.concatenate([masks, union_of(sample)[None]]) if self.recipe.negative_share else masks

    def _ask(
        self,
        masks: BoolMask,
        background: BoolMask,
        ignore: BoolMask | None,
        numbers: Sequence[int],
        view: tuple[int, str],
    ) -> list[_Question]:
        """Return what is asked about a view: its objects, some of them given up for a prompt on the background.

        Args:
            masks: bool [n, H, W].
            background: bool [1, H, W], or [0, H, W] where nobody asks about it.
            ignore: bool [H, W].
            numbers: of the objects, in the sample.
            view: what the view is named by in all that is drawn for it.
        """
        seed, asked = self.plan.seed, []
        free = [one if ignore is None else one & ~ignore for one in background]
        has_room = any(one.any() for one in free)
        for row, names in repeated(numbers, self.recipe):
            rng = generator(seed, "negative", *view, *names)
            if has_room and rng.random() < self.recipe.negative_share:
                asked.append(_Question(names, _on_nothing(free[0], rng), None))
            else:
                prompt = first_prompt(masks[row], ignore, self.recipe, generator(seed, "prompt", *view, *names))
                asked.append(_Question(names, prompt, row))
        # An image without objects has nothing else to be asked about.
        if not asked and has_room:
            asked.append(_Question((0,), _on_nothing(free[0], generator(seed, "negative", *view, 0)), None))
        return asked

    def _limit(self, view: ViewParameters) -> int | None:
        # The image itself goes to the model untouched, so that its embedding is the one evaluation makes.
        return None if view == IDENTITY else self.preparation.side

    def _weights(self, sample: Sample, asked: Sequence[_Question]) -> Tensor:
        weights = torch.ones(len(asked))  # a prompt on nothing counts as an object does on average
        if self.weights is not None:
            rows = [place for place, one in enumerate(asked) if one.row is not None]
            # Of the whole object, however little of it the view shows: so its weight is the same in every view.
            weights[rows] = self.weights.of(sample, [asked[place].names[0] for place in rows])
        return weights

    def _uniforms(self, epoch: int, name: str, asked: list[tuple[int, ...]]) -> Tensor:
        shape = (self.recipe.rounds, 3)
        drawn = [generator(self.plan.seed, "clicks", epoch, name, *names).random(shape, np.float32) for names in asked]
        return torch.from_numpy(np.stack(drawn)) if drawn else torch.zeros((0, *shape))


def _on_nothing(background: BoolMask, rng: np.random.Generator) -> ObjectPrompt:
    return PROMPTS[str(rng.choice(NEGATIVES))](background, rng)


def _is_seen(truth: Tensor, valid: Tensor) -> BoolMask:
    """Return bool [n]: whether anything of each object lies in a cell that counts.

    What is left of one in a region that is ignored may be too narrow for any; losses would take it for nothing.
    """
    seen: BoolMask = ((truth > 0.5) & valid).flatten(1).any(dim=1).numpy()
    return seen


def _rows_of(truth: Tensor, rows: Sequence[int | None]) -> Tensor:
    """Return float32 [n, h, w]: the maps of these rows, an empty one for None."""
    empty = torch.zeros((1, *truth.shape[1:]))
    return torch.cat([truth, empty])[[len(truth) if row is None else row for row in rows]]


def union_of(sample: Sample) -> BoolMask:
    """Return bool [H, W]: the pixels of all the sample's objects, held one mask at a time."""
    union = np.zeros(sample.size, dtype=np.bool_)
    for mask in sample.objects:
        union |= mask.decode()
    return union


def generator(seed: int, *names: object) -> np.random.Generator:
    """Return a generator that depends on `seed` and `names` alone, the same on every machine."""
    # Not Python's own hash, which differs from process to process; the separator keeps 'a', 'bc' from being 'ab', 'c'.
    digest = hashlib.sha256("\x1f".join(map(str, names)).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], np.uint32).tolist()])


def choose_objects(sample: Sample, most: int, size_weight: float, rng: np.random.Generator) -> list[int]:
    """Return the numbers of at most `most` objects of the sample that are not empty, in rising order.

    Args:
        sample: the image's objects.
        most: how many at most.
        size_weight: an object's chance goes with its area to this power; 0: all alike.
        rng: draws them.
    """
    there = [number for number, mask in enumerate(sample.objects) if mask.area]
    if len(there) > most:
        weight = np.array([sample.objects[number].area for number in there], dtype=np.float64) ** size_weight
        chances = weight / weight.sum() if size_weight else None
        there = sorted(rng.choice(there, most, replace=False, p=chances).tolist())
    return there


def repeated(numbers: Sequence[int], recipe: PromptRecipe) -> list[tuple[int, tuple[int, ...]]]:
    """Return what is asked about objects of these numbers: (row, (number,)), and (row, (number, n)) when asked again.

    An encoder that trains costs far more than a prompt, so an image of few objects is made the most of.
    """
    times = recipe.repeats(len(numbers))
    # Asked first, an object is named by its number alone: it gets the prompt it gets without repeats.
    return [(row, (number, again)[: 1 + (again > 0)]) for again in range(times) for row, number in enumerate(numbers)]


def first_prompt(
    mask: BoolMask, ignore: BoolMask | None, recipe: PromptRecipe, rng: np.random.Generator
) -> ObjectPrompt:
    """Draw the simulator by the recipe's shares, then the prompt."""
    names = list(recipe.first)
    shares = np.array([recipe.first[name] for name in names])
    return PROMPTS[names[int(rng.choice(len(names), p=shares / shares.sum()))]](mask, rng, ignore=ignore)


def shrunk(
    image: Image, masks: BoolMask, ignore: BoolMask | None, side: int | None
) -> tuple[Image, BoolMask, BoolMask | None]:
    """Bring an image larger than the model's side down to it before it is warped, its masks alike."""
    size = _smaller((image.shape[0], image.shape[1]), side)
    if size is None:
        return image, masks, ignore
    small = np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    smaller: BoolMask = np.zeros((len(masks), *size), np.bool_)
    for target, mask in zip(smaller, masks, strict=True):
        shares = _cover(mask, size)
        # Not from 1/2 on: nothing would be left of what is thinner than half a new pixel.
        target[:] = shares > best_level(shares)
    return small, smaller, None if ignore is None else _cover(ignore, size) > 0.5


def shrunk_map(likely: Probability, side: int | None) -> Probability:
    """Bring the probability of an object down as `shrunk` does its mask: what is thin and sure stays above 1/2."""
    size = _smaller((likely.shape[0], likely.shape[1]), side)
    if size is None:
        return likely
    means = np.asarray(cv2.resize(likely, size[::-1], interpolation=cv2.INTER_AREA), np.float32)
    (moved,) = around_best_level(_cover(likely > 0.5, size)[None], [means])
    return np.asarray(moved, np.float32)


def _smaller(size: tuple[int, int], side: int | None) -> tuple[int, int] | None:
    """Return the (height, width) to which an image of `size` is brought down; None where it is small enough."""
    return None if side is None or max(size) <= side else Frame.longest_side(size, side).resized


def _cover(mask: BoolMask, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return the share of each pixel of a smaller image, float32 [h, w], that a mask [H, W] covers."""
    shares = cv2.resize(mask.view(np.uint8) * 255, size[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(shares / np.float32(255), np.float32)


def valid_cells(ignore: BoolMask | None, frame: Frame, mask_size: tuple[int, int]) -> Tensor:
    """Return bool [h, w]: cells of the model's output of which more than half holds image that is not ignored.

    The middle of each is not ignored either: that is where it is clicked.
    """
    counted = torch.ones((1, *frame.original)) if ignore is None else torch.from_numpy(~ignore)[None].float()
    valid = masks_to_frame(counted, frame, mask_size)[0] > 0.5
    if ignore is None or not ignore.any():
        return valid
    rows, columns = valid.nonzero(as_tuple=True)
    cells = torch.stack([columns, rows], dim=1) + 0.5
    x, y = cells_to_points(cells, torch.zeros(len(cells), dtype=torch.int64), (frame,), mask_size).round().long().T
    valid[rows, columns] = torch.from_numpy(~ignore)[y, x]
    return valid
