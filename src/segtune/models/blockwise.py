"""Image encoders of transformers run in two: their own forward pass, with blocks whose answers are known left out.

Nothing of those networks is written again here, so what transformers does before, between and behind the blocks stays
what it does. A prefix is the forward pass up to a block; a suffix is the forward pass with stand-ins in place of the
first blocks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from segtune.core.geometry import Frame
from segtune.core.types import Embedding
from segtune.models.decoding import encoder_autocast
from segtune.models.family import SplitModel

_HALF = "_bf16"
"""Ends the name of a map that mixed precision left in bfloat16: what follows takes it up as that."""


class BlockwiseModel(SplitModel):
    """A model of transformers whose image encoder is a list of blocks, called one after the other.

    It comes before the network's own base: `class Sam2(BlockwiseModel, PyramidModel)`.
    """

    image_encoder: Any

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        # A patch embedding leaves channel by channel in memory what comes row by row from a disk, and sums of the same
        # numbers in another order are not the same bits.
        self._blocks[0].register_forward_pre_hook(_row_by_row)

    @property
    @abstractmethod
    def block_list(self) -> tuple[nn.Module, str]:
        """The module that calls the blocks, and the name of its list of them."""

    @property
    @abstractmethod
    def block_shapes(self) -> tuple[tuple[int, ...], ...]:
        """What each block makes of one image, without the batch."""

    @property
    @abstractmethod
    def read_later(self) -> frozenset[int]:
        """Blocks whose answers are read by more than the next one: they are kept, wherever the encoder is split."""

    @property
    def splits(self) -> Mapping[int, tuple[tuple[int, ...], ...]]:
        """Behind each block: what it made, and what blocks before it made that is read later."""
        shapes = self.block_shapes
        return {last + 2: tuple(shapes[number] for number in self._kept(last)) for last in range(len(shapes))}

    def encode_prefix(self, pixels: Tensor, stages: int) -> dict[str, Tensor]:
        """Run the patch embedding and `stages` - 1 blocks: float32 [B, ...] by block, as `splits` says."""
        blocks, last = self._blocks, stages - 2
        answers: dict[int, Tensor] = {}

        def keep(number: int, answer: Tensor) -> None:
            answers[number] = answer
            if number == last:
                raise _ReachedError

        hooks = [
            blocks[number].register_forward_hook(lambda _, given, answer, number=number: keep(number, answer))
            for number in self._kept(last)
        ]
        try:
            with encoder_autocast(self, self._encoder_device):
                self.image_encoder(pixels.to(self._encoder_device))
        except _ReachedError:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return {
            f"block_{number}{_HALF if answer.dtype == torch.bfloat16 else ''}": answer.float()
            for number, answer in answers.items()
        }

    def encode_suffix(self, maps: Mapping[str, Tensor], frames: tuple[Frame, ...], stages: int) -> Embedding:
        """Run the blocks that follow, and the neck, on what `encode_prefix` returned."""
        known = {}
        for name, value in maps.items():
            number = int(name.removesuffix(_HALF).removeprefix("block_"))
            known[number] = value.to(self._encoder_device, torch.bfloat16 if name.endswith(_HALF) else torch.float32)
        blocks, owner = self._blocks, self.block_list
        stood_in = [_Known(block, known.get(number)) for number, block in enumerate(blocks[: stages - 1])]
        # The blocks left out read it alone: nobody sees what it shows.
        nothing = torch.zeros(1, 1, 1, 1, device=self._encoder_device).expand(len(frames), 3, self.side, self.side)
        with _replaced(*owner, nn.ModuleList([*stood_in, *blocks[stages - 1 :]])):
            return self.encode(nothing, frames)

    @property
    def _encoder_device(self) -> torch.device:
        device: torch.device = next(self.image_encoder.parameters()).device
        return device

    @property
    def _blocks(self) -> Any:
        owner, name = self.block_list
        return getattr(owner, name)

    def _kept(self, last: int) -> tuple[int, ...]:
        return tuple(number for number in range(last + 1) if number == last or number in self.read_later)


def _row_by_row(block: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (given[0].contiguous(), *given[1:])


class _ReachedError(Exception):
    """The last block asked for has answered; what follows is not run."""


class _Known(nn.Module):
    """Stands in for a block: its answer is known, or nobody reads it."""

    def __init__(self, block: nn.Module, answer: Tensor | None) -> None:
        super().__init__()
        # Some encoders ask each block whether it sees the whole image.
        self.window_size = getattr(block, "window_size", None)
        self.answer = answer

    def forward(self, seen: Tensor, **_: object) -> Tensor:
        """Return the answer."""
        return seen if self.answer is None else self.answer


@contextmanager
def _replaced(owner: nn.Module, name: str, blocks: nn.ModuleList) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, blocks)
    try:
        yield
    finally:
        setattr(owner, name, before)
