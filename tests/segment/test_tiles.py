"""Tiles: whatever an image is cut into, its objects come back once and whole."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from segtune.core.errors import UsageError
from segtune.core.rle import RunLengths
from segtune.data.windows import ArrayWindows
from segtune.segment import tiles
from segtune.segment.everything import AutomaticMask, EverythingSettings, segment_everything
from segtune.segment.tiles import TileSettings, cut_tiles, segment_everything_tiled

BOTH = 0.5
KEEP_ALL = EverythingSettings(crop_nms_thresh=1.0)
"""No double is dropped at the end: what is found twice must have been joined."""


def blobs_of(model, image, settings=None, **_):
    """Stand in for everything mode: each connected bright blob is a mask."""
    count, labels = cv2.connectedComponents((image[:, :, 0] > 127).astype(np.uint8), connectivity=8)
    height, width = image.shape[:2]
    return tuple(
        AutomaticMask(RunLengths.encode(labels == number), 0.9, 0.9, (0.0, 0.0), (0, 0, width, height))
        for number in range(1, count)
    )


def everything(picture, **settings):
    """Tile a bright-on-black picture [H, W] and return the masks found."""
    image = np.repeat(picture[:, :, None], 3, axis=2).astype(np.uint8) * 255
    return segment_everything_tiled(None, ArrayWindows(image), TileSettings(**settings), KEEP_ALL)


def same_blobs(picture, found):
    """Whether the masks are the blobs of the picture, each once."""
    _, labels = cv2.connectedComponents(picture.astype(np.uint8), connectivity=8)
    wanted = {RunLengths.encode(labels == number).counts.tobytes() for number in range(1, labels.max() + 1)}
    seen = [one.mask.counts.tobytes() for one in found]
    assert all(one.mask.size == picture.shape for one in found)
    return len(seen) == len(wanted) and set(seen) == wanted


@pytest.fixture(autouse=True)
def stand_in(monkeypatch, request):
    if "model" not in request.fixturenames:
        monkeypatch.setattr(tiles, "segment_everything", blobs_of)


def draw_blobs(seed, size):
    rng = np.random.default_rng(seed)
    picture = np.zeros(size, np.uint8)
    for _ in range(25):
        x, y = int(rng.integers(0, size[1])), int(rng.integers(0, size[0]))
        axes = tuple(int(value) for value in rng.integers(1, 14, 2))
        cv2.ellipse(picture, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return picture.astype(bool)


@pytest.mark.parametrize("side", [32, 48, 80, 200])
@pytest.mark.parametrize("overlap", [0.1, 0.25, BOTH])
def test_blobs_come_back_once_and_whole(side, overlap):
    """Small and large ones, at the image's border and across several tiles."""
    for seed in range(4):
        picture = draw_blobs(seed, (150, 190))
        assert same_blobs(picture, everything(picture, side=side, overlap=overlap)), seed


def test_a_blob_on_the_corner_of_four_tiles():
    picture = np.zeros((112, 112), bool)
    picture[40:70, 38:73] = True
    assert same_blobs(picture, everything(picture, side=64, overlap=0.25))


def test_blobs_larger_than_a_tile():
    """A full one, a ring, a U whose arms are two pieces in some tiles, and a thin diagonal."""
    full = np.zeros((200, 230), bool)
    full[10:190, 20:215] = True
    ring = np.zeros((200, 230), np.uint8)
    cv2.circle(ring, (115, 100), 80, 1, 9)
    arms = np.zeros((200, 230), bool)
    arms[20:180, 30:60] = arms[20:180, 150:220] = arms[150:180, 30:220] = True
    thin = np.zeros((200, 230), np.uint8)
    cv2.line(thin, (0, 3), (229, 190), 1, 3)
    comb = np.zeros((200, 230), bool)
    comb[160:, :] = True
    comb[20:, ::6] = True
    for picture in (full, ring.astype(bool), arms, thin.astype(bool), comb):
        for turned in (picture, picture.T, picture[::-1], picture[:, ::-1]):
            turned = np.ascontiguousarray(turned)
            assert same_blobs(turned, everything(turned, side=64, overlap=0.3))


def test_everything_bright_is_one_mask():
    picture = np.ones((100, 130), bool)
    (one,) = everything(picture, side=40, overlap=0.2)
    assert one.area == picture.size
    assert one.crop_box == (0, 0, 130, 100)


@pytest.mark.parametrize("size", [(10, 10), (64, 65), (100, 64), (500, 129), (64, 64)])
def test_tiles_cover_the_image_and_overlap(size):
    settings = TileSettings(side=64, overlap=0.25)
    cut = cut_tiles(size, settings)
    seen = np.zeros(size, np.uint8)
    for tile in cut:
        seen[tile.rows, tile.columns] += 1
        assert tile.size == (min(size[0], 64), min(size[1], 64))
    assert (seen > 0).all()
    tops, lefts = (sorted({tile.box[axis] for tile in cut}) for axis in (1, 0))
    for starts in (tops, lefts):
        assert all(second + 16 <= first + 64 for first, second in pairwise(starts))


def test_one_tile_is_everything_mode(model, image):
    """An image no larger than a tile is segmented as it is."""
    settings = EverythingSettings(
        points_per_side=4, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1, crop_nms_thresh=1
    )
    alone = segment_everything(model, image, settings)
    tiled = segment_everything_tiled(model, ArrayWindows(image), TileSettings(side=128), settings)
    assert len(alone) > 3
    assert tiled == alone


@pytest.mark.parametrize("wrong", [{"side": 8}, {"side": 64.0}, {"overlap": 0.0}, {"overlap": 0.6}, {"agreement": 0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(UsageError):
        TileSettings(**wrong)
