"""Masks of overlapping tiles, joined: which tile is believed where."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
import pytest

from segtune.core.rle import RunLengths
from segtune.segment.everything import AutomaticMask
from segtune.segment.seams import Seams
from segtune.segment.tiles import TileSettings, cut_tiles

SIDE = 64


def found(mask):
    """One automatic mask of a tile."""
    height, width = mask.shape
    ys, xs = np.nonzero(mask)
    assert len(xs)
    return AutomaticMask(RunLengths.encode(mask), 0.9, 0.9, (float(xs[0]), float(ys[0])), (0, 0, width, height))


def join(picture, see, *, overlap):
    """Cut a picture into tiles, let `see` change what each finds of it, and return the joined masks as arrays.

    Args:
        picture: bool [H, W], one object.
        see: called with the part of the picture in a tile, bool [h, w], and the tile's box.
        overlap: share of a tile.
    """
    seams = Seams(picture.shape, 0.5)
    for tile in cut_tiles(picture.shape, TileSettings(side=SIDE, overlap=overlap)):
        seen = see(picture[tile.rows, tile.columns].copy(), tile.box)
        seams.add(tile, [found(seen)] if seen.any() else [])
    return [one.mask.decode() for one in seams.joined(doubles=1.0)]


@pytest.mark.parametrize("overlap", [0.2, 0.25, 0.5])
def test_faults_at_a_tile_s_edges_do_not_show(overlap):
    """Each tile finds the object taller in its last few pixels; the next sees those places better."""
    picture = np.zeros((60, 400), np.uint8)
    cv2.ellipse(picture, (200, 30), (170, 12), 4, 0, 360, 1, -1)

    def frayed(seen, box):
        x0, _, x1, _ = box
        for strip, is_cut in ((seen[:, :4], x0 > 0), (seen[:, -4:], x1 < 400)):
            if is_cut:
                strip |= cv2.dilate(strip.astype(np.uint8), np.ones((15, 1), np.uint8)) > 0
        return seen

    for turned, change in (
        (picture.astype(bool), frayed),
        (picture.T.astype(bool), lambda seen, box: frayed(seen.T, (box[1], 0, box[3], 0)).T),
    ):
        (joined,) = join(np.ascontiguousarray(turned), change, overlap=overlap)
        assert np.array_equal(joined, turned)


def test_what_two_tiles_agree_on_is_not_lost_by_a_third():
    """The middle one of three that all overlap sees a fragment: the others see the rest clear of their edges."""
    picture = np.zeros((60, 97), bool)
    picture[20:40, 6:91] = True
    assert len(cut_tiles(picture.shape, TileSettings(side=SIDE, overlap=0.5))) == 3

    def fragment(seen, box):
        if box[0] > 0 and box[2] < 97:
            seen[:, 44 - box[0] :] = False
        return seen

    (joined,) = join(picture, fragment, overlap=0.5)
    assert np.array_equal(joined, picture)


@pytest.mark.parametrize(
    ("height", "width", "overlap"), list(product((50, 65, 97, 130), (64, 97, 150), (0.1, 0.25, 0.5)))
)
def test_an_object_as_large_as_the_image_is_whole(height, width, overlap):
    """No place is one that every tile leaves to others, whatever the grid."""
    picture = np.ones((height, width), bool)
    (joined,) = join(picture, lambda seen, _: seen, overlap=overlap)
    assert joined.all()


def test_a_tile_without_the_object_leaves_its_edges_to_the_others():
    """What only one tile found there is kept, to the edge."""
    picture = np.zeros((60, 400), bool)
    picture[20:40, 10:390] = True
    tiles = cut_tiles(picture.shape, TileSettings(side=SIDE, overlap=0.25))
    blind = tiles[2].box

    def see(seen, box):
        return seen & (box != blind)

    joined = np.logical_or.reduce(join(picture, see, overlap=0.25))
    kept = picture.copy()
    kept[:, tiles[1].box[2] : tiles[3].box[0]] = False
    assert np.array_equal(joined, kept)
