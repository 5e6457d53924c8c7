"""Make the numbers of the published MobileSAM code that `tests/reference/test_sam_published.py` holds ours to.

    git clone https://github.com/ChaoningZhang/MobileSAM /tmp/published
    python tools/make_mobile_sam_reference.py --published /tmp/published

The model is the published one at its published size, built by its own `build_sam.py`; it knows no other. Weights,
images and prompts are drawn from seeds by functions of this file and of `make_sam_reference.py`, which the test calls
too, so only the answers are stored, in steps. Nothing of the published code is kept: what it imports from timm and
torchvision is stood in for.
"""

from __future__ import annotations

import argparse
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from make_sam_reference import CASES, REFERENCE, answers, draw_state, import_published

KEPT = REFERENCE / "mobile_sam_published.npz"

SCALE = 12
"""Images and prompts are so much larger than those of `make_sam_reference.py`: for its square of 1024 pixels."""

SOME = tuple(CASES[number] for number in (1, 3, 8, 10))
"""Points, a box with points, the other image, a mask with both: the decoder's every case is held by the other script."""

STEP = 16
"""Of features and logits, every so many rows and columns are kept."""


class NoDropPath(nn.Module):
    """Stand in for timm's class of this name, which the published model derives from and, at a rate of 0, never makes."""

    def __init__(self, drop_prob: float | None = None) -> None:
        super().__init__()


def draw_mobile_state(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Return weights for the names and shapes of the original layout, large enough that every term matters."""
    state = draw_state(shapes, seed)
    for name, value in state.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(1000)
        elif name.endswith("running_var"):
            state[name] = 1 + value.abs()
        elif name.endswith("bn.weight"):
            state[name] = 1 + value
        elif name.endswith("attention_biases"):
            state[name] = 0.5 * value * np.sqrt(value.shape[1])  # undo what is right for matrices alone
    return state


def import_mobile_sam(folder: Path) -> Any:
    """Import the published package with stand-ins for the names it takes from timm and torchvision."""
    modules = {name: types.ModuleType(name) for name in (
        "timm", "timm.models", "timm.models.layers", "timm.models.registry"
    )}  # fmt: skip
    modules["timm.models.layers"].__dict__.update(
        DropPath=NoDropPath, to_2tuple=lambda value: (value, value), trunc_normal_=nn.init.trunc_normal_
    )
    modules["timm.models.registry"].__dict__.update(register_model=lambda build: build)
    sys.modules.update(modules)
    return import_published(folder, "mobile_sam")


def main() -> None:
    """Write the expected numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, required=True, help="folder that holds the package mobile_sam")
    arguments = parser.parse_args()
    package = import_mobile_sam(arguments.published)
    model = package.sam_model_registry["vit_t"]()
    model.load_state_dict(draw_mobile_state({name: tuple(v.shape) for name, v in model.state_dict().items()}, seed=0))
    model.eval()  # only now does the published code look its attention biases up
    with torch.no_grad():
        np.savez_compressed(KEPT, **answers(package, model, SCALE, STEP, SOME))
    print(f"{KEPT}: {KEPT.stat().st_size / 1024:.0f} KiB for {len(SOME)} prompts")


if __name__ == "__main__":
    main()
