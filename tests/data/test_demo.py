from __future__ import annotations

import cv2
import numpy as np
import pytest

from segtune.core.errors import UsageError
from segtune.data.demo import draw_lumps, write_demo


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def test_same_seed_same_files(tmp_path):
    """The demo's files depend on its seed alone, and a smaller demo is the beginning of a larger one."""
    write_demo(tmp_path / "a", count=3, seed=1)
    write_demo(tmp_path / "b", count=2, seed=1)
    write_demo(tmp_path / "c", count=2, seed=2)
    one, two, other = (files(tmp_path / name) for name in "abc")
    assert sorted(one) == [
        f"{kind}/lump_{i:04d}.{end}" for kind, end in (("images", "jpg"), ("masks", "png")) for i in range(3)
    ]
    assert two.items() <= one.items()
    assert two.keys() == other.keys()
    assert not two.items() & other.items()


def test_masks_fit_their_images(tmp_path):
    """Every image has a grey mask of its own size, and no temporary file stays behind."""
    write_demo(tmp_path, count=4, seed=0)
    assert len(list(tmp_path.rglob("*.*"))) == 8
    for path in (tmp_path / "images").iterdir():
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        mask = cv2.imread(str(tmp_path / "masks" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        assert mask.ndim == 2
        assert image.shape == (*mask.shape, 3)


def test_masks_are_partly_soft():
    """Some masks have wide grey edges, others only the grey of an anti-aliased line; some images hold two lumps."""
    drawn = [draw_lumps(seed, side=160) for seed in range(30)]
    grey = [
        float(((lumps.mask > 20) & (lumps.mask < 235)).sum()) / np.sqrt((lumps.mask > 127).sum())
        for lumps in drawn if lumps.covers
    ]  # fmt: skip
    assert min(grey) < 4 < max(grey)
    assert {1, 2} <= {len(lumps.covers) for lumps in drawn}


def test_lumps_are_faint_but_there():
    """A lump is nearly as bright as its surroundings, and the image is not flat."""
    differences = []
    for seed in range(20):
        lumps = draw_lumps(seed, side=160)
        inside = lumps.mask > 127
        if inside.any():
            near = cv2.dilate(inside.astype(np.uint8), np.ones((25, 25), np.uint8)).astype(bool) & ~inside
            differences.append(abs(lumps.image[inside].mean() - lumps.image[near].mean()))
        assert lumps.image.std() > 8
    assert np.median(differences) < 20


def test_lumps_can_be_told_from_the_ground():
    """The skin of a lump is smoother than that of the ground around it: something there can be learned."""
    smoother = []
    for seed in range(24):
        lumps = draw_lumps(seed, side=256)
        inside = cv2.erode((lumps.mask > 200).astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
        grey = cv2.cvtColor(lumps.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        detail = np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 3))
        if inside.sum() > 100:
            smoother.append(detail[inside].mean() < detail[lumps.mask == 0].mean())
    assert np.mean(smoother) > 0.75


def test_impossible_demo_is_refused(tmp_path):
    """A demo of no images is refused with the value that was given."""
    with pytest.raises(UsageError, match="not 0 and 3"):
        write_demo(tmp_path, count=0, seed=3)
