"""SAM 2's published checkpoints as files: every size known by its shapes, one opened whole; values are drawn.

Names, shapes and windows are those of the published code, written down by `tools/make_sam2_reference.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segtune.core.errors import ModelError
from segtune.models.open import open_model
from segtune.models.sam2 import read_original

pytest.importorskip("transformers")
pytestmark = pytest.mark.reference

SIZES: dict[str, dict[str, Any]] = json.loads(
    str(np.load(Path(__file__).parent / "sam2_published_sizes.npz")["sizes"])
)  # fmt: skip


def draw_state(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """Draw every weight of a checkpoint; all are windows on one row of numbers, so that its file is small."""
    counts = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    drawn = 0.02 * torch.randn(max(counts.values()) + len(counts), generator=torch.Generator().manual_seed(0))
    return {name: drawn[start : start + counts[name]].view(shape) for start, (name, shape) in enumerate(shapes.items())}


@pytest.mark.parametrize("name", sorted(SIZES))
def test_every_published_size_is_known_by_its_shapes(name: str) -> None:
    """All weights find their places, and each block of Hiera has the published window and heads, which no shape tells.

    On torch's meta device: shapes without numbers.
    """
    with torch.device("meta"):
        model = read_original({key: torch.empty(shape) for key, shape in SIZES[name]["shapes"].items()}, None)
    blocks = model.image_encoder.vision_encoder.backbone.blocks
    assert [[block.window_size, block.attn.num_attention_heads] for block in blocks] == SIZES[name]["blocks"]
    assert model.side == 1024


def test_a_published_file_opens_whole(tmp_path: Path) -> None:
    """SAM 2.1 tiny under "model", as it is published: image part read, video part set aside, SAM 2's preparation."""
    state = draw_state(SIZES["sam2.1_hiera_t"]["shapes"])
    torch.save({"model": state}, tmp_path / "sam2.1_hiera_tiny.pt")
    model = open_model(tmp_path / "sam2.1_hiera_tiny.pt")
    assert (model.family, model.side, model.preparation.kind) == ("sam2", 1024, "stretched_normalized")
    opened = model.state_dict()
    for ours, theirs in (
        ("image_encoder.vision_encoder.backbone.blocks.9.attn.qkv.bias", "image_encoder.trunk.blocks.9.attn.qkv.bias"),
        ("image_encoder.no_memory_embedding", "no_mem_embed"),
        ("image_encoder.conv_s1.weight", "sam_mask_decoder.conv_s1.weight"),
        ("prompt_encoder.not_a_point_embed.weight", "sam_prompt_encoder.not_a_point_embed.weight"),
        ("mask_decoder.iou_prediction_head.proj_out.bias", "sam_mask_decoder.iou_prediction_head.layers.2.bias"),
    ):  # fmt: skip
        assert torch.equal(opened[ours], state[theirs]), ours
    # The numbers of the four tables of points are one table here; all else is one for one.
    video = ("memory_", "mask_downsample.", "obj_ptr_", "maskmem_", "no_mem_pos_enc", "no_obj_")
    image = [value for name, value in state.items() if not name.startswith(video)]
    assert sum(value.numel() for value in opened.values()) == sum(value.numel() for value in image)
    assert len(opened) == len(image) - 3


def test_a_published_file_is_read_strictly(tmp_path: Path) -> None:
    """What a file lacks, and what it has too much, is told."""
    state = draw_state(SIZES["sam2.1_hiera_t"]["shapes"])
    del state["no_mem_embed"]
    torch.save({"model": state | {"sam_mask_decoder.surprise": torch.zeros(1)}}, tmp_path / "spoilt.pt")
    with pytest.raises(
        ModelError, match=r"1 missing \(no_memory_embedding\) and 1 left over \(mask_decoder\.surprise\)"
    ):
        open_model(tmp_path / "spoilt.pt")
