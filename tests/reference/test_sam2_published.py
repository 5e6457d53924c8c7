"""SAM 2 through transformers against numbers of the published code, made by `tools/make_sam2_reference.py`."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from segtune.core.errors import ModelError
from segtune.models.decoding import single_mask_itself
from segtune.models.sam2 import LAYOUT, read_original
from segtune.models.sam2_original import owns_original, transformers_state
from segtune.models.transformers_family import TransformersModel
from segtune.models.transformers_files import build, load_state

pytest.importorskip("transformers")
pytestmark = pytest.mark.reference

HERE = Path(__file__).parent
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def tool(checkout: Path) -> ModuleType:
    """The script that made the numbers."""
    sys.path.insert(0, str(checkout / "tools"))
    import make_sam2_reference

    sys.path.pop(0)
    return make_sam2_reference


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return dict(np.load(HERE / "sam2_published_random.npz"))


@pytest.fixture(scope="module")
def published(tool: ModuleType, expected: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The weights under their published names, the video's memory among them."""
    return tool.draw_weights(json.loads(str(expected["shapes"])))


@pytest.fixture(scope="module")
def model(tool: ModuleType, published: dict[str, torch.Tensor]) -> TransformersModel:
    model = build(LAYOUT, tool.CONFIG)
    load_state(LAYOUT, model, transformers_state(published))
    return model


def test_random_weights_give_the_published_numbers(
    tool: ModuleType, model: TransformersModel, expected: dict[str, np.ndarray]
) -> None:
    """Points, boxes, masks and mixes on two non-square images in one ragged decode, stable single masks and others."""
    pixels, frames = model.prepare([tool.draw_image(number) for number in range(len(tool.IMAGE_SIZES))])
    prompts = tool.draw_prompts(model.mask_size[0])
    with torch.no_grad():
        embedding = model.encode(pixels, frames)
        single = model.decode(embedding, prompts, torch.zeros(len(prompts), dtype=torch.bool))
        several = model.decode(embedding, prompts, torch.ones(len(prompts), dtype=torch.bool))
    assert embedding.features[:, ::4].numpy() == pytest.approx(expected["features"], abs=TOLERANCE)
    # The predictor hands its logits out cut at 32.
    logits = torch.cat([single.logits, several.logits], dim=1).clamp(-32, 32).numpy()
    assert logits == pytest.approx(expected["logits"], abs=TOLERANCE)
    quality = torch.cat([single.quality, several.quality], dim=1).numpy()
    assert quality == pytest.approx(expected["quality"], abs=TOLERANCE)


def test_the_numbers_hold_both_answers_of_the_stability_rule(tool: ModuleType, expected: dict[str, np.ndarray]) -> None:
    """Some single masks are the best of the three instead, some are their own."""
    assert 0 < tool.fell_back(expected["logits"]).sum() < len(tool.CASES)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("gradients", [True, False])
def test_the_single_mask_itself_answers_where_it_is_asked_for(
    tool: ModuleType, model: TransformersModel, expected: dict[str, np.ndarray], training: bool, gradients: bool
) -> None:
    """What trains, or is compared mask for mask, is not what the stability rule puts in its place."""
    fell_back = tool.fell_back(expected["logits"])
    pixels, frames = model.prepare([tool.draw_image(number) for number in range(len(tool.IMAGE_SIZES))])
    prompts = tool.draw_prompts(model.mask_size[0])
    with torch.set_grad_enabled(gradients), nullcontext() if training else single_mask_itself(model):
        model.train(training)
        single = model.decode(model.encode(pixels, frames), prompts, torch.zeros(len(prompts), dtype=torch.bool))
        model.eval()
    same = np.abs(single.logits[:, 0].detach().clamp(-32, 32).numpy() - expected["logits"][:, 0]).max(axis=(1, 2))
    assert (same[~fell_back] < TOLERANCE).all()
    assert (same[fell_back] > TOLERANCE).all()


def test_every_published_name_is_known(published: dict[str, torch.Tensor], model: TransformersModel) -> None:
    """A weight missing, left over or of another shape is an error that names it."""
    assert owns_original(published)
    for spoilt, said in (
        ({name: value for name, value in published.items() if name != "no_mem_embed"}, "no_memory_embedding"),
        (published | {"sam_mask_decoder.surprise.weight": torch.zeros(1)}, "surprise"),
        (published | {"sam_mask_decoder.iou_token.weight": torch.zeros(2, 64)}, "iou_token"),
    ):
        with pytest.raises(ModelError, match=said):
            load_state(LAYOUT, model, transformers_state(spoilt))


def test_other_than_published_sizes_are_refused(published: dict[str, torch.Tensor]) -> None:
    """Shapes tell neither windows nor which blocks see the whole image."""
    with pytest.raises(ModelError, match=r"16 channels and 8 blocks.*base\+ \(112 channels, 24 blocks\)"):
        read_original(published, None)
