"""Samples read a little ahead, so that the model does not wait for the disk and the decoding of images."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from segtune.core.errors import DataError
from segtune.core.types import Image, Sample
from segtune.data.dataset import Dataset, SetAside

_AHEAD = 2
"""Images in memory beside the one in hand."""


@dataclass(frozen=True, eq=False)
class Item:
    """A sample, its place in the data set, and its decoded image where that was asked for."""

    index: int
    sample: Sample
    image: Image | None


def read_ahead(dataset: Dataset, *, images: bool = True) -> Iterator[Item | SetAside]:
    """Yield the samples in order; one that cannot be read is yielded as set aside, with the reason.

    Args:
        dataset: what to read.
        images: whether to decode the images.
    """
    # One thread: it hides behind the model, and order costs nothing. Leaving early waits for the images asked for.
    with ThreadPoolExecutor(1, "segtune-reader") as reader:
        waiting: deque[Future[Item | SetAside]] = deque()
        for index in range(len(dataset)):
            waiting.append(reader.submit(_read, dataset, index, images))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read(dataset: Dataset, index: int, images: bool) -> Item | SetAside:
    try:
        sample = dataset[index]
        image = sample.image if images else None
        if image is not None and image.shape[:2] != sample.size:
            found, said = ("{1} × {0}".format(*size) for size in (image.shape[:2], sample.size))
            raise DataError(f"{sample.name} must be as large as its masks, but is {found} pixels and they are {said}.")
        return Item(index, sample, image)
    except DataError as error:
        return unreadable(dataset.names[index], error)


def unreadable(name: str, error: DataError) -> SetAside:
    """Return what is told of an image that could not be read."""
    return SetAside(name, str(error), "Repair the file or remove it.")
