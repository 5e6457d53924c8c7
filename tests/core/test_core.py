"""The ground floor: run lengths, frames, files, registries."""

import errno

import numpy as np
import pytest
import torch

from segtune.core.errors import ResourceError, UsageError
from segtune.core.files import replacing, write_json
from segtune.core.geometry import Frame, content_mask, logits_to_image, masks_to_frame
from segtune.core.registry import Registry
from segtune.core.rle import RunLengths


@pytest.mark.parametrize("density", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (64, 96)])
def test_run_lengths_round_trip(size, density):
    """Any mask comes back, with its area and tight box."""
    mask = np.random.default_rng(1).random(size) < density
    runs = RunLengths.encode(mask)
    assert np.array_equal(runs.decode(), mask)
    assert runs.area == mask.sum()
    rows, columns = np.nonzero(mask)
    expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if mask.any() else None
    assert runs.box == expected


def test_box_of_a_mask_that_touches_top_and_bottom():
    """A run that wraps from one column into the next still gives the right box."""
    mask = np.zeros((5, 6), bool)
    mask[2:, 2] = True
    mask[:2, 3] = True
    assert RunLengths.encode(mask).box == (2, 0, 4, 5)


def test_longest_side_frame_rounds_as_published():
    """The shorter side is rounded half up and the scale of each axis follows its own rounding."""
    frame = Frame.longest_side((333, 500), 1024)
    assert frame.resized == (682, 1024)
    assert frame.scale == (1024 / 500, 682 / 333)


@pytest.mark.parametrize("original", [(48, 64), (64, 48), (33, 100), (64, 64)])
def test_a_mask_goes_to_the_frame_and_back_in_place(original):
    """A box drawn in the image lies in the same place after the frame's detour, also on non-square images."""
    frame = Frame.longest_side(original, 128)
    mask = torch.zeros((1, *original))
    mask[:, 10:26, 20:40] = 1
    logits = masks_to_frame(mask, frame, (128, 128)) * 20 - 10
    back = logits_to_image(logits, frame)[0] > 0
    union = (back | (mask[0] > 0)).sum()
    assert (back & (mask[0] > 0)).sum() / union > 0.93
    rows, columns = torch.nonzero(back, as_tuple=True)
    assert abs(rows.float().mean() - 17.5) < 0.3
    assert abs(columns.float().mean() - 29.5) < 0.3


def test_padding_is_neither_covered_nor_content():
    """A full mask covers exactly the image's part of the square."""
    frame = Frame.longest_side((50, 100), 64)
    covered = masks_to_frame(torch.ones((1, 50, 100)), frame, (16, 16))[0]
    inside = content_mask((frame,), (16, 16))[0]
    assert torch.equal(covered > 0.5, inside)
    assert inside.sum() == 8 * 16


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    """Neither a half file nor a temporary one remains."""
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    def fail_halfway():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert path.read_text().startswith("{")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_a_resource_error(tmp_path):
    """The operating system's word becomes ours, with the remedy."""
    with pytest.raises(ResourceError, match="disk is full"), replacing(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_an_unknown_name_lists_choices_and_the_nearest():
    """A typo is answered with what was probably meant."""
    registry = Registry("loss", {"dice": "math:pi", "focal": "math:e"}, group="segtune.nothing")
    with pytest.raises(UsageError, match=r"Did you mean 'dice'\? Known: dice, focal"):
        registry["dise"]
