"""Adapters of `peft` inside a model: put in place, saved alone, merged into plain linear layers."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from segtune.adapters.parts import Kind, linear_layers, part_prefixes
from segtune.adapters.way import Adapter, Installed, Part, PartOptions, copy_into, split_parts
from segtune.core.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from segtune.models.family import PromptableModel

_NAME = "default"
"""peft may hold several adapters in a layer; ours is always this one."""

_MATRIX = ".lora_"

_START = "start|"
"""Before the names of what an adapter took out of the base's weights when it began."""


class LinearOptions(PartOptions):
    """Options of a way that adapts linear layers."""

    targets: Kind = Field("all", description="Linear layers: attention, mlp (all others), or all.")
    whole: tuple[Part, ...] = Field((), description="Parts that train whole besides: encoder, prompt, decoder.")

    @field_validator("whole", mode="before")
    @classmethod
    def _split_whole(cls, given: object) -> object:
        return split_parts(given)

    @model_validator(mode="after")
    def _apart(self) -> LinearOptions:
        if twice := set(self.parts) & set(self.whole):
            raise ValueError(f"'{min(twice)}' is in both 'in' and 'whole': what trains whole needs no adapter")
        return self


def import_peft(way: str) -> Any:
    """Return the package `peft`, which takes seconds to import.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module("peft")
    except ImportError as error:
        raise MissingExtraError("peft", "peft", f"--train {way}") from error


def inject(
    model: PromptableModel,
    name: str,
    options: LinearOptions,
    configure: Callable[[Any, list[str]], Any],
    *,
    accepts: Callable[[nn.Linear], bool] = lambda layer: True,
    make: Callable[..., PeftAdapter] | None = None,
) -> Installed:
    """Put an adapter of peft into the linear layers that the options name, in place.

    Args:
        model: changed in place; its linear layers lie in the adapter's from now on.
        name: of the way.
        options: where, and what trains besides.
        configure: makes peft's configuration, given the package and the names of the layers.
        accepts: whether a layer is fit for it.
        make: makes the adapter, in place of `PeftAdapter`.

    Raises:
        UsageError: there is no such layer.
        MissingExtraError: peft is not installed.
    """
    layers = [place for place, layer in linear_layers(model, options.parts, options.targets).items() if accepts(layer)]
    if not layers:
        raise UsageError(
            f"--train {name}:{options.text()} fits no linear layer in {' + '.join(options.parts)} of this "
            f"{model.family} model: all are too narrow for it. Give a smaller rank."
        )
    peft = import_peft(name)
    before = set(model.state_dict())
    config = configure(peft, layers)
    # The tuner's own class and not peft's `inject_adapter_in_model`, which refuses ways with shared state: that state
    # is reached from every layer that uses it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of compilers that are not there and not needed
        peft.PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](model, config, _NAME)
    # What peft leaves at the model would shadow a second way, and is not needed.
    del model.peft_config
    own = {key for key in model.state_dict() if key.replace(".base_layer.", ".") not in before}
    trained = {key for key, parameter in model.named_parameters() if key in own and parameter.requires_grad}
    prefixes = tuple(part_prefixes(model, options.whole))
    whole = {key for key in model.state_dict() if key.startswith(prefixes)} if prefixes else set()
    adapter = (make or PeftAdapter)(f"{name}:{options.text()}", tuple(sorted(own | whole)))
    return Installed(lambda key: key in trained or key in whole, adapter, frozenset(whole))


class PeftAdapter(Adapter):
    """Matrices and vectors beside linear layers, merged by peft's own arithmetic."""

    def __init__(self, spec: str, names: tuple[str, ...]) -> None:
        self.spec = spec
        self.names = names

    def tensors(self, model: PromptableModel) -> dict[str, Tensor]:
        """Return what lies beside the base's layers; what several layers share is there once."""
        return {name: value.detach().cpu().clone() for name, value in self._unshared(model).items()}

    def load(self, model: PromptableModel, tensors: Mapping[str, Tensor]) -> None:
        """Put it back."""
        copy_into(self._unshared(model), tensors)

    def settle(self, model: PromptableModel) -> None:
        """Multiply the adapters out into the layers below them, and put those back in their places."""
        for name, layer in adapted_layers(model).items():
            layer.merge()
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, layer.get_base_layer())

    def _unshared(self, model: PromptableModel) -> dict[str, Tensor]:
        state = model.state_dict()
        by_place = {state[name].data_ptr(): name for name in reversed(self.names)}
        return {name: state[name] for name in self.names if by_place[state[name].data_ptr()] == name}


class SubtractingAdapter(PeftAdapter):
    """One that begins as a part of the base's weights, taken out of them, so that the sum stays as it was (PiSSA)."""

    def __init__(self, spec: str, names: tuple[str, ...]) -> None:
        super().__init__(spec, names)
        self._start: dict[str, Tensor] = {}

    def begin(self, model: PromptableModel) -> None:
        """Remember the adapter as it is: what was taken out."""
        self._start = {name: value for name, value in super().tensors(model).items() if _MATRIX in name}

    def tensors(self, model: PromptableModel) -> dict[str, Tensor]:
        """Return the adapter as it is and as it was: their difference is what the base lacks."""
        taken = {_START + name: value.clone() for name, value in self._start.items()}
        return super().tensors(model) | taken

    def load(self, model: PromptableModel, tensors: Mapping[str, Tensor]) -> None:
        """Take out of a base what was taken out of it then, and put in what was learned."""
        start = {name.removeprefix(_START): value for name, value in tensors.items() if name.startswith(_START)}
        now = {name: value for name, value in tensors.items() if not name.startswith(_START)}
        copy_into({name: place for name, place in self._unshared(model).items() if _MATRIX in name}, start)
        with torch.no_grad():
            for layer in adapted_layers(model).values():
                layer.get_base_layer().weight -= layer.get_delta_weight(_NAME)
        self._start = start
        super().load(model, now)


def adapted_layers(model: nn.Module) -> dict[str, Any]:
    """Return peft's layers by name."""
    tuners = importlib.import_module("peft.tuners.tuners_utils")
    return {name: module for name, module in model.named_modules() if isinstance(module, tuners.BaseTunerLayer)}


def narrow_side(layer: nn.Linear) -> int:
    """Return the smaller of a layer's two sides: the rank its weights can have at most."""
    return min(layer.in_features, layer.out_features)
