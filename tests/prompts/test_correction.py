"""Correction clicks: on the right side, with the right label, drawn with the right chances."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segtune.core.geometry import Frame, masks_to_frame
from segtune.prompts.correction import cells_to_points, center_of_error, random_error_clicks
from segtune.prompts.objects import distance_inside

SIZE = (60, 80)


def area(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_missed_region_gets_a_positive_click_at_its_centre():
    """Where part of the object is missed, the click is in the middle of the missed part, labelled 1."""
    truth = area(10, 10, 21, 40)
    assert center_of_error(truth, area(10, 10, 21, 19)) == (39.0, 20.0, 1)


def test_added_region_gets_a_negative_click():
    """Where the prediction runs over, the click is in the middle of the excess, labelled 0."""
    assert center_of_error(area(10, 10, 21, 19), area(10, 10, 21, 40)) == (39.0, 20.0, 0)


def test_the_roomiest_error_wins_not_the_largest_area():
    """A long thin error of more pixels yields to a compact one."""
    truth = area(5, 5, 3, 70)
    predicted = area(30, 30, 9, 9)
    assert truth.sum() > predicted.sum()
    assert center_of_error(truth, predicted) == (34.0, 34.0, 0)


def test_a_wide_ring_yields_to_a_compact_error():
    """A thin ring around much of the image holds no distance as large as a small square does."""
    ring = area(2, 2, 56, 60) & ~area(4, 4, 52, 56)
    assert center_of_error(ring, area(20, 70, 7, 7)) == (73.0, 23.0, 0)
    assert center_of_error(area(20, 70, 7, 7), ring) == (73.0, 23.0, 1)


def test_image_border_is_an_outline():
    """An error cut by the image border is clicked inside, not at the border."""
    truth = area(0, 0, 20, 20)
    x, y, label = center_of_error(truth, np.zeros(SIZE, dtype=bool))
    assert {x, y} <= {9.0, 10.0}
    assert label == 1


def test_ties_go_to_the_missed_region():
    """Equal errors on both sides give the positive click, each time."""
    truth, predicted = area(10, 10, 9, 9), area(10, 50, 9, 9)
    assert center_of_error(truth, predicted) == (14.0, 14.0, 1)
    assert center_of_error(predicted, truth) == (54.0, 14.0, 1)


def test_no_error_no_click():
    """A perfect prediction, or one wrong on ignored pixels only, needs no click."""
    truth = area(10, 10, 20, 20)
    assert center_of_error(truth, truth) is None
    assert center_of_error(truth, area(10, 10, 20, 30), ignore=area(0, 30, 60, 50)) is None
    nothing = np.zeros(SIZE, dtype=bool)
    assert center_of_error(nothing, nothing) is None


def test_no_click_on_ignored_pixels():
    """Ignored pixels split an error; the click lies beside them."""
    ignore = area(0, 28, 60, 4)
    x, y, _ = center_of_error(area(10, 10, 20, 40), np.zeros(SIZE, dtype=bool), ignore)
    assert not ignore[int(y), int(x)]


@pytest.mark.parametrize("seed", range(10))
def test_click_is_on_an_error_with_its_label(seed):
    """On any pair of masks the clicked pixel is wrong, and its label is what the truth says there."""
    rng = np.random.default_rng(seed)
    truth, predicted = (np.kron(rng.random((10, 10)) > 0.5, np.ones((5, 6), dtype=bool)) for _ in range(2))
    ignore = rng.random(truth.shape) > 0.95
    x, y, label = center_of_error(truth, predicted, ignore)
    pixel = int(y), int(x)
    assert truth[pixel] != predicted[pixel]
    assert truth[pixel] == label
    assert not ignore[pixel]


def test_masks_stay():
    """Finding the click changes none of the masks."""
    truth, predicted, ignore = area(1, 1, 9, 9), area(5, 5, 9, 9), area(0, 0, 3, 3)
    center_of_error(truth, predicted, ignore)
    assert truth.sum() == 81
    assert predicted.sum() == 81
    assert ignore.sum() == 9


def random_case(count: int = 40, h: int = 7, w: int = 9) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth, predicted, valid = (torch.rand(count, h, w, generator=generator) > share for share in (0.7, 0.7, 0.2))
    return [truth, predicted, valid, torch.rand(count, 3, generator=generator)]


@pytest.mark.parametrize("truth_share", [0.0, 0.5, 1.0])
def test_random_clicks_equal_counting_by_hand(truth_share):
    """The click is the floor(u × count)-th cell of the error, or of the truth, in reading order."""
    truth, predicted, valid, uniforms = random_case()
    cells, labels = random_error_clicks(truth, predicted, valid, uniforms, truth_share=truth_share)
    assert labels.dtype == torch.int64
    for i in range(len(truth)):
        from_truth = uniforms[i, 1] < truth_share
        pool = (truth[i] & valid[i]) if from_truth else ((truth[i] ^ predicted[i]) & valid[i])
        chosen = pool.nonzero()[int(uniforms[i, 2 if from_truth else 0] * pool.sum())]
        assert cells[i].tolist() == [chosen[1] + 0.5, chosen[0] + 0.5]
        assert labels[i] == truth[i, chosen[0], chosen[1]]


def test_random_clicks_are_uniform_over_the_error():
    """Over many draws wrong cells are clicked about equally often; a tenth of the clicks are drawn from the truth."""
    truth = torch.zeros(1, 6, 6, dtype=torch.bool)
    truth[0, 1:3, 1:5] = True
    predicted = torch.zeros_like(truth)
    predicted[0, 1:5, 1:3] = True
    count = 20_000
    uniforms = torch.rand(count, 3, generator=torch.Generator().manual_seed(2))
    many = [mask.expand(count, 6, 6) for mask in (truth, predicted, torch.ones_like(truth))]
    cells, labels = random_error_clicks(*many, uniforms)
    hits = torch.zeros(6, 6)
    hits.index_put_((cells[:, 1].long(), cells[:, 0].long()), torch.ones(count), accumulate=True)
    right = truth & predicted
    # 4 missed and 4 added cells share 90 %; 8 cells of the truth share 10 %.
    assert hits[right[0]].sum() / count == pytest.approx(0.05, abs=0.006)
    assert hits[(predicted & ~truth)[0]].sum() / count == pytest.approx(0.45, abs=0.015)
    assert ((labels == 0).sum() / count).item() == pytest.approx(0.45, abs=0.015)
    assert (hits[~(truth | predicted)[0]] == 0).all()


def test_random_clicks_without_error_are_filler():
    """A perfect object gets the filler label, whatever was drawn, and the others in the batch their clicks."""
    truth, predicted, valid, uniforms = random_case()
    predicted[::2] = truth[::2]
    valid[1] = False
    uniforms[4, 1] = 0.0
    _, labels = random_error_clicks(truth, predicted, valid, uniforms)
    assert (labels[::2] == -10).all()
    assert labels[1] == -10
    assert ((labels[3::2] == 0) | (labels[3::2] == 1)).all()


def test_random_clicks_of_an_empty_truth_are_drawn_from_the_error():
    """With no truth to draw from, the click is a negative one on the false mask."""
    predicted = torch.zeros(1, 5, 5, dtype=torch.bool)
    predicted[0, 2, 3] = True
    cells, labels = random_error_clicks(
        torch.zeros_like(predicted), predicted, torch.ones_like(predicted), torch.tensor([[0.9, 0.0, 0.9]])
    )
    assert cells.tolist() == [[3.5, 2.5]]
    assert labels.tolist() == [0]


def test_random_clicks_at_the_ends_of_the_range():
    """Uniforms of 0 and of all but 1 give the first and the last wrong cell; no object at all gives no click."""
    truth = torch.zeros(2, 4, 4, dtype=torch.bool)
    truth[:, 0, 0] = truth[:, 3, 3] = True
    uniforms = torch.tensor([[0.0, 0.5, 0.5], [1 - 2**-24, 0.5, 0.5]])
    cells, _ = random_error_clicks(truth, torch.zeros_like(truth), torch.ones_like(truth), uniforms)
    assert cells.tolist() == [[0.5, 0.5], [3.5, 3.5]]
    none = torch.zeros(0, 4, 4, dtype=torch.bool)
    cells, labels = random_error_clicks(none, none, none, torch.zeros(0, 3))
    assert cells.shape == (0, 2)
    assert labels.shape == (0,)


@pytest.mark.parametrize("original", [(300, 400), (40, 30), (61, 97)])
def test_cells_come_back_to_the_pixels_they_cover(original):
    """A cell that one pixel's block covers comes back to that block, on wide, tall and odd images."""
    frame = Frame.longest_side(original, 128)
    mask = torch.zeros(1, *original, dtype=torch.bool)
    row, column = original[0] * 2 // 3, original[1] // 3
    block = max(original) // 10
    mask[0, row : row + block, column : column + block] = True
    cover = masks_to_frame(mask, frame, (32, 32))[0]
    y, x = divmod(int(cover.argmax()), 32)
    cells = torch.tensor([[x + 0.5, y + 0.5]])
    [[px, py]] = cells_to_points(cells, torch.tensor([0]), (frame,), (32, 32)).tolist()
    assert mask[0, round(py), round(px)]


def test_cells_of_several_images_stay_within_each():
    """Each prompt uses its own image's frame, and no point leaves its image."""
    frames = (Frame.longest_side((50, 100), 64), Frame.stretched((200, 100), 64))
    cells = torch.tensor([[15.99, 15.99], [8.0, 8.0], [0.0, 0.0]])
    points = cells_to_points(cells, torch.tensor([0, 1, 1]), frames, (16, 16))
    assert points.tolist() == [[99.0, 49.0], [49.5, 99.5], [0.0, 0.0]]


def test_equal_distances_are_equal_in_every_call():
    """Squared distances are whole numbers, so the farthest pixel is the same wherever the array lies in memory."""
    mask = np.zeros((48, 64), dtype=bool)
    mask[2:14, 30:60] = True
    mask[6:9, 20:30] = True
    found = set()
    for pad in range(64):
        held = np.zeros(pad + mask.size, dtype=bool)[pad:].reshape(mask.shape)  # every alignment
        held[:] = mask
        distance = distance_inside(held)
        assert np.array_equal(np.rint(distance**2) ** 0.5, distance.astype(np.float64).astype(np.float32))
        found.add(center_of_error(held, np.zeros_like(held)))
    assert len(found) == 1
