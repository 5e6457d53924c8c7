"""Our Segment Anything against `transformers.SamModel`, live, on the same random weights, and its files both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segtune.core.types import Prompts
from segtune.models.open import open_model
from segtune.models.sam.build import build_sam
from segtune.models.sam.model import Sam
from segtune.models.sam.sizes import MICRO
from segtune.models.save import save_model

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.reference

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def theirs() -> Any:
    """A small SamModel with random weights in every term, also where the library begins with zeros."""
    vision = {
        "hidden_size": 36, "num_hidden_layers": 4, "num_attention_heads": 3, "image_size": 96, "patch_size": 8,
        "output_channels": 64, "window_size": 5, "global_attn_indexes": [1, 3], "num_pos_feats": 32, "mlp_dim": 80,
        "initializer_range": 0.1,
    }  # fmt: skip
    prompt = {"hidden_size": 64, "image_size": 96, "patch_size": 8, "mask_input_channels": 8}
    decoder = {
        "hidden_size": 64,
        "mlp_dim": 72,
        "num_attention_heads": 4,
        "iou_head_hidden_dim": 40,
        "iou_head_depth": 4,
    }
    config = transformers.SamConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder, initializer_range=0.1
    )
    torch.manual_seed(0)
    model = transformers.SamModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.shared_image_embedding.positional_embedding.normal_()
    return model


@pytest.fixture(scope="module")
def ours(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> Sam:
    """The same network, opened from what transformers saved."""
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    model = open_model(folder)
    assert isinstance(model, Sam)
    return model


def draw_images() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in ((50, 80), (120, 90))]


def prompts_of(points: Any, labels: Any, boxes: Any, masks: Any, several: int) -> Prompts:
    """Bring the nested prompts of transformers, [images, prompts, …], into one flat batch."""
    count = 2 * several
    none = torch.zeros(count, dtype=torch.bool)
    return Prompts(
        image_index=torch.arange(2).repeat_interleave(several),
        points=torch.zeros(count, 0, 2) if points is None else points.flatten(0, 1),
        point_labels=torch.zeros(count, 0, dtype=torch.int64) if labels is None else labels.flatten(0, 1),
        boxes=torch.zeros(count, 4) if boxes is None else boxes.flatten(0, 1),
        has_box=none if boxes is None else ~none,
        has_mask=none if masks is None else ~none,
        mask_logits=None if masks is None else masks.repeat_interleave(several, dim=0)[:, 0],
    )


@pytest.mark.parametrize("kinds", ["points", "boxes", "points boxes", "points masks", "boxes masks"])
@pytest.mark.parametrize("multimask", [True, False])
def test_same_weights_same_masks(theirs: Any, ours: Sam, kinds: str, multimask: bool) -> None:
    """Three prompts on each of two non-square images give transformers' logits and scores."""
    generator = torch.Generator().manual_seed(5)
    extent = torch.tensor([80.0, 50.0])
    points = torch.rand(2, 3, 2, 2, generator=generator) * extent if "points" in kinds else None
    labels = torch.tensor([[[1, 0], [1, 1], [0, 0]]] * 2) if "points" in kinds else None
    corners = torch.rand(2, 3, 2, 2, generator=generator).sort(dim=2).values * extent
    boxes = corners.flatten(2) if "boxes" in kinds else None
    masks = 4 * torch.randn(2, 1, 48, 48, generator=generator) if "masks" in kinds else None
    pixels, frames = ours.prepare(draw_images())
    scale = torch.tensor([frame.scale for frame in frames])[:, None]  # [2, 1, 2]
    with torch.no_grad():
        expected = theirs(
            pixel_values=pixels,
            input_points=None if points is None else points * scale[:, None],
            input_labels=labels,
            input_boxes=None if boxes is None else boxes * scale.repeat(1, 1, 2),
            input_masks=masks,
            multimask_output=multimask,
        )
        prompts = prompts_of(points, labels, boxes, masks, several=3)
        found = ours.decode(ours.encode(pixels, frames), prompts, torch.full((6,), multimask))
    torch.testing.assert_close(found.logits, expected.pred_masks.flatten(0, 1), rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(found.quality, expected.iou_scores.flatten(0, 1), rtol=0, atol=TOLERANCE)


def test_image_encoder_is_theirs(theirs: Any, ours: Sam) -> None:
    """The features of an image are those of transformers' vision encoder."""
    pixels, frames = ours.prepare(draw_images())
    with torch.no_grad():
        torch.testing.assert_close(
            ours.encode(pixels, frames).features, theirs.vision_encoder(pixels)[0], rtol=0, atol=TOLERANCE
        )


@pytest.mark.parametrize("half", [False, True])
def test_transformers_opens_what_we_save(tmp_path: Path, half: bool) -> None:
    """`SamModel.from_pretrained` of a saved folder finds every weight, in fp32, and computes the same."""
    model = build_sam(MICRO, generator=torch.Generator().manual_seed(1))
    save_model(model, tmp_path / "model", half=half)
    model = open_model(tmp_path / "model")
    theirs, report = transformers.SamModel.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert next(theirs.parameters()).dtype == torch.float32
    pixels, frames = model.prepare([np.full((30, 50, 3), 90, np.uint8)])
    points = torch.tensor([[[[20.0, 10.0]]]])
    labels = torch.tensor([[[1]]])
    none = torch.zeros(1, dtype=torch.bool)
    prompts = Prompts(torch.zeros(1, dtype=torch.int64), points[0], labels[0], torch.zeros(1, 4), none, none)
    with torch.no_grad():
        expected = theirs.eval()(
            pixel_values=pixels, input_points=points * torch.tensor(frames[0].scale), input_labels=labels
        )
        found = model.decode(model.encode(pixels, frames), prompts, ~none)
    torch.testing.assert_close(found.logits, expected.pred_masks[0], rtol=0, atol=TOLERANCE)
