"""Segment Anything behind the contract of `models.family`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from segtune.core.geometry import Frame
from segtune.core.types import Embedding, MaskPrediction, Prompts
from segtune.models.decoding import check_prompts, decode_in_pieces, encoder_autocast, in_frame
from segtune.models.family import SplitModel
from segtune.models.preparation import Preparation
from segtune.models.sam.image_encoder import ImageEncoder
from segtune.models.sam.mask_decoder import MaskDecoder
from segtune.models.sam.prompt_encoder import PromptEncoder
from segtune.models.sam.sizes import MobileSizes, PromptSizes, SamSizes
from segtune.models.sam.tiny_vit import TinyViT
from segtune.models.sam.two_way import Spread

_ROUND_VALUES = 1 << 27
"""Without gradients so many values of the enlarged maps are held at once (512 MiB in fp32): 64 prompts of ViT-B."""


class SegmentAnything(SplitModel):
    """An image encoder, a prompt encoder and a mask decoder; what kind of image encoder, the families below say.

    Attributes:
        sizes: the network's sizes.
        preparation: how its base wants images.
    """

    accepts = frozenset({"points", "boxes", "masks"})

    def __init__(
        self,
        image_encoder: ImageEncoder | TinyViT,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        *,
        sizes: PromptSizes,
        preparation: Preparation,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.sizes = sizes
        self.preparation = preparation

    @property
    def side(self) -> int:
        """Side of the square input in pixels."""
        return self.sizes.side

    @property
    def mask_size(self) -> tuple[int, int]:
        """(h, w) of the logits over the square: four cells to a token."""
        return 4 * self.sizes.grid, 4 * self.sizes.grid

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The three parts by name."""
        return {
            "image_encoder": self.image_encoder,
            "prompt_encoder": self.prompt_encoder,
            "mask_decoder": self.mask_decoder,
        }

    @property
    def encoder_stages(self) -> tuple[tuple[str, ...], ...]:
        """Patch and position embeddings, each block, the neck."""
        return tuple(tuple(f"image_encoder.{name}" for name in stage) for stage in self.image_encoder.stages)

    def encode(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Embedding:
        """Run the image encoder on what `prepare` returned; features are float32 [B, C, grid, grid]."""
        with encoder_autocast(self, self._device):
            features = self.image_encoder(pixels.to(self._device))
        return Embedding(features.float(), frames)

    def encode_prefix(self, pixels: Tensor, stages: int) -> dict[str, Tensor]:
        """Run the patch embedding and `stages` - 1 blocks: "tokens", float32 [B, ...] as `splits` says."""
        with encoder_autocast(self, self._device):
            return {"tokens": self.image_encoder.begin(pixels.to(self._device), stages - 1).float()}

    def encode_suffix(self, maps: Mapping[str, Tensor], frames: tuple[Frame, ...], stages: int) -> Embedding:
        """Run the blocks that follow, and the neck, on what `encode_prefix` returned."""
        with encoder_autocast(self, self._device):
            features = self.image_encoder.finish(maps["tokens"].to(self._device), stages - 1)
        return Embedding(features.float(), frames)

    def decode(self, embedding: Embedding, prompts: Prompts, multimask: Tensor) -> MaskPrediction:
        """Answer P prompts on B images in one call; the contract is that of `PromptableModel.decode`."""
        check_prompts(self, prompts, "Segment Anything")
        features = embedding.features.to(self._device, self.prompt_encoder.no_mask_embed.weight.dtype)
        return decode_in_pieces(
            partial(self._decode, features, embedding.frames),
            prompts.to(self._device),
            multimask.to(self._device),
            embedding.frames,
            empty=features.new_zeros(0, self.sizes.masks, *self.mask_size),
            at_once=self._prompts_at_once,
        )

    def _decode(
        self, features: Tensor, frames: tuple[Frame, ...], prompts: Prompts, multimask: Tensor
    ) -> tuple[Tensor, Tensor]:
        points, boxes = in_frame(prompts, frames)
        tokens, exists = self.prompt_encoder(points, prompts.point_labels, boxes, prompts.has_box)
        image, spread = self._sources(features, prompts)
        logits, quality = self.mask_decoder(
            image, self.prompt_encoder.dense_positions(), tokens, exists, multimask, spread
        )
        return logits, quality

    def _sources(self, features: Tensor, prompts: Prompts) -> tuple[Tensor, Spread]:
        """Return the image side of S sources, [S, N, C], and how their rows spread over the prompts.

        Prompts on one image without a mask share a source; a mask prompt is added to the image, so it is its own.
        """
        own = prompts.has_mask
        images, place = torch.unique(prompts.image_index[~own], return_inverse=True)  # place: [P without a mask]
        maps = features[images] + self.prompt_encoder.no_mask_embed.weight[..., None, None]  # [images, C, h, w]
        source = torch.empty_like(prompts.image_index)
        source[~own] = place
        if prompts.mask_logits is not None and bool(own.any()):
            drawn = self.prompt_encoder.masks(prompts.mask_logits[own].to(features.dtype))
            source[own] = torch.arange(len(images), len(images) + len(drawn), device=source.device)
            maps = torch.cat([maps, features[prompts.image_index[own]] + drawn])
        return maps.flatten(2).transpose(1, 2), _spreader(source, len(maps))

    @property
    def _device(self) -> torch.device:
        return self.prompt_encoder.no_mask_embed.weight.device

    @property
    def _prompts_at_once(self) -> int:
        # A prompt's last map before its masks: [4·grid · 4·grid, width / 8].
        return max(1, _ROUND_VALUES // (self.mask_size[0] * self.mask_size[1] * self.sizes.prompt_width // 8))


class Sam(SegmentAnything):
    """Segment Anything as published, with a plain ViT."""

    family: ClassVar[str] = "sam"
    image_encoder: ImageEncoder
    sizes: SamSizes

    @property
    def splits(self) -> Mapping[int, tuple[tuple[int, ...], ...]]:
        """Behind the patch embedding and behind each block: tokens [grid, grid, width]."""
        tokens = (self.sizes.grid, self.sizes.grid, self.sizes.width)
        return dict.fromkeys(range(1, self.sizes.depth + 2), (tokens,))


class MobileSam(SegmentAnything):
    """MobileSAM (Zhang et al. 2023, arXiv:2306.14289): the same with a TinyViT."""

    family: ClassVar[str] = "mobile_sam"
    image_encoder: TinyViT
    sizes: MobileSizes

    @property
    def splits(self) -> Mapping[int, tuple[tuple[int, ...], ...]]:
        """Behind the patch embedding and behind each block: maps [C, h, w], smaller from stage to stage."""
        return {place: (shape,) for place, shape in enumerate(self.sizes.map_shapes, start=1)}


def _spreader(source: Tensor, sources: int) -> Spread:
    """Return the function that brings rows of `sources` sources to prompts; `source` says whose each prompt is."""
    if sources == 1:
        return lambda rows: rows.expand(len(source), *rows.shape[1:])  # a view: nothing is copied
    if torch.equal(source, torch.arange(sources, device=source.device)):
        return lambda rows: rows
    return lambda rows: rows[source]
