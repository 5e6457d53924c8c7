"""Masks drawn on images as they are stored, where a note in the file (EXIF orientation) has them shown turned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice

import numpy as np

from segtune.core.rle import BoolMask
from segtune.data.check_outline import Outline, Slopes, fit_of
from segtune.data.check_swaps import covered_pixels
from segtune.data.dataset import Dataset

_MOST = 200
"""Images read a second time."""

_UPRIGHT: Mapping[int, Callable[[BoolMask], BoolMask]] = {
    2: np.fliplr,
    3: lambda mask: np.rot90(mask, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda mask: np.rot90(mask, -1),
    7: lambda mask: np.rot90(mask, 2).T,
    8: np.rot90,
}
"""What brings an image that is stored in an orientation upright (EXIF 2.3, tag 0x0112)."""


def find_unturned(dataset: Dataset, orientations: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    """Return how well masks follow their images as they lie, and turned as their images are (`fit_of`).

    Args:
        dataset: images that can be read.
        orientations: those of images whose masks have none. Where turning gives a mask another size than the image's
            it is not looked at: such a mask was drawn on the image as it is shown.
    """
    known = {name: orientation for name, orientation in orientations.items() if orientation in _UPRIGHT}
    found = {}
    for sample in dataset.subset(islice(known, _MOST)):
        mask = covered_pixels(sample)
        turned = np.ascontiguousarray(_UPRIGHT[known[sample.name]](mask))
        outlines = Outline.of(mask), Outline.of(turned)
        if turned.shape == mask.shape and outlines[0] is not None and outlines[1] is not None:
            slopes = Slopes.of(sample.image)
            found[sample.name] = fit_of(slopes, outlines[0]), fit_of(slopes, outlines[1])
    return found
