"""Ways that multiply a weight: IA3 scales what passes a layer, BOFT turns its weight; both through `peft`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from segtune.adapters.injection import LinearOptions, inject
from segtune.adapters.parts import linear_layers
from segtune.adapters.way import BESIDE, FEW, Installed, Way
from segtune.core.errors import UsageError

if TYPE_CHECKING:
    from segtune.models.family import PromptableModel


class ButterflyOptions(LinearOptions):
    """Of BOFT."""

    block: int = Field(4, ge=2, description="Side of the blocks that are turned; it divides every layer's inputs.")


def _ia3(model: PromptableModel, options: LinearOptions, fresh: bool) -> Installed:
    """A learned scale for each output of an attention's projections and each input of the other linear layers."""
    attention = set()
    if options.targets != "mlp":
        attention = set(linear_layers(model, options.parts, "attention"))
    return inject(model, "ia3", options, lambda peft, layers: peft.IA3Config(
        target_modules=layers, feedforward_modules=[name for name in layers if name not in attention]
    ))  # fmt: skip


def _boft(model: PromptableModel, options: ButterflyOptions, fresh: bool) -> Installed:
    """An orthogonal matrix of blocks before each weight, and a learned scale for each output.

    One butterfly factor, peft's default, which makes it OFT (arXiv 2306.07280): blocks of inputs are turned apart. More
    need a compiled kernel of peft's, and a compiler on the machine that trains.
    """
    for name, layer in linear_layers(model, options.parts, options.targets).items():
        if layer.in_features % options.block:
            raise UsageError(
                f"--train boft:block={options.block} needs layers whose inputs it divides, but {name} has "
                f"{layer.in_features}. Choose a divisor of all of them, such as 4 or 8."
            )
    return inject(model, "boft", options, lambda peft, layers: peft.BOFTConfig(
        target_modules=layers, boft_block_size=options.block
    ))  # fmt: skip


IA3 = Way(LinearOptions, _ia3, rate=FEW)
"""Liu et al. 2022, arXiv 2205.05638."""

BOFT = Way(ButterflyOptions, _boft, rate=BESIDE)
"""Liu et al. 2023, arXiv 2311.06243."""
