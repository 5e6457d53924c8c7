"""Make the numbers of the published SAM 2 code that `tests/reference/test_sam2_published.py` holds ours to.

    git clone https://github.com/facebookresearch/sam2 /tmp/published2
    python tools/make_sam2_reference.py --published /tmp/published2

Weights, images and prompts are drawn from seeds by functions of this file and of `make_sam_reference.py`, which the
test calls too, so that only the answers and the published names of the weights are stored; and, for
`tests/reference/test_sam2_files.py`, names and shapes of all published checkpoints. Nothing of the published code is
kept: what it imports from hydra, iopath and torchvision is stood in for here.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import types
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))

from make_sam_reference import CASES, IMAGE_SIZES, REFERENCE, draw_image, draw_mask, draw_prompts, draw_state

__all__ = ["CASES", "CONFIG", "IMAGE_SIZES", "draw_image", "draw_prompts", "draw_weights", "fell_back"]
"""What the test asks of this file."""

SIDE, WIDTH, CHANNELS = 128, 64, 16
"""Of the square, of a token, of Hiera's first stage."""

STAGES, HEADS, WINDOWS, WHOLE, BACKGROUND = (1, 2, 3, 2), 2, (8, 4, 6, 3), (4,), 5
"""Windows of 6 stick out over a grid of 8; one block attends to the whole image."""

CONFIG = {
    "vision_config": {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": CHANNELS,
            "num_attention_heads": HEADS,
            "blocks_per_stage": list(STAGES),
            "embed_dim_per_stage": [CHANNELS * 2**stage for stage in range(4)],
            "num_attention_heads_per_stage": [HEADS * 2**stage for stage in range(4)],
            "window_size_per_stage": list(WINDOWS),
            "window_positional_embedding_background_size": [BACKGROUND, BACKGROUND],
            "global_attention_blocks": list(WHOLE),
            "image_size": [SIDE, SIDE],
        },
        "backbone_channel_list": [CHANNELS * 2**stage for stage in (3, 2, 1, 0)],
        "backbone_feature_sizes": [[SIDE // stride, SIDE // stride] for stride in (4, 8, 16)],
        "fpn_hidden_size": WIDTH,
    },
    "prompt_encoder_config": {"hidden_size": WIDTH, "image_size": SIDE},
    "mask_decoder_config": {"hidden_size": WIDTH},
}
"""The same network as transformers' config.json says it."""


def draw_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return weights for the published names, with logits so large that some single masks count as stable."""
    state = draw_state(shapes, seed=0)
    return {
        name: 10 * value if "hypernetworks" in name and ".layers.2." in name else value for name, value in state.items()
    }


class Resize(nn.Module):
    """Stand in for torchvision's, of float tensors: bilinear, antialiased."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, image: Tensor) -> Tensor:
        return F.interpolate(image[None], self.size, mode="bilinear", align_corners=False, antialias=True)[0]


class Normalize(nn.Module):
    """Stand in for torchvision's."""

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.mean, self.std = (torch.tensor(values)[:, None, None] for values in (mean, std))

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std


class ToTensor:
    """Stand in for torchvision's, of arrays."""

    def __call__(self, image: np.ndarray) -> Tensor:
        return torch.from_numpy(image).permute(2, 0, 1).float() / 255


def import_published(folder: Path) -> None:
    """Make the published package importable, with stand-ins for what it imports and we do not need."""
    names = ("iopath", "iopath.common", "iopath.common.file_io", "torchvision", "torchvision.transforms", "tqdm")
    modules = {name: types.ModuleType(name) for name in names}
    modules["iopath.common.file_io"].__dict__["g_pathmgr"] = None
    modules["torchvision.transforms"].__dict__.update(Resize=Resize, Normalize=Normalize, ToTensor=ToTensor)
    modules["tqdm"].__dict__["tqdm"] = None
    # The package's own front door starts hydra; without it the modules behind are reached all the same.
    modules["sam2"] = types.ModuleType("sam2")
    modules["sam2"].__path__ = [str(folder / "sam2")]
    sys.modules.update(modules)
    torch.jit.script = lambda module: module  # it would refuse the stand-ins


def build_published() -> nn.Module:
    """Assemble the published model, video part and all, at our sizes, as its configurations of SAM 2.1 do."""
    from sam2.modeling.backbones.hieradet import Hiera
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
    from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
    from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
    from sam2.modeling.position_encoding import PositionEmbeddingSine
    from sam2.modeling.sam.transformer import RoPEAttention
    from sam2.modeling.sam2_base import SAM2Base

    trunk = Hiera(
        embed_dim=CHANNELS, num_heads=HEADS, stages=STAGES, global_att_blocks=WHOLE, window_spec=WINDOWS,
        window_pos_embed_bkg_spatial_size=(BACKGROUND, BACKGROUND),
    )  # fmt: skip
    neck = FpnNeck(
        position_encoding=PositionEmbeddingSine(WIDTH), d_model=WIDTH, backbone_channel_list=trunk.channel_list,
        fpn_top_down_levels=[2, 3], fpn_interp_model="nearest",
    )  # fmt: skip
    rope: dict[str, Any] = {"embedding_dim": WIDTH, "num_heads": 1, "downsample_rate": 1, "feat_sizes": (8, 8)}
    layer = MemoryAttentionLayer(
        activation="relu", dim_feedforward=32, dropout=0.1, pos_enc_at_attn=False, d_model=WIDTH,
        self_attention=RoPEAttention(**rope), cross_attention=RoPEAttention(**rope, rope_k_repeat=True, kv_in_dim=16),
        pos_enc_at_cross_attn_keys=True, pos_enc_at_cross_attn_queries=False,
    )  # fmt: skip
    memory = MemoryEncoder(
        out_dim=16, in_dim=WIDTH, position_encoding=PositionEmbeddingSine(16), fuser=Fuser(CXBlock(WIDTH), 2),
        mask_downsampler=MaskDownSampler(embed_dim=WIDTH, kernel_size=3, stride=2, padding=1),
    )  # fmt: skip
    return SAM2Base(
        ImageEncoder(trunk, neck, scalp=1), MemoryAttention(WIDTH, True, layer, 1), memory, image_size=SIDE,
        directly_add_no_mem_embed=True, no_obj_embed_spatial=True, use_high_res_features_in_sam=True,
        multimask_output_in_sam=True, iou_prediction_use_sigmoid=True, use_obj_ptrs_in_encoder=True,
        proj_tpos_enc_in_obj_ptrs=True, pred_obj_scores=True, pred_obj_scores_mlp=True, fixed_no_obj_ptr=True,
        use_mlp_for_obj_ptr_proj=True,
        sam_mask_decoder_extra_args={
            "dynamic_multimask_via_stability": True, "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        },
    ).eval()  # fmt: skip


def answers(model: nn.Module) -> dict[str, np.ndarray]:
    """Run the published predictor on every case, with one mask and with three."""
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    predictor = SAM2ImagePredictor(model)
    predictor._bb_feat_sizes = [(SIDE // stride, SIDE // stride) for stride in (4, 8, 16)]  # it knows 1024 only
    kept: dict[str, list[np.ndarray]] = {"features": [], "logits": [], "quality": []}
    for number in range(len(IMAGE_SIZES)):
        predictor.set_image(draw_image(number))
        kept["features"].append(predictor.get_image_embedding()[0, ::4].numpy())
        for case in (case for case in CASES if case.image == number):
            given: dict[str, np.ndarray] = {}
            if case.points:
                table = np.array(case.points)
                given |= {"point_coords": table[:, :2], "point_labels": table[:, 2].astype(int)}
            if case.box is not None:
                given["box"] = np.array(case.box)
            if case.mask_seed is not None:
                # As large as what the predictor hands out for this, which it cuts at 32 itself.
                given["mask_input"] = draw_mask(case.mask_seed, SIDE // 4)[None].numpy()
            both = [predictor.predict(multimask_output=several, **given) for several in (False, True)]
            kept["logits"].append(np.concatenate([low for _, _, low in both]))
            kept["quality"].append(np.concatenate([quality for _, quality, _ in both]))
    return {name: np.stack(values) for name, values in kept.items()}


def build_configured(entry: object) -> Any:
    """Build what a published configuration names, as hydra would."""
    if isinstance(entry, list):
        return [build_configured(one) for one in entry]
    if isinstance(entry, str) and re.fullmatch(r"\d+e-\d+", entry):
        return float(entry)  # which YAML 1.1 takes for text
    if not isinstance(entry, dict):
        return entry
    values = {name: build_configured(value) for name, value in entry.items() if name != "_target_"}
    if "_target_" not in entry:
        return values
    module, _, name = entry["_target_"].rpartition(".")
    return getattr(import_module(module), name)(**values)


def published_sizes(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what every published checkpoint is like, by its configuration's name: all but the values of its weights.

    Names and shapes of the weights ("shapes"), and of each block of Hiera the window's side, 0 where it sees the whole
    image, and the heads ("blocks").
    """
    found = {}
    for path in sorted((folder / "sam2" / "configs").glob("sam2*/sam2*_hiera_*.yaml")):
        if "training" not in path.parent.name:
            model = build_configured(yaml.safe_load(path.read_text())["model"])
            shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
            blocks = [[block.window_size, block.attn.num_heads] for block in model.image_encoder.trunk.blocks]
            found[path.stem] = {"shapes": shapes, "blocks": blocks}
    return found


def fell_back(logits: np.ndarray) -> np.ndarray:
    """Tell of which cases [n, 1 + 3, h, w] the single mask is one of the three."""
    return (logits[:, :1] == logits[:, 1:]).all(axis=(2, 3)).any(axis=1)


def main() -> None:
    """Write the expected numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, required=True, help="folder that holds the package sam2")
    folder = parser.parse_args().published
    import_published(folder)
    np.savez_compressed(REFERENCE / "sam2_published_sizes.npz", sizes=np.array(json.dumps(published_sizes(folder))))
    model = build_published()
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(draw_weights(shapes), strict=True)
    path = REFERENCE / "sam2_published_random.npz"
    with torch.no_grad():
        kept = answers(model)
    own = kept["logits"][:, 0]
    print(f"{len(own)} cases, {fell_back(kept['logits']).sum()} not stable; logits {own.min():.1f} to {own.max():.1f}")
    np.savez_compressed(path, **kept, shapes=np.array(json.dumps(shapes)))
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
