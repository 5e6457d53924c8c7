"""Parts and layers of a model by name: where adapters go, in whatever family."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Literal

from torch import nn

from segtune.core.errors import UsageError

if TYPE_CHECKING:
    from segtune.models.family import PromptableModel

PARTS: Final = {"encoder": "image_encoder", "prompt": "prompt_encoder", "decoder": "mask_decoder"}
"""A model's parts by the names that `--train` has for them."""

Kind = Literal["all", "attention", "mlp"]
"""Of linear layers: those inside an attention (qkv, proj, q_proj, …), the others (MLPs and heads), or all."""


def part_prefixes(model: PromptableModel, parts: Iterable[str]) -> list[str]:
    """Return how the parameter names of the named parts begin, "image_encoder." for instance."""
    # A part may lie at any depth.
    names: dict[int, str] = {id(module): name for name, module in model.named_modules()}
    # The dot keeps out a longer name that begins alike.
    return [names[id(model.parts[PARTS[part]])] + "." for part in parts]


def linear_layers(model: PromptableModel, parts: Sequence[str], kind: Kind = "all") -> dict[str, nn.Linear]:
    """Return the linear layers of the named parts by name, in the model's order.

    A general rule over names instead of a list by family: in every family an attention's projections lie in a module
    whose name says "attn" or "attention". Subclasses of `nn.Linear` are left out, for what owns them may use their
    weights without calling them, as torch's own attention does; so are those whose weights are buffers, which a family
    keeps and no loss reaches.

    Raises:
        UsageError: there is none.
    """
    prefixes = tuple(part_prefixes(model, parts))
    found = {
        name: module
        for name, module in model.named_modules()
        if type(module) is nn.Linear
        and isinstance(module.weight, nn.Parameter)
        and name.startswith(prefixes)
        and (kind == "all" or _in_attention(name) == (kind == "attention"))
    }
    if not found:
        raise UsageError(
            f"This {model.family} model has no linear layer of the kind '{kind}' in {' + '.join(parts)}, so there is "
            "nothing for the adapter to adapt. Name other parts (in=encoder+decoder) or train the weights themselves."
        )
    return found


def _in_attention(name: str) -> bool:
    return any("attn" in piece or "attention" in piece for piece in name.split("."))
