"""Make the numbers of the published Segment Anything code that `tests/reference/test_sam_published.py` holds ours to.

    git clone https://github.com/facebookresearch/segment-anything /tmp/published
    python tools/make_sam_reference.py --published /tmp/published
    python tools/make_sam_reference.py --published /tmp/published --weights nano

Weights, images and prompts are drawn from seeds by functions of this file, which the test calls too, so only the
answers are stored. Nothing of the published code is kept: what it imports from torchvision is stood in for here.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from segtune.core.types import POINT_FILLER, Prompts
from segtune.models.fingerprint import fingerprint
from segtune.models.open import open_model
from segtune.models.sam.model import Sam
from segtune.models.sam.sizes import MICRO, SamSizes

RANDOM = replace(MICRO, prompt_width=64, decoder_heads=2, decoder_mlp_width=96, quality_width=48)
"""Several heads everywhere, windows that stick out over the image, inner widths that all differ."""

IMAGE_SIZES = ((40, 64), (70, 30))
"""Height and width: one wider than high, one higher than wide, one enlarged to the square and one shrunk."""

REFERENCE = Path(__file__).parents[1] / "tests" / "reference"


@dataclass(frozen=True)
class Case:
    """One prompt on one of the images, in original pixels."""

    image: int
    points: tuple[tuple[float, float, int], ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask_seed: int | None = None


CASES = (
    Case(0, points=((30, 20, 1),)),
    Case(0, points=((30.5, 20.25, 1), (5, 33, 0), (60, 2, 1))),
    Case(0, box=(10, 5, 50, 31)),
    Case(0, box=(12, 4, 44, 36), points=((20, 20, 1), (40, 8, 0))),
    Case(0, points=((44, 11, 1),), mask_seed=1),
    Case(0, box=(3, 3, 61, 20), mask_seed=2),
    Case(0, points=((0, 0, 0),)),
    Case(1, points=((15, 60, 1),)),
    Case(1, points=((2, 2, 1), (28, 68, 1))),
    Case(1, box=(1, 10, 29, 69)),
    Case(1, box=(5, 5, 20, 40), points=((10, 20, 1),), mask_seed=3),
    Case(1, points=((29, 69, 1), (3, 30, 0), (20, 20, 0), (8, 8, 1)), mask_seed=4),
)


def draw_state(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Return weights for the names and shapes of the original layout, large enough that every term matters."""
    state = {}
    for name, shape in shapes.items():
        values = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape)
        inputs = int(np.prod(shape[1:])) or 1
        if "rel_pos" in name or "pos_embed" in name:
            values *= 0.3
        elif len(shape) == 1:
            values = 0.2 * values + (1.0 if _is_norm_weight(name) else 0.0)
        elif not any(word in _module(name) for word in ("embed", "token")) and "gaussian" not in name:
            values /= np.sqrt(inputs)
        state[name] = torch.from_numpy(values.astype(np.float32))
    return state


def _is_norm_weight(name: str) -> bool:
    module = _module(name)
    return name.endswith("weight") and ("norm" in module or module.isdigit())


def _module(name: str) -> str:
    return name.split(".")[-2] if "." in name else ""


def draw_image(number: int, scale: int = 1) -> np.ndarray:
    """Return uint8 [H, W, 3]: coloured blocks, the same on every machine."""
    height, width = (length * scale for length in IMAGE_SIZES[number])
    small = np.random.default_rng([7, number]).integers(
        0, 256, (height // (5 * scale) + 1, width // (5 * scale) + 1, 3)
    )
    return small.astype(np.uint8).repeat(5 * scale, axis=0).repeat(5 * scale, axis=1)[:height, :width]


def draw_mask(seed: int, side: int) -> Tensor:
    """Return mask logits, float32 [side, side], between about -8 and 8."""
    small = np.random.default_rng([11, seed]).integers(-8, 9, (8, 8)).astype(np.float32)
    return torch.from_numpy(small.repeat(side // 8, axis=0).repeat(side // 8, axis=1))


def draw_prompts(side: int, scale: int = 1, cases: Sequence[Case] = CASES) -> Prompts:
    """Return cases as one ragged batch over the images, with mask prompts of `side` and NaN where nothing is read."""
    most = max(len(case.points) for case in cases)
    points = torch.full((len(cases), most, 2), float("nan"))
    labels = torch.full((len(cases), most), POINT_FILLER)
    boxes = torch.full((len(cases), 4), float("nan"))
    masks = torch.full((len(cases), side, side), float("nan"))
    for row, case in enumerate(cases):
        for column, (x, y, label) in enumerate(case.points):
            points[row, column] = torch.tensor([x, y]) * scale
            labels[row, column] = label
        if case.box is not None:
            boxes[row] = torch.tensor(case.box) * scale
        if case.mask_seed is not None:
            masks[row] = draw_mask(case.mask_seed, side)
    return Prompts(
        image_index=torch.tensor([case.image for case in cases]),
        points=points,
        point_labels=labels,
        boxes=boxes,
        has_box=torch.tensor([case.box is not None for case in cases]),
        has_mask=torch.tensor([case.mask_seed is not None for case in cases]),
        mask_logits=masks,
    )


def box_area(boxes: Tensor) -> Tensor:
    """Stand in for torchvision's function of this name."""
    # Published everything mode asks for it without any box when a grid with crops finds nothing, and falls over.
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """Stand in for torchvision's function of this name, for boxes of one kind: greedy, in float32, ties in order."""
    assert not bool(idxs.any())
    order = scores.sort(stable=True, descending=True).indices
    ranked, areas = boxes[order], box_area(boxes[order])
    alive = torch.ones(len(order), dtype=torch.bool)
    for row in range(len(order)):
        if alive[row]:
            low, high = torch.maximum(ranked[row, :2], ranked[:, :2]), torch.minimum(ranked[row, 2:], ranked[:, 2:])
            shared = (high - low).clamp(min=0).prod(dim=1)
            double = shared / (areas[row] + areas - shared) > torch.tensor(iou_threshold, dtype=torch.float64)
            double[: row + 1] = False
            alive &= ~double
    return order[alive]


def import_published(folder: Path, package: str = "segment_anything") -> Any:
    """Import a published package with stand-ins for the names it takes from torchvision."""

    def resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
        return image.resize((size[1], size[0]), Image.Resampling.BILINEAR)

    modules = {name: types.ModuleType(name) for name in (
        "torchvision", "torchvision.ops", "torchvision.ops.boxes",
        "torchvision.transforms", "torchvision.transforms.functional",
    )}  # fmt: skip
    modules["torchvision.transforms.functional"].__dict__.update(resize=resize, to_pil_image=Image.fromarray)
    modules["torchvision.ops.boxes"].__dict__.update(batched_nms=batched_nms, box_area=box_area)
    sys.modules.update(modules)
    sys.path.insert(0, str(folder))
    return importlib.import_module(package)


def build_published(package: Any, sizes: SamSizes) -> Any:
    """Assemble the published model at our sizes, as its `build_sam.py` does."""
    parts = package.modeling
    encoder = parts.ImageEncoderViT(
        depth=sizes.depth, embed_dim=sizes.width, img_size=sizes.side, mlp_ratio=sizes.mlp_width / sizes.width,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), num_heads=sizes.heads, patch_size=sizes.patch, qkv_bias=True,
        use_rel_pos=True, global_attn_indexes=sizes.global_blocks, window_size=sizes.window,
        out_chans=sizes.prompt_width,
    )  # fmt: skip
    prompt_encoder = parts.PromptEncoder(
        embed_dim=sizes.prompt_width, image_embedding_size=(sizes.grid, sizes.grid),
        input_image_size=(sizes.side, sizes.side), mask_in_chans=sizes.mask_channels,
    )  # fmt: skip
    transformer = parts.TwoWayTransformer(
        depth=sizes.decoder_depth, embedding_dim=sizes.prompt_width, mlp_dim=sizes.decoder_mlp_width,
        num_heads=sizes.decoder_heads, attention_downsample_rate=sizes.decoder_downsample,
    )  # fmt: skip
    decoder = parts.MaskDecoder(
        num_multimask_outputs=sizes.masks, transformer=transformer, transformer_dim=sizes.prompt_width,
        iou_head_depth=sizes.quality_depth, iou_head_hidden_dim=sizes.quality_width,
    )  # fmt: skip
    return parts.Sam(image_encoder=encoder, prompt_encoder=prompt_encoder, mask_decoder=decoder).eval()


def answers(package: Any, model: Any, scale: int, step: int, cases: Sequence[Case] = CASES) -> dict[str, np.ndarray]:
    """Run the published predictor on every case, with one mask and with three; keep every `step`-th logit."""
    kept: dict[str, list[np.ndarray]] = {"features": [], "logits": [], "quality": []}
    predictor = package.SamPredictor(model)
    for number in range(len(IMAGE_SIZES)):
        predictor.set_image(draw_image(number, scale))
        kept["features"].append(predictor.features[0, ::4, ::step, ::step].numpy())
        for case in (case for case in cases if case.image == number):
            given = _arguments(case, scale, 4 * model.prompt_encoder.image_embedding_size[0])
            both = [
                predictor.predict(multimask_output=several, return_logits=True, **given) for several in (False, True)
            ]
            kept["logits"].append(np.concatenate([low for _, _, low in both])[:, ::step, ::step])
            kept["quality"].append(np.concatenate([quality for _, quality, _ in both]))
            if case is cases[0]:
                full = both[0][0][0]
    return {name: np.stack(values) for name, values in kept.items()} | {"full_size": full[::scale, ::scale]}


def _arguments(case: Case, scale: int, side: int) -> dict[str, np.ndarray]:
    given = {}
    if case.points:
        table = np.array(case.points)
        given |= {"point_coords": table[:, :2] * scale, "point_labels": table[:, 2].astype(int)}
    if case.box is not None:
        given["box"] = np.array(case.box) * scale
    if case.mask_seed is not None:
        given["mask_input"] = draw_mask(case.mask_seed, side)[None].numpy()
    return given


def main() -> None:
    """Write the expected numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, required=True, help="folder that holds the package segment_anything")
    parser.add_argument("--weights", choices=("random", "nano"), default="random")
    arguments = parser.parse_args()
    package = import_published(arguments.published)
    extra = {}
    if arguments.weights == "random":
        model, scale, step = build_published(package, RANDOM), 1, 1
        model.load_state_dict(draw_state({name: tuple(v.shape) for name, v in model.state_dict().items()}, seed=0))
    else:
        nano = open_model("nano")
        assert isinstance(nano, Sam)
        model, scale, step = build_published(package, nano.sizes), 6, 4
        model.load_state_dict(nano.state_dict(), strict=True)
        extra = {"fingerprint": np.array(fingerprint(nano))}
    path = REFERENCE / f"sam_published_{arguments.weights}.npz"
    with torch.no_grad():
        np.savez_compressed(path, **answers(package, model, scale, step), **extra)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
