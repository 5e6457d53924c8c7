"""Which parameters train, named by prefix. Freezing is one line over names; a way that matches none is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from torch import Tensor, nn

from segtune.adapters.parts import part_prefixes
from segtune.adapters.way import (
    BESIDE,
    Adapter,
    Installed,
    Options,
    Part,
    PartOptions,
    Way,
    copy_into,
    own_randomness,
    parse_way,
)
from segtune.core.errors import UsageError

if TYPE_CHECKING:
    from segtune.models.family import PromptableModel


@dataclass(frozen=True)
class Trainable:
    """What a way left unfrozen.

    Attributes:
        scope: as the user wrote it ("late:2").
        names: names of the parameters that train, in the model's order.
        parameters: how many numbers that is.
        total: how many numbers the model has.
        encoder_frozen: nothing in the image encoder trains, so its output can be cached.
        adapter: what can be saved alone and merged, if the way makes such a thing.
        whole: names of the base's own parameters that train beside an adapter.
        passed_by: parts where the way would train something of its own accord, had this model anything for it there.
    """

    scope: str
    names: tuple[str, ...]
    parameters: int
    total: int
    encoder_frozen: bool
    adapter: Adapter | None = None
    whole: frozenset[str] = frozenset()
    passed_by: tuple[Part, ...] = ()

    def __str__(self) -> str:
        share = 100 * self.parameters / self.total
        told = f"--train {self.scope}: {self.parameters:,} of {self.total:,} parameters train ({share:.3g} %)"
        return f"{told}, none in {' + '.join(self.passed_by)}, which has nothing for it" if self.passed_by else told


def train_only(model: PromptableModel, scope: str, *, seed: int = 0) -> Trainable:
    """Freeze everything in `model` but what `scope` names or puts into it, in place.

    Args:
        model: any promptable model.
        scope: "NAME[:key=value,...]", a name of `WAYS` with its options ("decoder", "late:2", "lora:r=8,in=decoder").
        seed: of what the way draws; torch's own generators stay as they are.

    Raises:
        UsageError: an unknown way or option, or one that matches no parameter of the model or of a part it names.
        MissingExtraError: the way needs a package that is not installed.
    """
    _, way, options = parse_way(scope)
    before = model.attached
    with own_randomness(model, seed):
        installed = way.install(model, options, True)
    if installed.adapter is not None:
        if before is not None:
            raise UsageError(
                f"--train {scope} would put a second adapter on a model that has one already ('{before.spec}'). Train "
                "its weights instead (decoder, late:N, full), or start from a base without."
            )
        model.attached = installed.adapter
    names = []
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(installed.trains(parameter_name))
        if parameter.requires_grad:
            names.append(parameter_name)
    if not names:
        raise UsageError(f"--train {scope} matches no parameter of this {model.family} model, so nothing would train.")
    passed_by = _passed_by(model, scope, options, names)
    sizes = {parameter_name: parameter.numel() for parameter_name, parameter in model.named_parameters()}
    trained = sum(sizes[n] for n in names)
    return Trainable(
        scope, tuple(names), trained, sum(sizes.values()), model.encoder_frozen, installed.adapter,
        installed.whole, passed_by,
    )  # fmt: skip


def _passed_by(model: PromptableModel, scope: str, options: Options, names: Sequence[str]) -> tuple[Part, ...]:
    """Return the parts that a way works in and where nothing trains.

    Raises:
        UsageError: the user named one of them.
    """
    if not isinstance(options, PartOptions):
        return ()
    empty = tuple(
        part
        for part in options.parts
        if not any(name.startswith(tuple(part_prefixes(model, [part]))) for name in names)
    )
    if empty and "parts" in options.model_fields_set:
        others = "+".join(part for part in options.parts if part not in empty)
        raise UsageError(
            f"--train {scope} names {' + '.join(empty)}, but this {model.family} model has nothing there that it could "
            f"train. Name parts that have (in={others}), or train {' + '.join(empty)} whole."
        )
    return empty


class LateOptions(Options):
    """Of "late"."""

    blocks: int | None = Field(None, description="The last so many blocks of the image encoder.")


def _decoder(model: PromptableModel, options: Options, fresh: bool) -> Installed:
    """The mask decoder alone."""
    return Installed(_starts_with(part_prefixes(model, ["decoder"])))


def _decoder_and_prompt(model: PromptableModel, options: Options, fresh: bool) -> Installed:
    """The mask decoder and the prompt encoder."""
    return Installed(_starts_with(part_prefixes(model, ["decoder", "prompt"])))


def _full(model: PromptableModel, options: Options, fresh: bool) -> Installed:
    """Everything."""
    return Installed(lambda name: True)  # SAM's Fourier frequencies are a buffer and stay even so


def _late(model: PromptableModel, options: LateOptions, fresh: bool) -> Installed:
    """The last blocks of the image encoder, what follows them in it, the prompt encoder and the decoder."""
    _, *blocks, tail = model.encoder_stages  # patches and positions never train here
    count = options.blocks
    if count is None or not 1 <= count <= len(blocks):
        raise UsageError(
            f"--train late:N trains the last N blocks of the image encoder; this model has {len(blocks)}, so N must be "
            f"between 1 and {len(blocks)} (it was {count})."
        )
    late_blocks = [prefix for stage in blocks[-count:] for prefix in stage]
    return Installed(_starts_with([*late_blocks, *tail, *part_prefixes(model, ["decoder", "prompt"])]))


def _bias(model: PromptableModel, options: PartOptions, fresh: bool) -> Installed:
    """Every bias (BitFit, arXiv 2106.10199)."""
    inside = _starts_with(part_prefixes(model, options.parts))
    return _selection(model, f"bias:{options.text()}", lambda name: inside(name) and name.endswith(".bias"))


def _norm(model: PromptableModel, options: PartOptions, fresh: bool) -> Installed:
    """Every weight and bias of a normalisation."""
    inside = _starts_with(part_prefixes(model, options.parts))
    norms = {
        f"{place}.{name}"
        for place, module in model.named_modules()
        if "Norm" in type(module).__name__
        for name, _ in module.named_parameters(recurse=False)
    }
    return _selection(model, f"norm:{options.text()}", lambda name: inside(name) and name in norms)


def _selection(model: nn.Module, spec: str, trains: Callable[[str], bool]) -> Installed:
    return Installed(trains, Selection(spec, tuple(name for name, _ in model.named_parameters() if trains(name))))


class Selection(Adapter):
    """Few weights of the model itself: plain already."""

    mergeable: ClassVar[bool] = True

    def __init__(self, spec: str, names: tuple[str, ...]) -> None:
        self.spec = spec
        self.names = names

    def tensors(self, model: PromptableModel) -> dict[str, Tensor]:
        """Return the weights that train."""
        parameters = dict(model.named_parameters())
        return {name: parameters[name].detach().cpu().clone() for name in self.names}

    def load(self, model: PromptableModel, tensors: Mapping[str, Tensor]) -> None:
        """Put them back."""
        parameters = dict(model.named_parameters())
        copy_into({name: parameters[name] for name in self.names}, tensors)

    def settle(self, model: PromptableModel) -> None:
        """Do nothing: they are where they belong."""


def _starts_with(prefixes: Sequence[str]) -> Callable[[str], bool]:
    return lambda name: name.startswith(tuple(prefixes))


DECODER = Way(Options, _decoder)
DECODER_AND_PROMPT = Way(Options, _decoder_and_prompt)
FULL = Way(Options, _full)
LATE = Way(LateOptions, _late, bare="blocks")
BIAS = Way(PartOptions, _bias, rate=BESIDE)
NORM = Way(PartOptions, _norm, rate=BESIDE)
