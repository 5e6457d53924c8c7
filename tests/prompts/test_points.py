"""Clicks: the inner centre against brute force, and uniform random clicks."""

from __future__ import annotations

import numpy as np
import pytest

from segtune.prompts.points import click, inner_centre, random_click

RNG = np.random.default_rng(0)


def brute_distance(mask: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest one outside the mask, beyond the image included, pair by pair."""
    padded = np.pad(mask, 1)
    outside = np.argwhere(~padded)
    inside = np.argwhere(mask) + 1
    distance = np.zeros(mask.shape)
    for row, column in inside:
        distance[row - 1, column - 1] = np.sqrt(np.square(outside - [row, column]).sum(1).min())
    return distance


@pytest.mark.parametrize("seed", range(8))
def test_inner_centre_is_the_farthest_pixel(seed):
    """The inner centre is as far from the outline and the image border as any pixel of the mask."""
    noise = np.random.default_rng(seed).normal(size=(6, 7))
    mask = np.kron(noise > 0, np.ones((4, 5), dtype=bool))
    x, y, distance = inner_centre(mask)
    expected = brute_distance(mask)
    assert expected[y, x] == pytest.approx(expected.max())
    assert distance == pytest.approx(expected.max(), rel=1e-6)


def test_middle_of_a_bar():
    """Of the equally far pixels along a bar the middle one is clicked, not its end."""
    mask = np.zeros((30, 60), dtype=bool)
    mask[10:15, 5:46] = True
    assert click(mask, RNG).points.tolist() == [[25, 12]]


def test_image_border_counts_as_outline():
    """An object that goes on beyond the image is clicked away from the border."""
    mask = np.zeros((40, 40), dtype=bool)
    mask[:10, :10] = True
    x, y, distance = inner_centre(mask)
    assert (x, y) in {(4, 4), (5, 4), (4, 5), (5, 5)}
    assert distance == 5


def test_ring_is_clicked_on_the_ring():
    """A ring's centroid lies in its hole; its click does not."""
    y, x = np.mgrid[:50, :50]
    radius = np.hypot(y - 25, x - 25)
    mask = (radius < 20) & (radius > 14)
    [[column, row]] = click(mask, RNG).points.astype(int)
    assert mask[row, column]


def test_one_pixel():
    """An object of one pixel is clicked there."""
    mask = np.zeros((5, 9), dtype=bool)
    mask[4, 8] = True
    assert click(mask, RNG).points.tolist() == [[8, 4]]
    assert random_click(mask, RNG).points.tolist() == [[8, 4]]


def test_random_click_is_uniform():
    """Over many seeds each pixel of the object is clicked about equally often, and no other."""
    mask = np.zeros((6, 8), dtype=bool)
    mask[1:3, 2:7] = True
    rng = np.random.default_rng(1)
    counts = np.zeros(mask.shape)
    for _ in range(4000):
        [[x, y]] = random_click(mask, rng).points.astype(int)
        counts[y, x] += 1
    assert (counts[~mask] == 0).all()
    assert (np.abs(counts[mask] - 400) < 5 * np.sqrt(400)).all()


def test_drawn_rank_names_the_pixel():
    """The recorded rank is enough to make the click again."""
    mask = np.random.default_rng(2).random((20, 20)) > 0.5
    prompt = random_click(mask, np.random.default_rng(3))
    row, column = np.argwhere(mask)[int(prompt.drawn["pixel_rank"])]
    assert prompt.points.tolist() == [[column, row]]


def test_masks_that_are_views():
    """A transposed or sliced mask is read like its copy."""
    mask = np.zeros((30, 40), dtype=bool)
    mask[5:20, 8:30] = True
    assert click(mask.T, RNG).points.tolist() == click(mask.T.copy(), RNG).points.tolist()
    assert click(mask[::2, ::2], RNG).points.tolist() == click(mask[::2, ::2].copy(), RNG).points.tolist()
