"""Fresh weights from an explicit generator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from segtune.models.sam.image_encoder import ImageEncoder
from segtune.models.sam.prompt_encoder import PositionEncoding
from segtune.models.sam.tiny_vit import TinyViT

_VIT_STD = 0.02


# What torch's layers call while they are made; buffers and learned positions begin as zeros and draw nothing.
_DRAWING = (Tensor.uniform_, Tensor.normal_, nn.init.kaiming_uniform_, nn.init.uniform_, nn.init.normal_)


class unfilled(TorchFunctionMode):  # noqa: N801 (used as a function)
    """Inside this context new modules draw no weights: they are filled afterwards, and no generator is touched.

    Drawing the 640 million of ViT-H only to load others takes seconds, and the meta device, which also avoids it, a
    second of imports.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Leave out the ways in which torch's modules draw."""
        given = kwargs or {}
        if func in _DRAWING:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


@torch.no_grad()
def initialize(model: nn.Module, generator: torch.Generator) -> None:
    """Give every parameter of a Segment Anything model, and its Fourier frequencies, a fresh value, in place.

    The transformer of the image encoder as ViTs are begun (normal of std .02, truncated at two); everything else as
    the published code leaves it: uniform ± 1/√(inputs), learned tokens and Fourier frequencies standard normal,
    relative positions 0, TinyViT's batch norms and attention biases as they are made. Which value a parameter gets
    depends on the generator and on the model's shape alone.
    """
    encoders = [module for module in model.modules() if isinstance(module, ImageEncoder)]
    stacks = [encoder.blocks for encoder in encoders]
    stacks += [module.layers for module in model.modules() if isinstance(module, TinyViT)]
    transformer = {id(inner) for stack in stacks for inner in stack.modules()}
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear) and id(module) in transformer:
            nn.init.trunc_normal_(module.weight, std=_VIT_STD, a=-2 * _VIT_STD, b=2 * _VIT_STD, generator=generator)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            _uniform(module, generator)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, generator=generator)
    for encoder in encoders:
        nn.init.trunc_normal_(encoder.pos_embed, std=_VIT_STD, a=-2 * _VIT_STD, b=2 * _VIT_STD, generator=generator)
    for name, parameter in model.named_parameters():
        if name.endswith(("rel_pos_h", "rel_pos_w")):
            nn.init.zeros_(parameter)
    for module in model.modules():
        if isinstance(module, PositionEncoding):
            module.positional_encoding_gaussian_matrix.normal_(generator=generator)


def _uniform(module: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, generator: torch.Generator) -> None:
    # A transposed convolution holds its inputs first; the published code's default bound counts the second axis.
    bound = 1 / math.sqrt(math.prod(module.weight.shape[1:]))
    nn.init.uniform_(module.weight, -bound, bound, generator=generator)
    if module.bias is not None:
        nn.init.uniform_(module.bias, -bound, bound, generator=generator)
