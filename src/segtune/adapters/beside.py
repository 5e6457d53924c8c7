"""Adapters of our own: small modules beside the base's layers, each adding to what its layer answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from torch import Tensor, nn

from segtune.adapters.parts import part_prefixes
from segtune.adapters.way import Adapter, Installed, Part, copy_into
from segtune.core.errors import UsageError

if TYPE_CHECKING:
    from segtune.models.family import PromptableModel

_NAME: Final = "beside"
"""Under which the module lies in its layer; the base's weights keep their own names."""


def put_beside(
    model: PromptableModel,
    spec: str,
    layers: Mapping[str, nn.Module],
    make: Callable[[Any], nn.Module],
    *,
    whole: tuple[Part, ...] = (),
) -> Installed:
    """Put a module beside each of some layers, in place.

    Args:
        model: changed in place.
        spec: the way with all its options.
        layers: by name.
        make: makes the module of a layer; it is called with the layer, its answer and the arguments it was called
            with, and returns what is added to the answer.
        whole: parts that train whole besides.

    Raises:
        UsageError: there is no layer.
    """
    if not layers:
        raise UsageError(
            f"--train {spec} finds no layer in this {model.family} model that it fits, so nothing would train. Name "
            "other parts or a smaller size."
        )
    device = next(model.parameters()).device
    for layer in layers.values():
        layer.add_module(_NAME, make(layer).to(device))
        layer.register_forward_hook(_add, with_kwargs=True)
    prefixes = tuple(part_prefixes(model, whole))
    names = set(model.state_dict())
    beside = {name for name in names if _is_beside(name)}
    others = {name for name in names - beside if prefixes and name.startswith(prefixes)}
    own = beside | others
    return Installed(
        lambda name: name in own, ModulesBeside(spec, tuple(layers), tuple(sorted(own))), frozenset(others)
    )


class ModulesBeside(Adapter):
    """Modules that plain weights cannot express, for they are not linear in the layer's input."""

    mergeable: ClassVar[bool] = False

    def __init__(self, spec: str, layers: tuple[str, ...], names: tuple[str, ...]) -> None:
        self.spec = spec
        self.layers = layers
        self.names = names

    def tensors(self, model: PromptableModel) -> dict[str, Tensor]:
        """Return the modules' weights, and those of the parts that train whole."""
        state = model.state_dict()
        return {name: state[name].detach().cpu().clone() for name in self.names}

    def load(self, model: PromptableModel, tensors: Mapping[str, Tensor]) -> None:
        """Put them back."""
        state = model.state_dict()
        copy_into({name: state[name] for name in self.names}, tensors)

    def settle(self, model: PromptableModel) -> None:
        """Take the modules away; parts that trained whole keep what they learned."""
        for name in self.layers:
            layer = model.get_submodule(name)
            delattr(layer, _NAME)
            # A base of ours has no hooks of its own, one of transformers may: only ours goes.
            for number, hook in list(layer._forward_hooks.items()):
                if hook is _add:
                    del layer._forward_hooks[number]
                    layer._forward_hooks_with_kwargs.pop(number, None)


def _is_beside(name: str) -> bool:
    return _NAME in name.split(".")


def _add(layer: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], answer: Any) -> Any:
    """Add what the module beside a layer says to the layer's answer, the first of it where there are several."""
    beside = layer.get_submodule(_NAME)
    if isinstance(answer, tuple):
        first, *others = answer
        return (first + beside(layer, first, *arguments, **named), *others)
    return answer + beside(layer, answer, *arguments, **named)
