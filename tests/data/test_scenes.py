from __future__ import annotations

import hashlib
import pickle

import cv2
import numpy as np
import pytest

from segtune.core.errors import UsageError
from segtune.core.rle import RunLengths
from segtune.data.canvas import Canvas
from segtune.data.figures import FIGURES, SLOTS
from segtune.data.held_out import HELD_OUT, HELD_OUT_FIGURES, STAND_INS
from segtune.data.layouts import LAYOUTS
from segtune.data.light import Light, draw_camera, relief, through_jpeg
from segtune.data.scenes import MOST_OBJECTS, THEMES, draw_scene
from segtune.data.shapes import SHAPES, Outline, Patch, ellipse, rasterise, turn
from segtune.data.textures import Palette, draw_material, natural_colour
from segtune.data.tiles import TILE, TILES, cut, tile
from segtune.models.sam.sizes import NANO
from segtune.runs.general import open_general
from segtune.runs.settings import EvaluationSettings

SEEDS = range(40)


@pytest.fixture(scope="module")
def drawn():
    return [draw_scene(seed, side=128) for seed in SEEDS]


def patch_of(mask):
    return Patch((slice(0, mask.shape[0]), slice(0, mask.shape[1])), mask.astype(np.float32))


def box(shape, y0, y1, x0, x1):
    mask = np.zeros(shape, bool)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("side", [64, 160])
def test_same_seed_same_bytes(theme, side):
    """Seed, theme and side determine every byte of the image and every mask, whatever was drawn before."""
    first = [draw_scene(seed, side=side, theme=theme) for seed in range(3)]
    draw_scene(99, side=64)
    for seed, one in enumerate(first):
        other = draw_scene(seed, side=side, theme=theme)
        assert (one.image == other.image).all()
        assert one.objects == other.objects
        assert (one.name, one.labels) == (other.name, other.labels)


def test_tiles_made_anew_are_the_same():
    """A tile depends on its name alone, so that every process draws the same scenes."""
    kinds = ("leaves", "cells", "rough")
    first = [tile(kind, 1).copy() for kind in kinds]
    tile.cache_clear()
    assert all((tile(kind, 1) == one).all() for kind, one in zip(kinds, first, strict=True))


def test_themes_and_seeds_never_collide():
    """No two themes and no two seeds draw the same image."""
    images = {draw_scene(seed, side=48, theme=theme).image.tobytes() for theme in THEMES for seed in range(6)}
    assert len(images) == 6 * len(THEMES)


def test_samples_are_legal(drawn):
    """Images are RGB bytes of the size asked for; there are 1 to 40 objects of some dozen pixels, each with a label."""
    for sample in drawn:
        assert max(sample.size) == 128
        assert min(sample.size) >= 0.59 * 128
        assert sample.image.shape == (*sample.size, 3)
        assert sample.image.dtype == np.uint8
        assert 1 <= len(sample.objects) <= MOST_OBJECTS
        assert len(sample.labels) == len(sample.objects)
        assert all(sample.labels)
        for each in sample.objects:
            assert each.size == sample.size
            assert 36 <= each.area <= 0.97 * sample.size[0] * sample.size[1]
            assert each == RunLengths.encode(each.decode())


def test_scenes_are_varied(drawn):
    """There are non-square and square images, grey and colourful ones, few and many objects, wholes with parts."""
    assert len({sample.size for sample in drawn}) > 10
    colourful = [np.ptp(sample.image.astype(int), axis=2).mean() for sample in drawn]
    assert min(colourful) < 2 < 30 < max(colourful)
    counts = [len(sample.objects) for sample in drawn]
    assert min(counts) <= 3
    assert max(counts) >= 25
    assert len({label for sample in drawn for label in sample.labels}) > 25

    def nested(sample):
        masks = sample.masks().reshape(len(sample.objects), -1).astype(np.float32)
        inside = masks @ masks.T / masks.sum(1)  # [whole, part]: share of the part that lies in the whole
        np.fill_diagonal(inside, 0)
        return inside.max() == 1

    assert sum(nested(sample) for sample in drawn) > 10


def test_sample_can_travel_and_stays_clean(drawn):
    """A sample survives pickling, and writing into its image does not change the sample."""
    sample = pickle.loads(pickle.dumps(drawn[0]))
    assert (sample.image == drawn[0].image).all()
    sample.image[:] = 0
    assert (sample.image == drawn[0].image).all()


def test_borders_show_in_the_image(drawn):
    """Along most objects' borders the image changes more than elsewhere: masks lie where things are seen."""
    stronger = []
    for sample in drawn:
        grey = cv2.GaussianBlur(cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 0.7)
        edge = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
        for mask in sample.masks().astype(np.uint8):
            rim = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
            away = cv2.erode(mask, np.ones((7, 7), np.uint8)) > 0
            if away.sum() > 30:
                stronger.append(edge[rim].mean() > edge[away].mean())
    assert np.mean(stronger) > 0.7


@pytest.mark.parametrize(
    ("theme", "told", "brightness"),
    [
        ("general", "0a8dc4e4715f076c", [123.63, 119.46, 99.52, 84.74, 140.1, 102.29]),
        ("demo", "1835c8bcdb905ee5", [86.69, 94.34, 64.05, 73.03, 99.18, 80.88]),
    ],
)
def test_a_seed_draws_what_it_always_drew(theme, told, brightness):
    """A base was trained on these scenes and is measured on more of them: what else is drawn leaves them alone."""
    samples = [draw_scene(seed, side=96, theme=theme) for seed in range(24)]
    # Sizes and labels follow from the draws alone, colours to within what another machine rounds.
    drawn = repr([(sample.size, sample.labels) for sample in samples]).encode()
    assert hashlib.sha256(drawn).hexdigest()[:16] == told
    assert [sample.image.mean() for sample in samples[:6]] == pytest.approx(brightness, abs=0.1)


def test_suite_has_kinds_of_its_own():
    """Kinds held out for the suite appear there and never in the general theme."""
    suite = {label for seed in range(40) for label in draw_scene(seed, side=64, theme="suite").labels}
    general = {label for seed in range(40) for label in draw_scene(seed, side=64).labels}
    assert {*HELD_OUT, *HELD_OUT_FIGURES} <= suite
    assert not {*HELD_OUT, *HELD_OUT_FIGURES} & general
    assert suite <= {*HELD_OUT, *HELD_OUT_FIGURES}


@pytest.mark.parametrize("part", ["reported", "choice"])
def test_what_the_suite_asks_about_no_pretraining_draws(part):
    """Of the objects of the images that forgetting is measured on, and of those that a blend is chosen by."""
    settings = EvaluationSettings()
    images = getattr(open_general(settings.general, settings.general_images, NANO.side), part)
    labels = [label for row in range(len(images)) for label in images[row].labels]
    assert set(labels) <= {*HELD_OUT, *HELD_OUT_FIGURES}
    assert len(set(labels)) > 10


def test_each_kind_has_its_stand_ins():
    """Whatever outline a layout names, the suite has others for it, and each of its own stands for some."""
    assert set(STAND_INS) == set(SHAPES)
    assert {kind for kinds in STAND_INS.values() for kind in kinds} == set(HELD_OUT)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_draws(layout, monkeypatch):
    """Each kind of scene draws at small and larger sides and gives objects."""
    # In place of the table: entries deleted from it come back at its end, and their order decides what a seed draws.
    monkeypatch.setattr("segtune.data.scenes.LAYOUTS", {layout: LAYOUTS[layout]})
    for seed in range(4):
        assert draw_scene(seed, side=96).objects
    assert draw_scene(0, side=320).objects


@pytest.mark.parametrize(("seed", "side", "theme"), [(-1, 64, "general"), (0, 16, "general"), (0, 64, "genral")])
def test_impossible_scene_is_refused(seed, side, theme):
    """A negative seed, a tiny side and an unknown theme are named; the theme with the nearest one."""
    with pytest.raises(UsageError, match="general" if theme == "genral" else f"not {seed} and {side}"):
        draw_scene(seed, side=side, theme=theme)


def test_later_things_hide_earlier_ones():
    """Masks hold visible pixels only, and what little is left of a hidden thing is no object."""
    canvas = Canvas((40, 60), 60)
    behind, hidden, front = (canvas.add(name) for name in ("behind", "hidden", "front"))
    for thing, mask in (
        (behind, box((40, 60), 5, 35, 5, 45)),
        (hidden, box((40, 60), 11, 31, 21, 51)),
        (front, box((40, 60), 10, 32, 20, 52)),
    ):
        canvas.lay(patch_of(mask), np.full((3, 1, 1), thing / 3, np.float32), thing)
    objects, labels = canvas.masks(np.random.default_rng(0), 10)
    assert labels == ("behind", "front")
    assert (objects[0].decode() == box((40, 60), 5, 35, 5, 45) & ~box((40, 60), 10, 32, 20, 52)).all()
    assert (objects[1].decode() == box((40, 60), 10, 32, 20, 52)).all()
    assert canvas.image[0][objects[1].decode()] == pytest.approx(1)


def test_wholes_include_their_parts():
    """The mask of a whole holds its parts and their parts; a part that is nearly the whole is not listed twice."""
    canvas = Canvas((50, 50), 50)
    whole = canvas.add("whole")
    body = canvas.add("body", whole)
    eye = canvas.add("eye", body)
    tail = canvas.add("tail", whole)
    canvas.claim(patch_of(box((50, 50), 10, 40, 10, 30)), body)
    canvas.claim(patch_of(box((50, 50), 15, 22, 15, 22)), eye)
    canvas.claim(patch_of(box((50, 50), 20, 30, 30, 48)), tail)
    objects, labels = canvas.masks(np.random.default_rng(0), 10)
    masks = dict(zip(labels, (each.decode() for each in objects), strict=True))
    assert set(masks) == {"whole", "body", "eye", "tail"}
    assert (masks["whole"] == masks["body"] | masks["tail"]).all()
    assert (masks["body"] & masks["eye"] == masks["eye"]).all()
    alone = Canvas((50, 50), 50)
    whole = alone.add("whole")
    alone.claim(patch_of(box((50, 50), 10, 40, 10, 30)), alone.add("body", whole))
    assert alone.masks(np.random.default_rng(0), 10)[1] == ("whole",)


def test_a_full_tree_keeps_masks_right():
    """When no number is left, a part is counted to its whole instead of to something else."""
    canvas = Canvas((20, 20), 20)
    whole = canvas.add("whole")
    while canvas.add("more") != 0:
        pass
    part = canvas.add("part", whole)
    assert part == whole
    canvas.claim(patch_of(box((20, 20), 2, 18, 2, 18)), part)
    objects, labels = canvas.masks(np.random.default_rng(0), 10)
    assert labels == ("whole",)
    assert objects[0].area == 256


@pytest.mark.parametrize("columns", [(0, 50), (0, 7), (43, 50), (20, 27)])
def test_masks_are_encoded_from_their_own_columns(columns):
    """The fast encoding of a few columns equals the encoding of the whole mask, at the image's sides too."""
    canvas = Canvas((30, 50), 50)
    mask = box((30, 50), 0, 30, *columns)
    canvas.claim(patch_of(mask), canvas.add("thing"))
    canvas.claim(patch_of(box((30, 50), 25, 30, 0, 50)), canvas.add("floor"))
    objects, _ = canvas.masks(np.random.default_rng(0), 10)
    mask[25:] = False
    assert objects[0] == RunLengths.encode(mask)


@pytest.mark.parametrize("name", [*SHAPES, *HELD_OUT])
def test_outlines_are_finite_and_near_unit(name):
    """Every kind of outline is finite, about the unit's size, and covers pixels."""
    drawer = {**SHAPES, **HELD_OUT}[name]
    for seed in range(20):
        outline = drawer(np.random.default_rng(seed))
        corners = np.concatenate(outline.contours)
        assert np.isfinite(corners).all()
        assert 0.3 < np.abs(corners).max() < 2.6
        patch = rasterise(outline.moved(turn(0.3, 30), (64, 64)), (128, 128))
        assert patch is not None
        assert 0 <= patch.cover.min() < 0.5 < patch.cover.max() <= 1


@pytest.mark.parametrize("name", [*FIGURES, *HELD_OUT_FIGURES])
def test_figures_have_parts_within_their_materials(name):
    """Every composite thing has parts, and names only materials it gets."""

    def walk(parts):
        for part in parts:
            yield part
            yield from walk(part.parts)

    for seed in range(20):
        figure = {**FIGURES, **HELD_OUT_FIGURES}[name](np.random.default_rng(seed))
        parts = list(walk(figure))
        assert parts
        assert all(0 <= part.slot < SLOTS for part in parts)
        assert all(np.isfinite(contour).all() for part in parts for contour in part.outline.contours)


def test_rasterise_is_exact():
    """A disc covers its area, its centre stays where it was put, and a hole stays open."""
    disc = ellipse(np.random.default_rng(0), aspect=1.0)
    patch = rasterise(disc.moved(turn(0, 20), (30.5, 41.0)), (100, 100))
    assert patch.cover.sum() == pytest.approx(np.pi * 400, rel=0.08)
    y, x = np.mgrid[patch.window]
    weight = patch.cover / patch.cover.sum()
    assert ((weight * x).sum(), (weight * y).sum()) == pytest.approx((30.5, 41.0), abs=0.2)
    ring = Outline((disc.contours[0], disc.contours[0] * 0.5)).moved(turn(0, 20), (50, 50))
    open_ring = rasterise(ring, (100, 100))
    assert open_ring.cover[50 - open_ring.window[0].start, 50 - open_ring.window[1].start] == 0
    assert rasterise(disc.moved(turn(0, 5), (-50, 50)), (100, 100)) is None


@pytest.mark.parametrize("kind", TILES)
def test_tiles_are_normal_and_periodic(kind):
    """A tile has mean 0 and variance 1, and its opposite sides meet."""
    field = tile(kind, 0).astype(np.float32)
    assert field.mean() == pytest.approx(0, abs=0.05)
    assert field.std() == pytest.approx(1, abs=0.05)
    for axis in (0, 1):
        steps = np.abs(np.diff(field, axis=axis, append=np.take(field, [0], axis=axis)))
        across = np.take(steps, -1, axis=axis).mean()
        inside = steps.mean(axis=1 - axis)
        assert across <= inside.max() * 1.2 + 0.02


def test_cuts_wrap_and_keep_their_size():
    """A cut has the shape asked for at any zoom, and going once around the tile changes nothing."""
    for zoom in (0.1, 0.4, 1.0, 2.7):
        assert cut("rough", 0, (900, 1000), (33, 47), zoom).shape == (33, 47)
    assert (cut("rough", 1, (3, 5), (20, 20), 1.0) == cut("rough", 3, (3 + TILE, 5 - TILE), (20, 20), 1.0)).all()


def test_materials_are_continuous():
    """Two windows of one material agree where they overlap, so that parts of one thing match."""
    rng = np.random.default_rng(3)
    material = draw_material(rng, Palette(natural_colour(rng, 1.0, (0.2, 0.8)), 0.2, 1.0, (0.1, 0.9)))
    large = material.paint((slice(0, 80), slice(0, 90)), 100)
    small = material.paint((slice(0, 80), slice(0, 60)), 100)
    assert np.abs(large[:, :, :60] - small).mean() < 0.25 * max(float(large.std()), 0.02)


def test_relief_is_lit_from_the_lamp():
    """The side of a bulge that faces the lamp is brighter than the other, and its highlight lies towards the lamp."""
    disc = rasterise(ellipse(np.random.default_rng(0), aspect=1.0).moved(turn(0, 25), (30, 30)), (60, 60))
    shade, highlight = relief(disc, Light(angle=np.pi, height=0.6), rounding=1.0)
    inside = disc.cover > 0.9
    left = np.arange(shade.shape[1])[None] < shade.shape[1] / 2
    assert shade[inside & left].mean() > shade[inside & ~left].mean() + 0.2
    assert (highlight * inside)[:, : shade.shape[1] // 2].sum() > (highlight * inside)[:, shade.shape[1] // 2 :].sum()


def test_camera_keeps_the_canvas_size_and_its_word():
    """A photo has the canvas's size; a camera that loses all colour gives grey."""
    canvas = Canvas((40, 60), 60)
    canvas.image += np.random.default_rng(0).random((3, 40, 60), dtype=np.float32)
    cameras = [draw_camera(np.random.default_rng(seed), 60) for seed in range(40)]
    photos = [camera.take(canvas, np.random.default_rng(1)) for camera in cameras]
    assert {photo.shape for photo in photos} == {(40, 60, 3)}
    grey = [
        np.ptp(photo.astype(int), axis=2).max() <= 8
        for photo, camera in zip(photos, cameras, strict=True)
        if camera.grey == 1
    ]
    assert grey
    assert all(grey)


def test_jpeg_keeps_channels_apart():
    """Red stays red through the file."""
    red = np.zeros((24, 24, 3), np.uint8)
    red[..., 0] = 200
    assert through_jpeg(red, 90)[..., 0].mean() > 190
    assert through_jpeg(red, 90)[..., 2].mean() < 15
