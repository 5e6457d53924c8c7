"""MobileSAM's checkpoint: sizes from shapes, strict names, and the folder that a run leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segtune.core.errors import ModelError
from segtune.models.open import open_model
from segtune.models.sam.build import build_mobile_sam, build_sam
from segtune.models.sam.mobile_files import original_state, read_original, sizes_of_state
from segtune.models.sam.model import MobileSam
from segtune.models.sam.sizes import MICRO, MOBILE, MOBILE_MICRO, MobileSizes
from segtune.models.save import save_model, save_original

ODD = MobileSizes(
    (6, 8, 20, 12), (3, 1, 2, 4), (2, 5, 3), (2, 5, 4), mlp_ratio=3, expansion=5, kernel=5, classes=7,
    prompt_width=64, mask_channels=8, decoder_depth=1, decoder_heads=2, decoder_mlp_width=24, quality_width=40,
)  # fmt: skip


@pytest.fixture
def mobile() -> MobileSam:
    """The micro size with fresh weights and counters that have counted."""
    model = build_mobile_sam(MOBILE_MICRO, generator=torch.Generator().manual_seed(0))
    for name, buffer in model.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.fill_(312_345)
    return model


@pytest.fixture
def state(mobile: MobileSam) -> dict[str, Tensor]:
    """Its checkpoint."""
    return original_state(mobile)


@pytest.mark.parametrize("sizes", [MOBILE, ODD, replace(MOBILE_MICRO, side=1024)])
def test_shapes_tell_the_sizes(sizes: MobileSizes) -> None:
    """All sizes but the input's side, which is the published one, are those the checkpoint was made with."""
    assert sizes_of_state(build_mobile_sam(sizes).state_dict()) == sizes


def test_names_are_the_published_ones(state: dict[str, Tensor]) -> None:
    """Some names as they stand in mobile_sam.pt, of every kind of layer."""
    assert {
        "image_encoder.patch_embed.seq.2.bn.running_var",
        "image_encoder.layers.0.blocks.0.conv2.bn.num_batches_tracked",
        "image_encoder.layers.0.downsample.conv3.c.weight",
        "image_encoder.layers.2.blocks.0.attn.attention_biases",
        "image_encoder.layers.3.blocks.0.local_conv.c.weight",
        "image_encoder.layers.3.blocks.0.mlp.fc2.bias",
        "image_encoder.norm_head.weight",
        "image_encoder.head.bias",
        "image_encoder.neck.3.bias",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "mask_decoder.iou_prediction_head.layers.2.weight",
    } <= state.keys()
    assert not any(name.endswith("attention_bias_idxs") for name in state)


@pytest.mark.parametrize(
    "name",
    ["image_encoder.layers.1.blocks.1.mlp.norm.bias", "image_encoder.head.bias", "mask_decoder.iou_token.weight"],
)
def test_a_missing_weight_is_named(state: dict[str, Tensor], name: str) -> None:
    """A checkpoint that lacks a weight loads nothing and says which."""
    del state[name]
    with pytest.raises(ModelError, match=rf"1 missing \({name}\)"):
        read_original(state, None)


@pytest.mark.parametrize(
    "name", ["image_encoder.patch_embed.seq.3.c.weight", "image_encoder.neck.4.weight", "teacher.blocks.0.weight"]
)
def test_a_weight_left_over_is_named(state: dict[str, Tensor], name: str) -> None:
    """So does one that holds more than the model."""
    with pytest.raises(ModelError, match=rf"1 left over \({name}\)"):
        read_original(state | {name: torch.zeros(3)}, None)


@pytest.mark.parametrize(
    "name", ["image_encoder.layers.2.blocks.0.attn.attention_biases", "image_encoder.layers.0.blocks.0.conv3.c.weight"]
)
def test_a_checkpoint_whose_sizes_are_untold_is_refused(state: dict[str, Tensor], name: str) -> None:
    """Without a weight by which a size is known nothing can be built."""
    del state[name]
    with pytest.raises(ModelError, match=f"no MobileSAM checkpoint.*{name}"):
        read_original(state, None)


def test_a_weight_of_another_shape_is_named(state: dict[str, Tensor]) -> None:
    """Shapes that contradict each other are told by the weight."""
    state["image_encoder.layers.3.blocks.0.mlp.fc2.weight"] = torch.zeros(24, 24)
    with pytest.raises(ModelError, match=r"layers\.3\.blocks\.0\.mlp\.fc2\.weight' has the shape \(24, 24\)"):
        read_original(state, None)


def test_tables_that_follow_from_the_window_may_be_there(mobile: MobileSam, state: dict[str, Tensor]) -> None:
    """Index tables that are those of the windows change nothing; others are refused rather than ignored."""
    tables = {name: value for name, value in mobile.named_buffers() if name.endswith("attention_bias_idxs")}
    assert tables
    opened = read_original(state | tables, None)
    assert all(torch.equal(value, opened.state_dict()[name]) for name, value in mobile.state_dict().items())
    name = next(iter(tables))
    with pytest.raises(ModelError, match=f"table '{name}' is not the one"):
        read_original(state | tables | {name: tables[name].flip(0)}, None)


def test_a_result_is_a_checkpoint_of_the_published_layout(mobile: MobileSam, tmp_path: Path) -> None:
    """The folder holds mobile_sam.pt, which opens alone as well, and says that transformers cannot open it."""
    save_model(mobile, tmp_path / "model")
    weights = torch.load(tmp_path / "model" / "mobile_sam.pt", weights_only=True)
    assert weights.keys() == mobile.state_dict().keys()
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"mobile_sam.pt", "config.json", "segtune.json"}
    record = json.loads((tmp_path / "model" / "segtune.json").read_text())
    assert record["family"] == "mobile_sam"
    assert "original layout of MobileSAM" in record["layout"]
    alone = open_model(tmp_path / "model" / "mobile_sam.pt")
    assert isinstance(alone, MobileSam)
    assert alone.sizes == replace(mobile.sizes, side=1024)


def test_the_same_weights_give_the_same_bytes(mobile: MobileSam, tmp_path: Path) -> None:
    """Whatever the folder or the file is called: a run done again leaves the same files."""
    save_model(mobile, tmp_path / "one")
    save_model(mobile, tmp_path / "two")
    save_original(mobile, tmp_path / "three.pth")
    files = [tmp_path / "one" / "mobile_sam.pt", tmp_path / "two" / "mobile_sam.pt", tmp_path / "three.pth"]
    assert len({file.read_bytes() for file in files}) == 1


def test_half_precision_halves_weights_and_keeps_counters(mobile: MobileSam, tmp_path: Path) -> None:
    """Counters beyond what half precision can hold come back as they were, weights rounded."""
    save_model(mobile, tmp_path / "model", half=True)
    opened = open_model(tmp_path / "model").state_dict()
    for name, value in mobile.state_dict().items():
        kept = value.half().float() if value.is_floating_point() else value
        assert opened[name].dtype == value.dtype
        assert torch.equal(opened[name], kept), name


def test_a_damaged_folder_is_told(mobile: MobileSam, tmp_path: Path) -> None:
    """Without its weights, or with sizes that are not all there, a folder says what is wrong."""
    save_model(mobile, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    del config["sizes"]["windows"]
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="windows is missing or unknown"):
        open_model(tmp_path / "model")
    save_model(mobile, tmp_path / "model")
    (tmp_path / "model" / "mobile_sam.pt").unlink()
    with pytest.raises(ModelError, match=r"holds no mobile_sam\.pt"):
        open_model(tmp_path / "model")


def test_another_familys_model_is_refused() -> None:
    """A ViT is not written in MobileSAM's layout."""
    with pytest.raises(ModelError, match="cannot be written in MobileSAM's layout"):
        original_state(build_sam(MICRO))
