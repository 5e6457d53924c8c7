"""A long list of images as errands for workers of which any may die: what one is, and how it is run.

Nothing here knows how workers are started or reached (`segment.pipeline`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from segtune.models.family import PromptableModel
from segtune.segment.batches import Task, answer_images
from segtune.segment.inputs import InputImage
from segtune.segment.outputs import Failed, Result
from segtune.segment.wishes import Wish

TRIES = 2
"""How often an errand is begun in batches, and then each of its images alone, before it is held to be fatal."""

_BATCHES = 4
"""In an errand at most: within one, images are read ahead; a death costs at most one."""

_ROUNDS = 8
"""Errands for each worker at least, where there are enough images: the last to finish then waits little."""


@dataclass(frozen=True)
class Errand:
    """Some of the images, whole batches of them, and what is asked of each of these alone.

    Attributes:
        number: tells it from the others.
        images: in the order of all.
        by_name: as `Wishes.by_name`.
    """

    number: int
    images: tuple[InputImage, ...]
    by_name: Mapping[str, tuple[Wish, ...]] = field(default_factory=dict)


def divide(images: Sequence[InputImage], task: Task, batch: int, workers: int) -> Iterator[Errand]:
    """Yield the errands: their batches are those that one machine would make of all images.

    Args:
        images: all.
        task: what is to be done with each.
        batch: images encoded at once.
        workers: that share the errands.
    """
    # An image in tiles may take hours, and nothing of it is shared with the next.
    size = 1 if task.tiles else batch * max(1, min(_BATCHES, len(images) // (batch * workers * _ROUNDS)))
    for number, start in enumerate(range(0, len(images), size)):
        some = tuple(images[start : start + size])
        by_name = {image.name: task.wishes.of(image) for image in some} if task.wishes.by_name else {}
        yield Errand(number, some, by_name)


class Beginnings(Protocol):
    """Remembers, longer than any worker lives, what was begun and not ended."""

    def begin(self, what: str) -> int:
        """Count one more beginning and return how many there are."""

    def end(self, what: str) -> None:
        """Forget all beginnings."""


@dataclass(frozen=True)
class Runner:
    """Runs errands, in a worker.

    Attributes:
        model: on the worker's device.
        task: of all errands, without `Wishes.by_name`.
        batch: images encoded at once.
        beginnings: shared by all workers.
    """

    model: PromptableModel
    task: Task
    batch: int
    beginnings: Beginnings

    def run(self, errand: Errand) -> list[Result | Failed]:
        """Return what comes of each image.

        An errand that workers died of is run image by image: then one that they die of is found, listed, and the others
        are done.
        """
        task = replace(self.task, wishes=replace(self.task.wishes, by_name=errand.by_name))
        if self.beginnings.begin(f"errand {errand.number}") <= TRIES:
            return self._answer(errand.images, task)
        found: list[Result | Failed] = []
        for image in errand.images:
            if self.beginnings.begin(image.name) > TRIES:
                found.append(Failed(image.name, _fatal(image)))
                continue
            found += self._answer([image], task)
            self.beginnings.end(image.name)
        return found

    def _answer(self, images: Sequence[InputImage], task: Task) -> list[Result | Failed]:
        return [one for group in answer_images(self.model, images, task, batch=self.batch) for one in group]


def _fatal(image: InputImage) -> str:
    return (
        f"{image.path}: workers died {TRIES} times while they segmented this image alone, perhaps for want of memory. "
        "Give them more of it, or read large images by window (--tiles)."
    )
