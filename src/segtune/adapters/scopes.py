"""Which parameters train, named by prefix. Freezing is one line over names; a scope that matches none is an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segtune.adapters import SCOPES
from segtune.core.errors import UsageError

if TYPE_CHECKING:
    from segtune.models.family import PromptableModel


@dataclass(frozen=True)
class Trainable:
    """What a scope left unfrozen.

    Attributes:
        scope: as the user wrote it ("late:2").
        names: names of the parameters that train, in the model's order.
        parameters: how many numbers that is.
        total: how many numbers the model has.
        encoder_frozen: nothing in the image encoder trains, so its output can be cached.
    """

    scope: str
    names: tuple[str, ...]
    parameters: int
    total: int
    encoder_frozen: bool


def train_only(model: PromptableModel, scope: str) -> Trainable:
    """Freeze everything in `model` but what `scope` names, in place.

    Args:
        model: any promptable model.
        scope: "decoder", "decoder+prompt", "full" or "late:N" (the last N blocks of the image encoder with all that
            comes after them).

    Raises:
        UsageError: an unknown scope, a missing or impossible N, or a scope that matches no parameter.
    """
    name, _, argument = scope.partition(":")
    if argument and not argument.isdecimal():
        raise UsageError(f"--train {scope}: what follows the colon must be a whole number, as in 'late:2'.")
    prefixes = tuple(SCOPES[name](model, int(argument) if argument else None))
    names = []
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter_name.startswith(prefixes))
        if parameter.requires_grad:
            names.append(parameter_name)
    if not names:
        raise UsageError(f"--train {scope} matches no parameter of this {model.family} model, so nothing would train.")
    sizes = {parameter_name: parameter.numel() for parameter_name, parameter in model.named_parameters()}
    # Asked of the parameters: a scope from another package may reach into the encoder under any name.
    frozen = not any(parameter.requires_grad for parameter in model.parts["image_encoder"].parameters())
    return Trainable(scope, tuple(names), sum(sizes[n] for n in names), sum(sizes.values()), frozen)


def decoder(model: PromptableModel, count: int | None) -> Sequence[str]:
    """The mask decoder alone."""
    _refuse_count("decoder", count)
    return [_prefix(model, "mask_decoder")]


def decoder_and_prompt(model: PromptableModel, count: int | None) -> Sequence[str]:
    """The mask decoder and the prompt encoder."""
    _refuse_count("decoder+prompt", count)
    return [_prefix(model, "mask_decoder"), _prefix(model, "prompt_encoder")]


def full(model: PromptableModel, count: int | None) -> Sequence[str]:
    """Everything."""
    _refuse_count("full", count)
    return [""]  # SAM's Fourier frequencies are a buffer and stay even so


def late(model: PromptableModel, count: int | None) -> Sequence[str]:
    """The last `count` blocks of the image encoder, what follows them in it, the prompt encoder and the decoder."""
    _, *blocks, tail = model.encoder_stages  # patches and positions never train here
    if count is None or not 1 <= count <= len(blocks):
        raise UsageError(
            f"--train late:N trains the last N blocks of the image encoder; this model has {len(blocks)}, so N must be "
            f"between 1 and {len(blocks)} (it was {count})."
        )
    late_blocks = [prefix for stage in blocks[-count:] for prefix in stage]
    return [*late_blocks, *tail, *decoder_and_prompt(model, None)]


def _prefix(model: PromptableModel, part: str) -> str:
    wanted = model.parts[part]
    names: dict[int, str] = {id(module): name for name, module in model.named_modules()}  # a part may lie at any depth
    return names[id(wanted)] + "."  # no beginning of a longer name


def _refuse_count(scope: str, count: int | None) -> None:
    if count is not None:
        raise UsageError(f"--train {scope} takes no number; 'late:{count}' trains the last {count} encoder blocks.")
