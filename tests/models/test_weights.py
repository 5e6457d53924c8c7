"""Names and sizes of weights in both layouts: nothing missing, nothing left over, nothing guessed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from segtune.core.errors import ModelError
from segtune.models.preparation import Preparation
from segtune.models.sam.build import build_sam
from segtune.models.sam.configuration import config_of_sizes, processor_of, sizes_of_config
from segtune.models.sam.model import Sam
from segtune.models.sam.sizes import MICRO, NANO, VIT_B, VIT_H, VIT_L, SamSizes
from segtune.models.weights import from_transformers, sizes_of_state, to_transformers, transformers_name

ODD = SamSizes(
    36, 4, 3, 80, (1, 3), window=5, side=96, patch=8, prompt_width=64, mask_channels=8, decoder_depth=3,
    decoder_heads=2, decoder_mlp_width=72, decoder_downsample=1, quality_width=40, quality_depth=4,
)  # fmt: skip


def test_names_of_transformers_and_back(sam: Sam) -> None:
    """Every weight has one counterpart of its own, and comes back under its name."""
    state = sam.state_dict()
    theirs = to_transformers(state, sam.sizes)
    assert len(theirs) == len(state)
    back = from_transformers(theirs, sam.sizes, state)
    assert back.keys() == state.keys()
    assert all(back[name] is state[name] for name in state)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("image_encoder.blocks.11.norm2.bias", "vision_encoder.layers.11.layer_norm2.bias"),
        ("image_encoder.blocks.0.attn.rel_pos_h", "vision_encoder.layers.0.attn.rel_pos_h"),
        ("image_encoder.neck.3.weight", "vision_encoder.neck.layer_norm2.weight"),
        ("prompt_encoder.mask_downscaling.6.bias", "prompt_encoder.mask_embed.conv3.bias"),
        ("mask_decoder.output_upscaling.1.weight", "mask_decoder.upscale_layer_norm.weight"),
        (
            "mask_decoder.output_hypernetworks_mlps.2.layers.2.bias",
            "mask_decoder.output_hypernetworks_mlps.2.proj_out.bias",
        ),
        ("mask_decoder.iou_prediction_head.layers.2.bias", "mask_decoder.iou_prediction_head.layers.1.bias"),
        ("mask_decoder.iou_prediction_head.layers.3.bias", "mask_decoder.iou_prediction_head.proj_out.bias"),
    ],
)
def test_some_names(ours: str, theirs: str) -> None:
    """Names as they stand in published files; a deeper quality head shifts only its own."""
    assert transformers_name(ours, ODD) == theirs


def test_a_missing_weight_is_named(sam: Sam) -> None:
    """A checkpoint that lacks a weight loads nothing and says which."""
    theirs = to_transformers(sam.state_dict(), sam.sizes)
    del theirs["mask_decoder.upscale_conv2.bias"]
    with pytest.raises(ModelError, match=r"1 missing \(mask_decoder\.upscale_conv2\.bias\)"):
        from_transformers(theirs, sam.sizes, sam.state_dict())


def test_a_weight_left_over_is_named(sam: Sam) -> None:
    """A weight that belongs to no part of the model is not dropped in silence."""
    theirs = to_transformers(sam.state_dict(), sam.sizes) | {"vision_encoder.layers.0.attn.lora": torch.zeros(1)}
    with pytest.raises(ModelError, match=r"1 left over \(vision_encoder\.layers\.0\.attn\.lora\)"):
        from_transformers(theirs, sam.sizes, sam.state_dict())


def test_the_frequencies_may_be_there_twice(sam: Sam) -> None:
    """Older files of transformers hold the shared position encoding under a second name, or only there."""
    theirs = to_transformers(sam.state_dict(), sam.sizes)
    shared = theirs["shared_image_embedding.positional_embedding"]
    tied = {"prompt_encoder.shared_embedding.positional_embedding": shared}
    assert len(from_transformers(theirs | tied, sam.sizes, sam.state_dict())) == len(theirs)
    del theirs["shared_image_embedding.positional_embedding"]
    assert len(from_transformers(theirs | tied, sam.sizes, sam.state_dict())) == len(theirs) + 1


@pytest.mark.parametrize("sizes", [MICRO, ODD, replace(MICRO, global_blocks=(0, 1, 2), window=8)])
def test_sizes_are_read_from_shapes(sizes: SamSizes) -> None:
    """A state dict alone tells every size."""
    assert sizes_of_state(build_sam(sizes).state_dict()) == sizes


@pytest.mark.parametrize("sizes", [VIT_B, VIT_L, VIT_H, NANO, ODD, replace(VIT_B, decoder_norm_eps=1e-6)])
def test_sizes_survive_config_json(sizes: SamSizes) -> None:
    """What is written into config.json is read from it."""
    assert sizes_of_config(config_of_sizes(sizes)) == sizes


def test_an_empty_config_is_the_published_vit_b() -> None:
    """What config.json leaves out has transformers' default, and those are ViT-B's sizes."""
    assert sizes_of_config({"model_type": "sam"}) == replace(VIT_B, decoder_norm_eps=1e-6)


def test_what_sam_never_is_is_refused() -> None:
    """A config that asks for another activation is no SAM we could compute."""
    with pytest.raises(ModelError, match=r"vision_config\.hidden_act = 'silu'"):
        sizes_of_config({"vision_config": {"hidden_act": "silu"}})


def test_a_checkpoint_of_something_else_says_what_is_missing() -> None:
    """Weights of another network are refused by the first name they lack."""
    with pytest.raises(ModelError, match=r"image_encoder\.pos_embed"):
        sizes_of_state({"conv.weight": torch.zeros(1)})


def test_mean_and_std_survive_preprocessor_config() -> None:
    """Transformers scales to 0 to 1 first, so its mean and std are ours over 255."""
    preparation = Preparation("longest_side", 512, (100.0, 110.0, 120.0), (50.0, 51.0, 52.0))
    processor = processor_of(preparation, 128)
    assert processor["image_mean"] == pytest.approx([100 / 255, 110 / 255, 120 / 255])
    back = Preparation.longest_side(512).with_processor(processor)
    assert back.mean == pytest.approx(preparation.mean)
    assert back.std == pytest.approx(preparation.std)
    assert Preparation.longest_side(512).with_processor({}) == Preparation.longest_side(512)
