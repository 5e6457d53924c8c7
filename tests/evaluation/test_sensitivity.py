"""How far masks follow the prompt: models that do, models that do not, and images on which it cannot be asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from segtune.core.rle import RunLengths
from segtune.core.types import MaskPrediction
from segtune.evaluation.matrix import evaluate
from segtune.evaluation.sensitivity import measure_sensitivity, sensitivity_of
from segtune.segment.encoding import encode_image

SIZE = (96, 128)


def disc(x, y, radius=12):
    """Return a disc as bool [H, W]."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.hypot(rows - y, columns - x) <= radius


@pytest.fixture
def picture(sample):
    """Return a function that makes a sample of some masks, all black."""

    def make(number, *masks, ignore=None):
        image = np.zeros((*SIZE, 3), np.uint8)
        return replace(
            sample(number, objects=0), size=SIZE, objects=tuple(RunLengths.encode(mask) for mask in masks),
            labels=("object",) * len(masks), read=lambda: image,
            ignore=None if ignore is None else RunLengths.encode(ignore),
        )  # fmt: skip

    return make


@pytest.fixture
def stubborn(blobs):
    """A model that answers every prompt with one and the same disc."""
    model = blobs()
    y, x = torch.meshgrid(torch.arange(32) * 4 + 1.5, torch.arange(32) * 4 + 1.5, indexing="ij")

    def decode(embedding, prompts, multimask):
        logits = (14 - torch.hypot(x - 40, y - 40)).expand(len(prompts), 1, 32, 32)
        return MaskPrediction(logits, torch.full((len(prompts), 1), 0.5), prompts.image_index, embedding.frames)

    model.decode = decode
    return model


def test_a_model_that_goes_where_it_is_asked_has_one(blobs, dataset, picture):
    """Two discs far apart: the answer to the other's click shares nothing with this one."""
    data = dataset(*(picture(n, disc(30, 30 + n), disc(90, 60)) for n in range(4)))
    for one in measure_sensitivity({"m": blobs()}, data):
        assert (one.value, one.other, one.alike) == (1, 0, 0)
        assert one.own > 0.2
        assert (one.images, one.objects, one.swapped) == (4, 8, 8)
        assert one.low == one.high == 1
    assert {one.mode for one in measure_sensitivity({"m": blobs()}, data)} == {"click", "box"}


def test_a_model_that_answers_always_the_same_has_none(stubborn, dataset, picture):
    """A single object: asked on the background it still gives the object."""
    data = dataset(*(picture(n, disc(40, 40, 12 + n)) for n in range(3)))
    for one in measure_sensitivity({"m": stubborn}, data):
        assert (one.value, one.alike) == (0, 1)
        assert one.own == one.other > 0.5
        assert one.swapped == 0


def test_swapped_prompts_count_only_what_the_object_shares(stubborn, dataset, picture):
    """Of two objects the stubborn model hits one: half of the answers are right under both prompts."""
    (click, _) = measure_sensitivity({"m": stubborn}, dataset(picture(0, disc(40, 40), disc(100, 70))))
    assert click.own == pytest.approx(click.other)
    assert (click.value, click.low, click.high) == (0, None, None)


def test_objects_that_overlap_are_not_swapped(blobs, dataset, picture):
    """A part and its whole rightly share pixels, so each is asked about on the background instead."""
    (click, _) = measure_sensitivity({"m": blobs()}, dataset(picture(0, disc(40, 40, 30), disc(40, 40, 8))))
    assert (click.objects, click.swapped) == (2, 0)


def test_where_there_is_no_room_nothing_is_asked(blobs, dataset, picture):
    """Without objects, or with one that fills all that counts, an image takes no part."""
    ignore = ~disc(40, 40, 20)
    full = picture(0, np.ones(SIZE, bool)), picture(1), picture(2, disc(40, 40, 25), ignore=ignore)
    assert measure_sensitivity({"m": blobs()}, dataset(*full)) == ()
    (click, _) = measure_sensitivity({"m": blobs()}, dataset(*full, picture(3, disc(40, 40))))
    assert (click.images, click.objects) == (1, 1)


def test_a_model_that_finds_nothing_has_no_figure(stubborn, dataset, picture):
    """Nothing can be said of answers that share nothing with what was asked for."""
    (click, _) = measure_sensitivity({"m": stubborn}, dataset(*(picture(n, disc(110, 80)) for n in range(2))))
    assert (click.value, click.low, click.own) == (None, None, 0)


def test_a_model_of_clicks_alone_has_no_figure_for_boxes(points_only, dataset, picture):
    """It is asked only what it understands."""
    found = measure_sensitivity({"m": points_only()}, dataset(picture(0, disc(40, 40))))
    assert [one.mode for one in found] == ["click"]


def test_own_answers_are_those_of_the_matrix(blobs, dataset, sample):
    """Under its own prompt every object scores as it does there."""
    data = dataset(*(sample(n, objects=2) for n in range(4)))
    matrix = evaluate({"m": blobs()}, data, modes=["click", "box"]).results()
    for one in measure_sensitivity({"m": blobs()}, data):
        assert one.own == pytest.approx(matrix.row("m", one.mode).mean)


def test_images_are_drawn_and_cached_embeddings_found(blobs, dataset, picture):
    """Some of many images are asked about, each with the embedding of its own place, or about none."""
    data = dataset(*(picture(n, disc(30 + n, 40)) for n in range(9)))
    asked = []

    def embed(model, sample, index):
        asked.append((sample.name, index))
        return encode_image(model, sample.image)

    (click, _) = measure_sensitivity({"m": blobs()}, data, images=4, embed=embed)
    assert click.images == len(asked) == 4
    assert all(data.names[index] == name for name, index in asked)
    assert measure_sensitivity({"m": blobs()}, data, images=4) == measure_sensitivity({"m": blobs()}, data, images=4)
    assert measure_sensitivity({"m": blobs()}, data, images=0) == ()


def test_the_figure_is_held_to_its_ends():
    """An answer to another prompt that hits better is no sensitivity below zero."""
    means = np.array([[0.5, 0.8, 0.3], [0.8, 0.2, 0.1], [0.0, 0.0, 1.0], [0.6, 0.0, 0.0]])
    assert sensitivity_of(means) == pytest.approx([0, 0.75, 0, 1])
