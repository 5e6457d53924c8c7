"""Make the numbers of the published SAM-HQ code that `tests/reference/test_sam_hq_published.py` holds ours to.

    git clone https://github.com/SysCV/sam-hq /tmp/published_hq
    python tools/make_sam_hq_reference.py --published /tmp/published_hq

Weights, images and prompts are those of `make_sam_reference.py`, drawn from seeds, so that only the answers and the
published names of the weights are stored.
"""

from __future__ import annotations

import argparse
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

import make_sam_reference as plain


def build_published(package: Any) -> Any:
    """Assemble the published model at the sizes of SAM's reference."""
    model = plain.build_published(package, plain.RANDOM)
    sizes, old = plain.RANDOM, model.mask_decoder
    from segment_anything.modeling.mask_decoder_hq import MaskDecoderHQ

    model.mask_decoder = MaskDecoderHQ(
        num_multimask_outputs=sizes.masks, transformer=old.transformer, transformer_dim=sizes.prompt_width,
        iou_head_depth=sizes.quality_depth, iou_head_hidden_dim=sizes.quality_width, vit_dim=sizes.width,
    )  # fmt: skip
    return model.eval()


def main() -> None:
    """Write the expected numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, required=True, help="folder that holds the package segment_anything")
    # For a TinyViT that is not built here.
    for name in ("timm", "timm.models", "timm.models.layers", "timm.models.registry"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["timm.models.layers"].__dict__.update(DropPath=torch.nn.Identity, to_2tuple=None, trunc_normal_=None)
    sys.modules["timm.models.registry"].__dict__.update(register_model=lambda function: function)
    package = plain.import_published(parser.parse_args().published)
    model = build_published(package)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(plain.draw_state(shapes, seed=0))
    path = plain.REFERENCE / "sam_hq_published_random.npz"
    with torch.no_grad():
        np.savez_compressed(path, **plain.answers(package, model, 1, 1), shapes=np.array(json.dumps(shapes)))
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
