"""A way of training: what it is called, which options it takes, what it does to a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from torch import Tensor, nn

from segtune.adapters import WAYS
from segtune.core.errors import ModelError, UsageError, unknown_name

if TYPE_CHECKING:
    from segtune.models.family import PromptableModel

Part = Literal["encoder", "prompt", "decoder"]

BESIDE: Final = 10 / 3
"""`Way.rate` of what lies beside weights (measured with LoRA), and of biases and norms: half a decade above theirs."""

FEW: Final = 10.0
"""`Way.rate` of ways of very few numbers: a decade above the weights' own."""


class Options(BaseModel):
    """What follows the colon of `--train NAME:key=value,...`; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    def text(self) -> str:
        """Return them as `--train` takes them, defaults and all."""
        values = self.model_dump(by_alias=True, exclude_none=True)
        return ",".join(f"{key}={_text(value)}" for key, value in values.items() if value != ())


class PartOptions(Options):
    """Options of a way that works inside named parts of the model."""

    parts: tuple[Part, ...] = Field(
        ("encoder", "decoder"), alias="in", description="Where: encoder, prompt, decoder, joined by +."
    )

    @field_validator("parts", mode="before")
    @classmethod
    def _split(cls, given: object) -> object:
        return split_parts(given)


def copy_into(places: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Fill tensors of a model, in place, with those of the same names.

    Raises:
        ModelError: names or shapes differ.
    """
    for name in sorted(set(places) | set(tensors)):
        if name not in places or name not in tensors or places[name].shape != tensors[name].shape:
            there = tuple(tensors[name].shape) if name in tensors else "none"
            here = tuple(places[name].shape) if name in places else "none"
            raise ModelError(
                f"These weights are of another adapter or another base: '{name}' has the shape {there} in the file and "
                f"{here} in the model. Nothing of it can be used here."
            )
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(tensors[name])


def split_parts(given: object) -> object:
    """Return the parts named by "encoder+decoder"; what is no text is passed on.

    Raises:
        UsageError: there is no part of that name.
    """
    if not isinstance(given, str):
        return given
    names = given.split("+")
    for name in names:
        if name not in get_args(Part):
            raise unknown_name("part of the model", name, get_args(Part))
    return tuple(dict.fromkeys(names))


class Adapter(ABC):
    """What a way put into a model or changed in it, so that it can be saved alone and merged.

    It knows the model by names only, so that a copy of the model has the same adapter. While it is there it is
    the model's `attached`.

    Attributes:
        spec: the way with all its options, as `--train` takes it.
        mergeable: whether plain weights can express it.
    """

    spec: str
    mergeable: ClassVar[bool] = True

    @abstractmethod
    def tensors(self, model: PromptableModel) -> dict[str, Tensor]:
        """Return all it is made of, by name, on the CPU."""

    @abstractmethod
    def load(self, model: PromptableModel, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` returned, into a model on which the same way was installed."""

    @abstractmethod
    def settle(self, model: PromptableModel) -> None:
        """Leave plain weights, in place: with all it has learned if it is mergeable, as they were before if not."""

    def merge(self, model: PromptableModel) -> None:
        """Bring it into the plain weights, in place, and leave no trace of it beside them.

        Raises:
            ModelError: plain weights cannot express it.
        """
        if not self.mergeable:
            raise ModelError(f"The adapter '{self.spec}' cannot be merged: plain weights cannot express what it does.")
        self.settle(model)
        model.attached = None

    def remove(self, model: PromptableModel) -> None:
        """Take it out, in place, and leave the base.

        Raises:
            ModelError: it is one to be merged, which may have changed the base's own weights.
        """
        if self.mergeable:
            raise ModelError(f"The adapter '{self.spec}' is merged, not taken out; open its base instead.")
        self.settle(model)
        model.attached = None

    def follow(self, total_steps: int) -> Follower | None:
        """Return what must be done at each step of a training of `total_steps`, if there is something."""
        return None


class Follower(ABC):
    """What an adapter does beside the optimizer at each training step."""

    @abstractmethod
    def add_gradients(self, model: nn.Module) -> None:
        """Add the gradients of its own to those of the loss."""

    @abstractmethod
    def after_step(self, model: nn.Module, step: int) -> None:
        """Follow step `step`, from 1, while its gradients are still there."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return what a resumed training needs."""

    @abstractmethod
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `state` returned."""


@dataclass(frozen=True)
class Installed:
    """A way on a model.

    Attributes:
        trains: whether the parameter of a name trains.
        adapter: what can be saved alone; None where the model itself is what there is to save.
        whole: names of the base's own tensors that train beside an adapter, for parts that train whole.
    """

    trains: Callable[[str], bool]
    adapter: Adapter | None = None
    whole: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Way:
    """An entry of the registry.

    Attributes:
        options: which it takes.
        install: changes a model in place, given the options and whether the start is `fresh`; when it is not, the
            adapter's tensors are loaded next and drawing them would be in vain. Random numbers come from torch's
            generator, which is seeded before.
        bare: the option that a value without a key is for, as in "late:2".
        rate: how many times the learning rate that suits a small base's own weights suits what it trains.
    """

    options: type[Options]
    install: Callable[[PromptableModel, Any, bool], Installed]
    bare: str | None = None
    rate: float = 1.0


def parse_way(spec: str) -> tuple[str, Way, Options]:
    """Return the name, the way and the options that "NAME[:key=value,...]" says.

    Raises:
        UsageError: an unknown way or key, or a value that is not allowed.
    """
    name, colon, rest = spec.partition(":")
    way = WAYS[name]
    return name, way, _read_options(spec, name, way, rest.split(",") if colon else ())


def _read_options(spec: str, name: str, way: Way, words: Sequence[str]) -> Options:
    keys = [field.alias or key for key, field in way.options.model_fields.items()]
    values: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals and way.bare is not None:
            key, value = way.bare, word
        elif not equals:
            example = f"{name}:{keys[0]}=…" if keys else name
            raise UsageError(
                f"--train {spec}: after the colon come key=value pairs joined by commas, as in '{example}', but it has "
                f"'{word}'. Keys of {name}: {', '.join(keys) or 'none'}."
            )
        if key not in keys:
            raise unknown_name(f"option of --train {name}", key, keys)
        values[key] = value
    try:
        return way.options.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or name
        said = f" (it was '{values[key]}')" if key in values else ""
        raise UsageError(f"--train {spec}: {key}: {first['msg']}{said}. {_describe(way.options)}") from None


@contextmanager
def own_randomness(model: PromptableModel, seed: int | None = None) -> Iterator[None]:
    """Leave torch's generators, the CPU's and that of the model's GPU, as they were, and seed them meanwhile.

    Other GPUs are left alone: keeping theirs would start each of them, with a warning, in every process.
    """
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
        yield


def _describe(options: type[Options]) -> str:
    told = [f"{field.alias or key} = {field.description}" for key, field in options.model_fields.items()]
    return f"Options: {' '.join(told)}" if told else "It takes no options."


def _text(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)
