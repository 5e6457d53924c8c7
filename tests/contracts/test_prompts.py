"""What every prompt simulator keeps, also those registered tomorrow."""

from __future__ import annotations

import json

import numpy as np
import pytest

from segtune.core.errors import UsageError
from segtune.core.geometry import Frame
from segtune.prompts import PROMPTS
from segtune.prompts.collate import collate

SIZE = (48, 64)


@pytest.fixture(params=sorted(PROMPTS))
def simulate(request):
    return PROMPTS[request.param]


def shapes() -> dict[str, np.ndarray]:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    radius = np.hypot(y - 24, x - 30)
    return {
        "disc": radius < 12,
        "ring": (radius < 15) & (radius > 12),
        "line": (y == 20) & (x > 5) & (x < 60),
        "diagonal": y == x,
        "pixel": (y == 47) & (x == 63),
        "corner": (y < 9) & (x < 13),
        "everything": np.ones(SIZE, dtype=bool),
        "two": (radius < 4) | ((y > 40) & (x > 50)),
    }


def same(one, other) -> bool:
    return (
        np.array_equal(one.points, other.points)
        and np.array_equal(one.point_labels, other.point_labels)
        and (one.box is None) == (other.box is None)
        and (one.box is None or np.array_equal(one.box, other.box))
        and (one.mask is None) == (other.mask is None)
        and (one.mask is None or np.array_equal(one.mask, other.mask))
        and one.drawn == other.drawn
    )


@pytest.mark.parametrize("shape", sorted(shapes()))
def test_inside_the_image(simulate, shape):
    """Points lie on pixels of the image, boxes within it and never inverted, masks have its size."""
    for seed in range(20):
        prompt = simulate(shapes()[shape], np.random.default_rng(seed))
        assert ((prompt.points >= 0) & (prompt.points <= [SIZE[1] - 1, SIZE[0] - 1])).all()
        assert len(prompt.points) == len(prompt.point_labels)
        if prompt.box is not None:
            x0, y0, x1, y1 = prompt.box
            assert 0 <= x0 < x1 <= SIZE[1]
            assert 0 <= y0 < y1 <= SIZE[0]
        if prompt.mask is not None:
            assert prompt.mask.shape == SIZE
            assert prompt.mask.dtype == bool


@pytest.mark.parametrize("shape", sorted(shapes()))
def test_positive_clicks_are_on_the_object(simulate, shape):
    """A positive click is on a pixel of the truth, whatever its shape, and never on an ignored one."""
    truth = shapes()[shape]
    ignore = np.zeros(SIZE, dtype=bool)
    ignore[:, 30:36] = True
    for seed in range(20):
        for ignored in (None, ignore):
            prompt = simulate(truth, np.random.default_rng(seed), ignore=ignored)
            for (x, y), label in zip(prompt.points, prompt.point_labels, strict=True):
                assert truth[int(y), int(x)] == (label == 1)
                assert ignored is None or not ignored[int(y), int(x)]


def test_says_something(simulate):
    """A prompt has at least a point, a box or a mask."""
    prompt = simulate(shapes()["disc"], np.random.default_rng(0))
    assert len(prompt.points) or prompt.box is not None or prompt.mask is not None


def test_seeded(simulate):
    """The same seed gives the same prompt, and a prompt that draws differs between seeds."""
    truth = shapes()["disc"]
    prompts = [simulate(truth, np.random.default_rng(seed)) for seed in (5, 5, 6, 7)]
    assert same(prompts[0], prompts[1])
    if prompts[0].drawn:
        assert not (same(prompts[0], prompts[2]) and same(prompts[0], prompts[3]))


def test_drawn_parameters_are_plain_numbers(simulate):
    """What was drawn can be written to JSON as finite numbers."""
    drawn = simulate(shapes()["disc"], np.random.default_rng(1)).drawn
    assert all(isinstance(value, float) for value in drawn.values())
    json.dumps(drawn, allow_nan=False)


@pytest.mark.parametrize("ignored", [False, True])
def test_empty_truth_is_a_click_at_the_image_centre(simulate, ignored):
    """Without an object, or with all of it ignored, the prompt is one click at the centre of the image."""
    truth = shapes()["disc"] & ignored
    ignore = np.ones(SIZE, dtype=bool) if ignored else None
    prompt = simulate(truth, np.random.default_rng(2), ignore=ignore)
    assert prompt.points.tolist() == [[32, 24]]
    assert prompt.point_labels.tolist() == [1]
    assert prompt.box is None
    assert prompt.mask is None


def test_ignored_pixels_are_not_the_object(simulate):
    """With part of the object ignored the prompt is that of the rest."""
    truth = shapes()["disc"]
    ignore = np.zeros(SIZE, dtype=bool)
    ignore[:24] = True
    with_ignore = simulate(truth, np.random.default_rng(3), ignore=ignore)
    assert same(with_ignore, simulate(truth & ~ignore, np.random.default_rng(3)))


def test_inputs_stay(simulate):
    """A simulator changes neither truth nor ignored pixels."""
    truth, ignore = shapes()["disc"], shapes()["corner"]
    simulate(truth, np.random.default_rng(4), ignore=ignore)
    assert np.array_equal(truth, shapes()["disc"])
    assert np.array_equal(ignore, shapes()["corner"])


def test_collates(simulate):
    """Prompts for an object and for none join into one batch of the types a model reads."""
    prompts = [simulate(truth, np.random.default_rng(0)) for truth in (shapes()["disc"], np.zeros(SIZE, dtype=bool))]
    batch = collate(prompts, [0, 0], (Frame.longest_side(SIZE, 128),), (32, 32))
    assert len(batch) == 2
    assert batch.points.shape[0] == batch.boxes.shape[0] == 2


def test_unknown_name_says_the_nearest():
    """A misspelt prompt is a usage error that names the nearest."""
    with pytest.raises(UsageError, match="Did you mean 'loose_box'"):
        PROMPTS["lose_box"]
