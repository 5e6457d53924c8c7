"""How images come into the square."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from segtune.core.errors import ModelError
from segtune.models.preparation import SAM_MEAN, SAM_STD, Preparation


def draw(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width", "resized"), [(50, 80, (40, 64)), (80, 50, (64, 40)), (7, 5, (64, 46))])
def test_sam_pads_at_the_bottom_and_the_right(height: int, width: int, resized: tuple[int, int]) -> None:
    """The image lies at the top left, normalised with SAM's mean and std, and the rest is zero after that."""
    image = draw(height, width)
    pixels, (frame,) = Preparation.longest_side(64).prepare([image])
    assert frame.resized == resized
    expected = Image.fromarray(image).resize(resized[::-1], Image.Resampling.BILINEAR)
    normal = (np.asarray(expected, np.float64) - SAM_MEAN) / SAM_STD
    np.testing.assert_allclose(pixels[0, :, : resized[0], : resized[1]].permute(1, 2, 0), normal, atol=1e-5)
    assert not pixels[0, :, resized[0] :].any()
    assert not pixels[0, :, :, resized[1] :].any()


def test_medsam_stretches_to_its_own_range() -> None:
    """Both sides fill the square, and an image's darkest value is 0, its brightest 1."""
    image = draw(30, 50) // 2 + 20
    pixels, (frame,) = Preparation.stretched(64).prepare([image])
    assert frame.resized == (64, 64)
    assert frame.scale == (64 / 50, 64 / 30)
    assert (float(pixels.min()), float(pixels.max())) == (0.0, 1.0)


def test_a_flat_image_is_no_division_by_zero() -> None:
    """MedSAM's range of an image of one colour is empty."""
    pixels, _ = Preparation.stretched(64).prepare([np.full((10, 20, 3), 90, np.uint8)])
    assert torch.equal(pixels, torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("kind", ["longest_side", "stretched"])
def test_images_do_not_touch_each_other(kind: str) -> None:
    """A batch of images of several sizes holds each as it is alone."""
    preparation = Preparation.of_kind(kind, 64)
    images = [draw(30, 50), draw(64, 64), draw(200, 90)]
    together, frames = preparation.prepare(images)
    for row, image in enumerate(images):
        alone, (frame,) = preparation.prepare([image])
        assert torch.equal(together[row], alone[0])
        assert frames[row] == frame


def test_json_round_trip_and_unknown_kind() -> None:
    """What is recorded reads back equal; an unknown kind is named with the known ones."""
    preparation = Preparation("longest_side", 512, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert Preparation.from_json(preparation.to_json()) == preparation
    with pytest.raises(ModelError, match=r"'centred' is no way .* 'stretched'"):
        Preparation.of_kind("centred", 64)
