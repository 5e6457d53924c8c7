"""Our automatic masks against those of the published code, made by `tools/make_everything_reference.py`."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from segtune.core.rle import RunLengths
from segtune.models.fingerprint import fingerprint
from segtune.models.open import NANO, open_model
from segtune.segment.everything import EverythingSettings, segment_everything

pytestmark = pytest.mark.reference

HERE = Path(__file__).parent
TOOLS = HERE.parents[1] / "tools"
KEPT = HERE / "everything_published_nano.npz"


def load_tool(monkeypatch):
    """Import the script that made the numbers; it imports its neighbour."""
    monkeypatch.syspath_prepend(str(TOOLS))
    spec = importlib.util.spec_from_file_location("make_everything_reference", TOOLS / "make_everything_reference.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def masks_of(expected, number, size):
    """Return the published masks of a case, bool [H, W] each."""
    lengths, counts = expected[f"{number}.runs"], expected[f"{number}.counts"]
    return [RunLengths(size, one).decode() for one in np.split(counts, np.cumsum(lengths)[:-1])]


@pytest.mark.skipif(not KEPT.is_file(), reason="there are no kept masks yet")
@pytest.mark.skipif(not (NANO / "model.safetensors").is_file(), reason="nano has no weights yet")
@pytest.mark.parametrize("number", range(4))
def test_nano_finds_the_published_masks(number, monkeypatch):
    """As many, in the same order, each the same but for pixels at the outline: one image, crops, clean-up."""
    case = load_tool(monkeypatch).CASES[number]
    model, expected = open_model("nano"), dict(np.load(KEPT))
    assert str(expected["fingerprint"]) == fingerprint(model), (
        "nano has other weights now: python tools/make_everything_reference.py --published FOLDER"
    )
    image = case.image()
    found = segment_everything(model, image, EverythingSettings(**json.loads(str(expected[f"{number}.settings"]))))
    masks = masks_of(expected, number, image.shape[:2])
    assert len(found) == len(masks) >= 10
    for one, mask in zip(found, masks, strict=True):
        ours = one.mask.decode()
        assert (ours & mask).sum() / (ours | mask).sum() >= 0.99
    boxes = np.array([one.box for one in found]) - [0, 0, 1, 1]
    crops = np.array([one.crop_box for one in found])
    for name, ours, tolerance in (
        ("predicted_iou", [one.predicted_iou for one in found], 1e-4),
        ("stability_score", [one.stability_score for one in found], 5e-3),
        ("point_coords", [[one.point] for one in found], 1e-3),
        ("bbox", np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1), 1),
        ("crop_box", np.concatenate([crops[:, :2], crops[:, 2:] - crops[:, :2]], axis=1), 0),
    ):
        np.testing.assert_allclose(ours, expected[f"{number}.{name}"], rtol=0, atol=tolerance, err_msg=name)
