from __future__ import annotations

import json
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest

from segtune.core.errors import UsageError
from segtune.data.augment import (
    IDENTITY,
    PRESETS,
    SLIDES,
    AugmentSettings,
    ViewParameters,
    apply_view,
    apply_view_to_map,
    draw_view,
)

EVERYTHING = AugmentSettings(
    flip_vertical=0.5, quarter_turn=0.5, rotation_probability=1, scale_probability=1, crop_probability=1,
    brightness_probability=1, contrast_probability=1, saturation_probability=1, hue_probability=1,
    blur_probability=1, noise_probability=1, jpeg_probability=1,
)  # fmt: skip


@pytest.fixture
def scene():
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (60, 90, 3), dtype=np.uint8), (0, 0), 2)
    masks = np.zeros((11, 60, 90), bool)
    for index in range(11):
        masks[index, 5 + 3 * index : 20 + 3 * index, 4 * index : 30 + 4 * index] = True
    ignore = np.zeros((60, 90), bool)
    ignore[:4] = True
    return image, masks, ignore


def test_identity_changes_nothing(scene):
    """The view without arguments is the image itself, bit by bit."""
    image, masks, ignore = apply_view(*scene, IDENTITY)
    assert (image == scene[0]).all()
    assert (masks == scene[1]).all()
    assert (ignore == scene[2]).all()


def test_same_numbers_same_bytes(scene):
    """A view that went through JSON gives the same bytes and the same key."""
    for seed in range(5):
        view = draw_view(np.random.default_rng(seed), EVERYTHING)
        again = ViewParameters.from_json(json.loads(json.dumps(view.to_json())))
        assert again == view
        assert again.key() == view.key()
        for one, other in zip(apply_view(*scene, view), apply_view(*scene, again), strict=True):
            assert (one == other).all()


def test_drawing_is_seeded():
    """Equal seeds draw equal views, different seeds different ones."""
    views = [draw_view(np.random.default_rng(seed), EVERYTHING) for seed in (1, 1, 2)]
    assert views[0] == views[1] != views[2]
    assert views[0].key() == views[1].key() != views[2].key()


def test_every_number_is_in_the_key():
    """Changing any one number of a view changes its key, so no cache serves another view's embedding."""
    changed = {
        "flip_horizontal": True, "flip_vertical": True, "quarter_turns": 1, "crop": (0.1, 0.0, 1.0, 1.0), "angle": 1.0,
        "scale": 1.5, "anchor": (0.1, 0.5), "brightness": 0.1, "contrast": 1.1, "saturation": 1.1, "hue": 3.0,
        "blur": 1.0, "noise": 0.1, "noise_origin": (1, 0), "jpeg": 50,
    }  # fmt: skip
    assert set(changed) == {each.name for each in fields(ViewParameters)}
    keys = {ViewParameters(**{name: value}).key() for name, value in changed.items()} | {IDENTITY.key()}
    assert len(keys) == len(changed) + 1


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True), (True, True)])
def test_flips_and_quarter_turns_are_exact(scene, flips, turns):
    """Flips and quarter turns move image, masks and ignored pixels alike and lose no bit."""
    view = ViewParameters(flip_horizontal=flips[0], flip_vertical=flips[1], quarter_turns=turns)
    image, masks, ignore = apply_view(*scene, view)
    turned = image.copy()
    restored = np.rot90(turned, -turns)
    restored = restored[::-1] if flips[1] else restored
    restored = restored[:, ::-1] if flips[0] else restored
    assert (restored == scene[0]).all()
    assert sorted(masks.sum(axis=(1, 2))) == sorted(scene[1].sum(axis=(1, 2)))
    # The mask sees what the image shows: the pixels under it are the same ones.
    for index in (0, 7):
        assert sorted(image[masks[index]].sum(axis=1)) == sorted(scene[0][scene[1][index]].sum(axis=1))
    assert sorted(image[ignore].sum(axis=1)) == sorted(scene[0][scene[2]].sum(axis=1))


def test_crop_is_a_slice(scene):
    """A crop keeps pixels as they are and makes the view smaller."""
    image, masks, ignore = apply_view(*scene, ViewParameters(crop=(0.1, 0.5, 0.9, 1.0)))
    assert (image == scene[0][30:60, 9:81]).all()
    assert (masks == scene[1][:, 30:60, 9:81]).all()
    assert (ignore == scene[2][30:60, 9:81]).all()


@pytest.mark.parametrize("view", [
    ViewParameters(angle=20.0), ViewParameters(scale=0.6), ViewParameters(scale=1.7, anchor=(0.2, 0.9)),
    ViewParameters(angle=-33.0, scale=1.2, quarter_turns=1, flip_horizontal=True, crop=(0.0, 0.1, 0.8, 1.0)),
])  # fmt: skip
def test_masks_follow_the_image(view):
    """After any turn and zoom the mask lies within half a pixel of where the image shows the object."""
    y, x = np.mgrid[:120, :160]
    truth = ((x - 90) / 40) ** 2 + ((y - 50) / 25) ** 2 < 1
    image = np.repeat(np.where(truth, 220, 30).astype(np.uint8)[..., None], 3, axis=2)
    seen, masks, ignore = apply_view(image, truth[None], None, view)
    counted = np.ones(masks.shape[1:], bool) if ignore is None else ~ignore
    shown = seen[..., 0] > 125
    rim = cv2.morphologyEx(masks[0].astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    assert (shown == masks[0])[counted & ~rim].all()
    assert (shown != masks[0])[counted].mean() < 0.01
    # No drift: as many pixels of the rim err on one side as on the other.
    for axis in (0, 1):
        centre = [np.nonzero(each & counted)[axis].mean() for each in (shown, masks[0])]
        assert abs(centre[0] - centre[1]) < 0.25


def test_beyond_the_border_is_ignored(scene):
    """Zooming out shows a reflection, where no object is and nothing counts."""
    image, masks, ignore = scene[0], scene[1], None
    image, masks, ignore = apply_view(image, masks, ignore, ViewParameters(scale=0.5))
    assert ignore.mean() == pytest.approx(0.75, abs=0.03)
    assert not masks[:, ignore].any()
    assert image[ignore].std() > 0
    assert (image[ignore].mean() - scene[0].mean()) < 20


def test_ignored_pixels_stay_ignored(scene):
    """Pixels ignored before a turn are ignored after it."""
    _, _, ignore = apply_view(*scene, ViewParameters(scale=2.0, anchor=(0.5, 0.0)))
    assert ignore[:7].all()
    assert not ignore[9:].any()


def test_zoom_in_hides_nothing(scene):
    """A zoom that stays within the image has no pixel to ignore."""
    assert apply_view(scene[0], scene[1], None, ViewParameters(scale=1.5))[2] is None


def test_colours_leave_masks_alone(scene):
    """Brightness, contrast, saturation, hue, blur, noise and JPEG change the image only."""
    view = ViewParameters(brightness=0.1, contrast=1.2, saturation=0.5, hue=10, blur=5, noise=0.05, jpeg=50)
    image, masks, ignore = apply_view(*scene, view)
    assert (image != scene[0]).any()
    assert (masks == scene[1]).all()
    assert (ignore == scene[2]).all()


def test_brightness_and_contrast_are_what_they_say(scene):
    """Brightness adds its share of white; contrast scales the distances from the mean."""
    brighter = apply_view(scene[0], scene[1], None, ViewParameters(brightness=0.1))[0].astype(int)
    assert np.abs(brighter - scene[0] - 25.5).max() <= 1
    softer = apply_view(scene[0], scene[1], None, ViewParameters(contrast=0.5))[0]
    assert softer.std() == pytest.approx(scene[0].std() / 2, rel=0.05)


def test_saturation_zero_is_grey(scene):
    """Without colourfulness the channels agree, and lightness stays."""
    grey = apply_view(scene[0], scene[1], None, ViewParameters(saturation=0.0))[0].astype(int)
    assert np.ptp(grey, axis=2).max() <= 2
    assert np.abs(grey[..., 0] - scene[0] @ [0.299, 0.587, 0.114]).max() <= 3


def test_jpeg_keeps_red_red():
    """Colours survive the JPEG in their own channels."""
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    image = apply_view(red, np.zeros((0, 32, 32), bool), None, ViewParameters(jpeg=90))[0]
    assert image[..., 0].mean() > 190 > 20 > image[..., 2].mean()


def test_noise_has_its_strength(scene):
    """The noise has the standard deviation asked for."""
    flat = np.full((100, 100, 3), 128, np.uint8)
    noisy = apply_view(flat, np.zeros((0, 100, 100), bool), None, ViewParameters(noise=0.04, noise_origin=(1000, 7)))[0]
    assert noisy.std() == pytest.approx(0.04 * 255, rel=0.1)


def test_no_objects_is_legal():
    """An image without objects can be viewed in any way."""
    image = np.zeros((20, 31, 3), np.uint8)
    view = ViewParameters(angle=10, quarter_turns=1)
    seen, masks, _ = apply_view(image, np.zeros((0, 20, 31), bool), None, view)
    assert masks.shape == (0, *seen.shape[:2]) == (0, 31, 20)


def test_input_is_never_written(scene):
    """The arrays handed in stay as they were."""
    before = [each.copy() for each in scene]
    for seed in range(10):
        apply_view(*scene, draw_view(np.random.default_rng(seed), EVERYTHING))
    assert all((one == other).all() for one, other in zip(before, scene, strict=True))


def test_presets():
    """The preset "none" draws the image itself; "slides" changes geometry, brightness, contrast, nothing else."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert draw_view(rng, AugmentSettings.none()) == IDENTITY
    slides = [draw_view(rng, SLIDES) for _ in range(60)]
    assert {view.flip_vertical for view in slides} == {True, False}
    assert any(view.angle for view in slides)
    assert any(view.brightness for view in slides)
    assert {(view.scale, view.saturation, view.blur, view.jpeg) for view in slides} == {(1, 1, 0, 0)}
    assert set(PRESETS) == {"default", "slides", "none"}


def test_draws_fill_their_ranges():
    """Drawn numbers lie in the ranges set and come as often as set."""
    settings = AugmentSettings(scale=(0.5, 2.0), scale_probability=0.5, rotation=(0, 10), rotation_probability=1)
    views = [draw_view(np.random.default_rng(seed), settings) for seed in range(300)]
    scales = np.array([view.scale for view in views if view.scale != 1])
    assert 0.4 < len(scales) / 300 < 0.6
    assert scales.min() >= 0.5
    assert scales.max() <= 2
    assert 0.35 < (scales < 1).mean() < 0.65
    assert all(0 <= view.angle <= 10 for view in views)


@pytest.mark.parametrize("broken", [
    {"flip_horizontal": 1.5}, {"rotation": (10.0, -10.0)}, {"scale": (0.0, 1.0)}, {"crop": (0.5, 1.2)},
    {"blur": (-1.0, 1.0)}, {"jpeg": (50.0, 101.0)}, {"noise_probability": -0.1},
])  # fmt: skip
def test_impossible_settings_are_refused(broken):
    """A range or probability that cannot be is named, with its value."""
    with pytest.raises(UsageError, match=next(iter(broken))):
        AugmentSettings(**broken)


@pytest.mark.parametrize("seed", range(12))
def test_a_map_is_shown_where_its_mask_is(seed):
    """Whatever a view draws: above 1/2 it is the mask's view, bit by bit."""
    rng = np.random.default_rng(seed)
    likely = rng.random((37, 53), dtype=np.float32)
    view = draw_view(rng, replace(EVERYTHING, crop_probability=0.5))
    masks = apply_view(np.zeros((37, 53, 3), np.uint8), (likely > 0.5)[None], None, view)[1]
    np.testing.assert_array_equal(apply_view_to_map(likely, view) > 0.5, masks[0])
