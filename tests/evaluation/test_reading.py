"""Samples are read a little ahead, in order, and one that cannot be read stops nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from segtune.core.errors import DataError
from segtune.data.dataset import SetAside
from segtune.evaluation.reading import read_ahead


def torn():
    """Fail as a file does that cannot be decoded."""
    raise DataError("It is truncated.")


def test_samples_come_in_order_with_their_place_and_image(dataset, sample):
    """A broken one stands in its own place with its reason, and those behind it come all the same."""
    samples = [sample(number) for number in range(6)]
    samples[2] = replace(samples[2], read=torn)
    found = list(read_ahead(dataset(*samples)))
    assert isinstance(found[2], SetAside)
    assert (found[2].name, found[2].reason) == (samples[2].name, "It is truncated.")
    for row in (0, 1, 3, 4, 5):
        assert (found[row].index, found[row].sample) == (row, samples[row])
        np.testing.assert_array_equal(found[row].image, samples[row].image)


def test_images_that_nobody_needs_are_not_decoded(dataset, sample):
    """With embeddings at hand an image that cannot be decoded is no fault."""
    (found,) = read_ahead(dataset(replace(sample(0), read=torn)), images=False)
    assert (found.index, found.image) == (0, None)


def test_an_image_of_another_size_is_set_aside_with_both(dataset, sample):
    """Width comes first, as people say it."""
    (found,) = read_ahead(dataset(replace(sample(0), read=lambda: np.zeros((20, 30, 3), np.uint8))))
    assert "30 × 20" in found.reason
    assert "140 × 90" in found.reason


def test_who_stops_reading_waits_for_few_images(dataset, sample):
    """Left after the first, no more than those in hand were decoded."""
    read = []

    def counted(number):
        return lambda: read.append(number) or sample(number).image

    samples = [replace(sample(number), read=counted(number)) for number in range(20)]
    items = read_ahead(dataset(*samples))
    next(items)
    items.close()
    assert len(read) <= 4
