"""Pictures of predictions."""

from __future__ import annotations

import numpy as np
import pytest

from segtune.core.rle import RunLengths
from segtune.prompts.objects import ObjectPrompt
from segtune.report.collage import SIDE, SUBJECT, TRUTH, Answer, Collage, compose, draw_panels


def _square(height, width, y, x, side):
    mask = np.zeros((height, width), bool)
    mask[y : y + side, x : x + side] = True
    return RunLengths.encode(mask)


def _collage(height=200, width=300, side=120, prompts=(), grey=90):
    image = np.full((height, width, 3), grey, np.uint8)
    truth = _square(height, width, 30, 60, side)
    answers = [
        Answer("pretrained", [_square(height, width, 30, 60, side // 2)], [0.25], prompts),
        Answer("tuned", [truth], [1.0], prompts),
    ]
    return Collage(image, [truth], answers)


@pytest.mark.parametrize("size", [(24, 40), (200, 300), (700, 90), (1500, 2200)])
def test_panels_are_of_one_legible_size(size):
    """Small images are enlarged, large ones reduced, tall ones kept in proportion."""
    height, width = size
    image = np.zeros((height, width, 3), np.uint8)
    truth = _square(height, width, 2, 2, min(size) - 6)
    panels = draw_panels(Collage(image, [truth], [Answer("tuned", [truth], [1.0])]))
    shapes = {panel.pixels.shape for panel in panels}
    assert len(shapes) == 1
    assert max(shapes.pop()) == SIDE


def test_panels_say_what_they_are():
    """Image and truth come first, then each answer with the mean IoU of its objects."""
    panels = draw_panels(_collage())
    assert [(panel.kind, panel.iou) for panel in panels] == [
        ("image", None), ("truth", None), ("pretrained", 0.25), ("tuned", 1.0),
    ]  # fmt: skip


def test_masks_are_tinted_and_the_image_is_not():
    """The first panel is the image as it is; inside the others the mask shows through in its own colour."""
    image, truth, pretrained, tuned = (panel.pixels for panel in draw_panels(_collage()))
    inside = round(100 * SIDE / 300), round(130 * SIDE / 300)
    assert (image == 90).all()
    assert truth[inside].tolist() == [int(0.62 * 90 + 0.38 * value) for value in TRUTH]
    assert tuned[inside].tolist() == [int(0.62 * 90 + 0.38 * value) for value in SUBJECT]
    assert (pretrained[inside] == 90).all()
    assert (tuned[5, 5] == 90).all()


def test_prompts_are_drawn_where_they_are():
    """A click on the object is green in the middle of its pixel, one outside red; filler is not drawn."""
    points = np.array([[120.0, 90.0], [250.0, 20.0], [10.0, 180.0]], np.float32)
    prompt = ObjectPrompt(points, np.array([1, 0, -10]), np.array([60, 30, 180, 150], np.float32))
    pixels = draw_panels(_collage(prompts=[prompt]))[3].pixels
    scale = SIDE / 300

    def around(x, y):
        column, row = round((x + 0.5) * scale), round((y + 0.5) * scale)
        # Beside the sign's strokes, inside the disc.
        return pixels[row - 4, column - 4].astype(int)

    green, red, filler = around(120, 90), around(250, 20), around(10, 180)
    assert green[1] > green[0] + 60
    assert red[0] > red[1] + 100
    assert (filler == 90).all()
    edge = pixels[round(90 * scale), round(60 * scale)].astype(int)
    assert edge[0] > 200
    assert edge[2] < 120


def test_small_objects_are_looked_at_closely():
    """An object of a hundredth of the image is enlarged, and the first panel shows from where."""
    height, width = 1000, 1400
    image = np.full((height, width, 3), 90, np.uint8)
    truth = _square(height, width, 500, 700, 60)
    first, second, _ = draw_panels(Collage(image, [truth], [Answer("tuned", [truth], [1.0])]))
    assert (first.pixels == 255).all(axis=-1).any()
    assert (second.pixels != 90).any(axis=-1).mean() > 0.1


def test_an_answer_without_a_mask_is_drawn_empty():
    """A model that answers nothing shows the image and the truth's outline."""
    collage = _collage()
    empty = Answer("tuned", [RunLengths.encode(np.zeros((200, 300), bool))], [0.0])
    panels = draw_panels(Collage(collage.image, collage.truth, [empty]))
    assert (panels[2].pixels == 255).all(axis=-1).any()


def test_an_image_without_objects_is_drawn():
    """Nothing to look at closely, and no IoU."""
    image = np.zeros((50, 60, 3), np.uint8)
    panels = draw_panels(Collage(image, [], [Answer("tuned", [], [])]))
    assert panels[2].iou is None


def test_ignored_pixels_are_hatched():
    """What does not count is marked in every panel but the first."""
    collage = _collage()
    ignored = _square(200, 300, 0, 200, 80)
    panels = draw_panels(Collage(collage.image, collage.truth, collage.answers, ignored))
    assert (panels[0].pixels == 90).all()
    assert (panels[1].pixels == 200).all(axis=-1).any()


def test_the_source_is_not_drawn_on():
    """Drawing leaves the caller's image as it was."""
    collage = _collage()
    draw_panels(collage)
    assert (collage.image == 90).all()


def test_composed_panels_stand_side_by_side():
    """One sheet holds all panels with a line of titles above."""
    panels = draw_panels(_collage())
    sheet = compose(panels)
    height, width = panels[0].pixels.shape[:2]
    assert sheet.shape[0] > height
    assert sheet.shape[1] >= 4 * width
    assert (sheet[-height:, :width] == panels[0].pixels).all()
    assert (sheet[: sheet.shape[0] - height] < 60).any()
