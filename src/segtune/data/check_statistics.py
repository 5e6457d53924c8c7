"""A data set in figures: sizes, objects, colours and places, as check.json and the page show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segtune.data.check_measure import OBJECT, Measured

_QUANTILES = {"low": 0.05, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "high": 0.95}

SHARE_BINS = np.logspace(-5, 0, 26)
"""Edges of the histogram of object sizes: shares of the image, five to a decade."""


def describe(measured: Sequence[Measured], places: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return the statistics of a data set as plain values.

    Args:
        measured: its images that could be read.
        places: [24, 24], the sum of what `Measured.places` was of all of them.
    """
    objects = gather_objects(measured)
    counts = np.array([len(one.objects) for one in measured])
    return {
        "image_size": _image_sizes(measured),
        "objects_per_image": _spread(counts) | {"histogram": _count_histogram(counts)},
        "object_share": _spread(objects["share"]) | {"histogram": share_histogram(objects["share"])},
        "object_pixels": _spread(objects["area"]),
        "parts_per_object": _spread(objects["parts"]),
        "at_border": round(float((objects["sides"] > 0).mean()), 4) if len(objects) else 0.0,
        "covered": _spread(np.array([one.covered for one in measured])),
        "ignored": round(float(np.mean([one.ignored for one in measured])), 5) if measured else 0.0,
        "labels": dict(Counter(label for one in measured for label in one.labels).most_common()),
        "colour": _colours(measured),
        "places": _mean_places(places, sum(len(one.objects) > 0 for one in measured)),
    }


def gather_objects(measured: Sequence[Measured]) -> npt.NDArray[np.void]:
    """Return all objects as one table of `check_measure.OBJECT`."""
    return np.concatenate([one.objects for one in measured]) if measured else np.zeros(0, OBJECT)


def share_histogram(shares: npt.NDArray[np.floating]) -> list[int]:
    """Return how many objects fall between the edges of `SHARE_BINS`; smaller ones count in the first."""
    return [int(number) for number in np.histogram(np.clip(shares, SHARE_BINS[0], 1.0), SHARE_BINS)[0]]


def _image_sizes(measured: Sequence[Measured]) -> dict[str, Any]:
    heights, widths = (np.array([one.size[axis] for one in measured]) for axis in (0, 1))
    return {
        "distinct": len({one.size for one in measured}),
        "height": _spread(heights),
        "width": _spread(widths),
        "aspect": _spread(widths / np.maximum(heights, 1)),
    }


def _count_histogram(counts: npt.NDArray[np.int64]) -> dict[str, int]:
    """Return how many images have how many objects; from 10 on in decades of their own."""
    edges = [0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000]
    found = {}
    for low, high in zip(edges, [*edges[1:], None], strict=True):
        number = int(((counts >= low) & (counts < high if high is not None else True)).sum())
        # As written on the page: "3–4", "5–9", …, "1000+".
        name = f"{low}+" if high is None else str(low) if high == low + 1 else f"{low}–{high - 1}"
        if number:
            found[name] = number
    return found


def _spread(values: npt.NDArray[Any]) -> dict[str, float]:
    if not len(values):
        return {}
    real = values.astype(np.float64)
    found = {"least": real.min(), "most": real.max(), "mean": real.mean()}
    found |= {name: np.quantile(real, share) for name, share in _QUANTILES.items()}
    # Five digits are more than anyone reads, and hide the last bits, which may differ between machines.
    return {name: float(f"{value:.5g}") for name, value in found.items()}


def _colours(measured: Sequence[Measured]) -> dict[str, Any]:
    if not measured:
        return {}
    means = np.array([one.colour for one in measured]).mean(axis=0)
    return {
        "mean": [round(float(value), 1) for value in means],
        "contrast": round(float(np.mean([one.contrast for one in measured])), 1),
        "grey_images": sum(one.grey for one in measured),
    }


def _mean_places(total: npt.NDArray[np.float64], filled: int) -> list[list[float]]:
    """Return the mean share of object in each cell of a map over the images with objects, rows from the top."""
    return [[round(float(value), 4) for value in row] for row in total / max(filled, 1)]
