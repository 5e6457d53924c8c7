"""Where everything mode looks."""

from __future__ import annotations

import numpy as np
import pytest

from segtune.segment.grid import cut_crops, point_grid


def test_points_are_the_centres_of_even_cells():
    """Row by row, x before y, half a step from the edges."""
    np.testing.assert_allclose(point_grid(2), [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])
    np.testing.assert_allclose(point_grid(1), [[0.5, 0.5]])
    side = np.linspace(1 / 64, 1 - 1 / 64, 32)
    np.testing.assert_allclose(point_grid(32)[:32, 0], side)
    np.testing.assert_allclose(point_grid(32)[::32, 1], side)


def test_crops_are_the_published_ones():
    """The published code's boxes for an image of 1000 by 1500 pixels, two layers, overlap 512/1500."""
    crops = cut_crops((1000, 1500), 2, 512 / 1500)
    assert [crop.layer for crop in crops] == [0] + [1] * 4 + [2] * 16
    assert [crop.box for crop in crops[:5]] == [
        (0, 0, 1500, 1000), (0, 0, 921, 671), (0, 330, 921, 1000), (580, 0, 1500, 671), (580, 330, 1500, 1000),
    ]  # fmt: skip
    # The second layer overlaps half as much: ceil((1500 + 3 · 170) / 4) wide, ceil((1000 + 3 · 170) / 4) high.
    assert crops[5].box == (0, 0, 503, 378)
    assert crops[6].box == (0, 208, 503, 586)
    assert crops[20].box == (999, 624, 1500, 1000)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (97, 101)])
@pytest.mark.parametrize("ratio", [0.0, 0.34, 1.0])
def test_crops_cover_the_image_and_stay_inside(size, ratio):
    """Also where there are fewer pixels than crops."""
    crops = cut_crops(size, 2, ratio)
    for layer in (1, 2):
        seen = np.zeros(size, dtype=np.bool_)
        for crop in crops:
            assert crop.size[0] > 0
            assert crop.size[1] > 0
            assert crop.box[2] <= size[1]
            assert crop.box[3] <= size[0]
            if crop.layer == layer:
                seen[crop.rows, crop.columns] = True
        assert seen.all()
