"""The contract every promptable model keeps, whatever network is behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal, Protocol, final

import torch
from torch import Tensor, nn

from segtune.core.geometry import Frame
from segtune.core.types import Embedding, Image, MaskPrediction, Prompts
from segtune.models.preparation import Preparation
from segtune.models.quality import QualityMap

Precision = Literal["fp32", "bf16"]


class StagedModel(nn.Module, ABC):
    """A network that trains: its image encoder has stages, each of which may learn at a rate of its own."""

    @property
    @abstractmethod
    def encoder_stages(self) -> tuple[tuple[str, ...], ...]:
        """Prefixes of the image encoder's parameter names, by depth: the patch embedding, each block, what follows.

        Every parameter of the image encoder falls under exactly one stage. Late-layer training and layer-wise learning
        rates count from the last.
        """


class Attached(Protocol):
    """What the plain network does not have: an adapter that was not merged into its weights.

    Attributes:
        spec: what it is, so that it can be put into the plain network again.
        mergeable: whether plain weights can express it.
    """

    spec: str

    @property
    def mergeable(self) -> bool: ...  # noqa: D102 (said above)

    def tensors(self, model: PromptableModel) -> dict[str, Tensor]:
        """Return all it is made of, by name, on the CPU."""

    def merge(self, model: PromptableModel) -> None:
        """Bring it into the plain weights, in place."""

    def remove(self, model: PromptableModel) -> None:
        """Take it out, in place."""


class PromptableModel(StagedModel, ABC):
    """Encode an image once, then answer any number of prompts on it.

    Callers speak original-image pixels; the model's own frame stays behind `prepare` and `MaskPrediction.frames`.
    Gradients flow through `encode` and `decode`; nothing here switches them off.

    Attributes:
        family: name in the registry of families ("sam").
        accepts: kinds of prompt it understands, of "points", "boxes", "masks", "text".
        preparation: how its base wants images; picklable, for the processes that read them.
        encoder_precision: "bf16" runs the image encoder, and nothing else, in mixed precision.
        thresholds: of everything mode, fitted to this model (`segtune calibrate`), or to the one it was tuned from
            as long as it was not; none: the published ones.
        attached: an adapter that is part of the network and not of its plain weights.
        stability_rule: in use, a family whose published use puts the best of three masks in the place of an unstable
            single one (SAM 2) does so. In training mode, or where this is false, the single mask itself answers.
        quality_map: from the quality its head predicts to the one people are told (`segtune calibrate`); none: that.
        phrase: what one that accepts text looks for where a prompt does not say.
        ranked: its three masks are its best guesses in order, not whole, part and sub-part: in two answers the same
            slot need not hold the same mask.
        source: the folder or file it was opened from; None: built in, or made here.
        variant: says what besides weights, preparation and precision makes its embeddings what they are.
    """

    family: ClassVar[str]
    accepts: frozenset[str]
    preparation: Preparation
    encoder_precision: Precision = "fp32"
    stability_rule: bool = True
    attached: Attached | None = None
    source: Path | None = None
    variant: str = ""
    phrase: str = ""
    ranked: bool = False
    thresholds: Mapping[str, float] = MappingProxyType({})
    quality_map: QualityMap | None = None

    @property
    @abstractmethod
    def side(self) -> int:
        """Side of the square input in pixels."""

    @property
    @abstractmethod
    def mask_size(self) -> tuple[int, int]:
        """(h, w) of the logits over the square."""

    @property
    @abstractmethod
    def parts(self) -> dict[str, nn.Module]:
        """The image encoder, prompt encoder and mask decoder by those names: what freezing and adapters name."""

    @final
    @property
    def encoder_frozen(self) -> bool:
        """Whether nothing in the image encoder trains, so that what it makes of an image can be kept.

        Asked of the parameters: a way of training from another package may reach into it under any name.
        """
        return not any(parameter.requires_grad for parameter in self.parts["image_encoder"].parameters())

    @final
    def frame(self, size: tuple[int, int]) -> Frame:
        """Where an image of `size` (height, width) will lie in the square."""
        return self.preparation.frame(size)

    @final
    def prepare(self, images: Sequence[Image]) -> tuple[Tensor, tuple[Frame, ...]]:
        """Bring B images, uint8 [H, W, 3] RGB of any sizes, to float32 [B, 3, side, side] and say where each lies."""
        return self.preparation.prepare(images)

    @abstractmethod
    def encode(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Embedding:
        """Run the image encoder on what `prepare` returned."""

    @abstractmethod
    def decode(self, embedding: Embedding, prompts: Prompts, multimask: Tensor) -> MaskPrediction:
        """Answer all prompts in one call.

        Args:
            embedding: B encoded images.
            prompts: P prompts in original pixels; any mix of kinds, each on any of the B images.
            multimask: bool [P]; three masks (whole, part, sub-part) where true, SAM's single mask where false.

        Returns:
            M is 3 when any prompt asks for three masks, else 1. A prompt that asked for one has it in slot 0 and
            quality -inf in the others.

        Raises:
            ModelError: a kind of prompt that the model does not accept.
        """


class SplitModel(PromptableModel):
    """A promptable model whose image encoder can be run in two, so that what never changes of it is run once.

    At each of `splits`, `encode` is the suffix of the prefix, bit for bit, however its maps lie in memory. A family of
    `PromptableModel` alone works as well: where only its late layers train, images are encoded whole each time.
    """

    @property
    @abstractmethod
    def splits(self) -> Mapping[int, tuple[tuple[int, ...], ...]]:
        """Where: how many of `encoder_stages` come first → the shapes of what they make of one image, without batch."""

    @abstractmethod
    def encode_prefix(self, pixels: Tensor, stages: int) -> dict[str, Tensor]:
        """Run the first `stages` stages on pixels that `prepare` returned: float32 maps by name, each [B, ...]."""

    @abstractmethod
    def encode_suffix(self, maps: Mapping[str, Tensor], frames: tuple[Frame, ...], stages: int) -> Embedding:
        """Run what follows the first `stages` stages on what `encode_prefix` returned for images in `frames`."""


@dataclass(frozen=True)
class Family:
    """What the room knows of a family besides its network: how its files are read and written.

    Attributes:
        model: the class.
        model_types: what its `config.json` calls it under "model_type".
        read_folder: opens a folder as `write_folder`, or transformers, writes it; the preparation is None where no
            record says it.
        write_folder: writes such a folder, with weights of a dtype, config.json last.
        embedding_shapes: the shapes of one image's embedding, features first, without the batch.
        tiny: a random model for tests, from a generator.
        owns_original: whether a state dict is an original checkpoint of this family. None: there is no such layout.
        read_original: opens one.
        original_state: the weights in that layout, on the CPU.
        at_side: a copy for a square input of another side, near to the model but wanting training. None: its network
            is made for one side.
        layout: what `write_folder` writes, in words for people: "…, in LAYOUT".
    """

    model: type[PromptableModel]
    model_types: tuple[str, ...]
    read_folder: Callable[[Path, Preparation | None], PromptableModel]
    write_folder: Callable[[PromptableModel, Path, torch.dtype], None]
    embedding_shapes: Callable[[PromptableModel], tuple[tuple[int, ...], ...]]
    tiny: Callable[[torch.Generator], PromptableModel]
    owns_original: Callable[[Mapping[str, Tensor]], bool] | None = None
    read_original: Callable[[Mapping[str, Tensor], Preparation | None], PromptableModel] | None = None
    original_state: Callable[[PromptableModel], dict[str, Tensor]] | None = None
    at_side: Callable[[PromptableModel, int], PromptableModel] | None = None
    layout: str = "transformers' layout"
