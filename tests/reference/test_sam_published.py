"""Our Segment Anything and MobileSAM against numbers of the published code.

They are made by `tools/make_sam_reference.py` and `tools/make_mobile_sam_reference.py`.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from segtune.core.geometry import logits_to_image
from segtune.models.family import PromptableModel
from segtune.models.fingerprint import fingerprint
from segtune.models.open import NANO, open_model
from segtune.models.sam.build import build_mobile_sam, build_sam
from segtune.models.sam.model import MobileSam, Sam
from segtune.models.sam.sizes import MOBILE

pytestmark = pytest.mark.reference

HERE = Path(__file__).parent
TOLERANCE = 1e-4


def load_tool(name: str) -> ModuleType:
    path = HERE.parents[1] / "tools" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


TOOL = load_tool("make_sam_reference")
MOBILE_TOOL = load_tool("make_mobile_sam_reference")  # it imports the one above, which is there by now


def compare(
    model: PromptableModel, expected: dict[str, np.ndarray], scale: int, step: int, cases: Sequence[Any] = TOOL.CASES
) -> None:
    images = [TOOL.draw_image(number, scale) for number in range(len(TOOL.IMAGE_SIZES))]
    pixels, frames = model.prepare(images)
    prompts = TOOL.draw_prompts(model.mask_size[0], scale, cases)
    with torch.no_grad():
        embedding = model.encode(pixels, frames)
        single = model.decode(embedding, prompts, torch.zeros(len(prompts), dtype=torch.bool))
        several = model.decode(embedding, prompts, torch.ones(len(prompts), dtype=torch.bool))
    logits = torch.cat([single.logits, several.logits], dim=1)
    quality = torch.cat([single.quality, several.quality], dim=1)
    full = logits_to_image(single.logits[0, 0], frames[0])[::scale, ::scale]
    for name, ours in {
        "features": embedding.features[:, ::4, ::step, ::step],
        "logits": logits[..., ::step, ::step],
        "quality": quality,
        "full_size": full,
    }.items():
        np.testing.assert_allclose(ours.numpy(), expected[name], rtol=0, atol=TOLERANCE, err_msg=name)


def test_random_weights_give_the_published_numbers() -> None:
    """Points, boxes, masks and mixes, several prompts on two non-square images, in one ragged decode."""
    model = build_sam(TOOL.RANDOM)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(TOOL.draw_state(shapes, seed=0), strict=True)
    compare(model, dict(np.load(HERE / "sam_published_random.npz")), scale=1, step=1)


@pytest.mark.skipif(not (HERE / "sam_published_nano.npz").is_file(), reason="nano's weights have no kept numbers yet")
@pytest.mark.skipif(not (NANO / "model.safetensors").is_file(), reason="nano has no weights yet")
def test_nano_gives_the_published_numbers() -> None:
    """The trained weights of the built-in base run in the published code to the same masks and scores."""
    model = open_model("nano")
    assert isinstance(model, Sam)
    expected = dict(np.load(HERE / "sam_published_nano.npz"))
    assert str(expected["fingerprint"]) == fingerprint(model), (
        "nano has other weights now: python tools/make_sam_reference.py --published FOLDER --weights nano"
    )
    compare(model, expected, scale=6, step=4)


def test_mobile_sam_gives_the_published_numbers(tmp_path: Path) -> None:
    """A checkpoint in the published layout and at its size, drawn from a seed, opens to the published answers.

    It takes seconds, because the published encoder knows no other input than 1024 pixels.
    """
    names = {name: tuple(value.shape) for name, value in build_mobile_sam(MOBILE).state_dict().items()}
    torch.save(MOBILE_TOOL.draw_mobile_state(names, seed=0), tmp_path / "mobile_sam.pt")
    model = open_model(tmp_path / "mobile_sam.pt")
    assert isinstance(model, MobileSam)
    assert model.sizes == MOBILE
    expected = dict(np.load(MOBILE_TOOL.KEPT))
    compare(model, expected, MOBILE_TOOL.SCALE, MOBILE_TOOL.STEP, MOBILE_TOOL.SOME)
