"""What the families share whose networks are transformers' own: prompts to tokens, ragged batches, slots.

transformers' models take prompts of one kind and number a call and switch gradients off where they embed images. Here
their parts are called one by one: tokens are made for every prompt, prompts with as many tokens are decoded together,
so that none is padded, and each meets the maps of its own image.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from segtune.core.geometry import Frame
from segtune.core.types import POINT_NOT_A_POINT, Embedding, MaskPrediction, Prompts
from segtune.models.decoding import (
    check_prompts,
    choose_slots,
    decode_in_pieces,
    encoder_autocast,
    existing_tokens,
    in_frame,
)
from segtune.models.family import PromptableModel
from segtune.models.preparation import Preparation

_PIECE_VALUES = 1 << 25
"""Without gradients so many values of the enlarged maps are held at once (128 MiB in fp32)."""

Maps = Mapping[str, Tensor]


class BorrowedModel(PromptableModel):
    """A promptable model whose parts are modules of transformers.

    Attributes:
        network_config: transformers' configuration of the whole network, as it will be written; not "config", by which
            peft takes a model for one of transformers' own and asks it for more.
        network: what people call it, for errors.
    """

    network: ClassVar[str]
    network_config: Any
    prompt_encoder: Any
    mask_decoder: Any

    def __init__(
        self,
        config: Any,
        image_encoder: nn.Module,
        prompt_encoder: nn.Module,
        mask_decoder: nn.Module,
        *,
        preparation: Preparation,
    ) -> None:
        super().__init__()
        self.network_config = config
        # pixels [B, 3, side, side] → features [B, C, h, w] and further maps by name
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.preparation = preparation

    @property
    @abstractmethod
    def embedding_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of one image's features and further maps."""

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The three parts by name."""
        return {
            "image_encoder": self.image_encoder,
            "prompt_encoder": self.prompt_encoder,
            "mask_decoder": self.mask_decoder,
        }


class TransformersModel(BorrowedModel):
    """A model of transformers with SAM's prompt encoder and its kind of decoder.

    Attributes:
        always_padded: every prompt gets the not-a-point token, not only one without a box.
        largest_logit: mask prompts are cut to this much on both sides.
    """

    accepts = frozenset({"points", "boxes", "masks"})
    always_padded: ClassVar[bool] = False
    largest_logit: ClassVar[float] = float("inf")

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        # Drawn once and for all in the published code; some of transformers' networks would train them.
        as_buffers(self.prompt_encoder.get_submodule("shared_embedding"))

    @abstractmethod
    def _image_maps(self, features: Tensor, extra: Maps) -> Maps:
        """Return what the decoder reads of each image besides its features, whatever the prompt: [B, ...]."""

    @abstractmethod
    def _answer(self, image: Tensor, positions: Tensor, tokens: Tensor, maps: Maps) -> tuple[Tensor, Tensor]:
        """Decode p prompts with as many tokens each.

        Args:
            image: [p, C, h, w], features with the mask prompt added.
            positions: [1, C, h, w].
            tokens: [p, T, C].
            maps: what `_image_maps` returned, for each prompt's image: [p, ...].

        Returns:
            Logits [p, 1 + masks, ...] and quality [p, 1 + masks], the single mask first.
        """

    @abstractmethod
    def _single_token(self, logits: Tensor, quality: Tensor) -> Tensor:
        """Return int64 [p]: which of the masks of `_answer` answers a prompt that asks for one."""

    @property
    def side(self) -> int:
        """Side of the square input in pixels."""
        return int(self.network_config.prompt_encoder_config.image_size)

    @property
    def mask_size(self) -> tuple[int, int]:
        """(h, w) of the logits over the square: four cells to a token."""
        return 4 * self._grid, 4 * self._grid

    def encode(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Embedding:
        """Run the image encoder on what `prepare` returned; all maps are float32."""
        with encoder_autocast(self, self._device):
            features, extra = self.image_encoder(pixels.to(self._device))
        return Embedding(features.float(), frames, {name: value.float() for name, value in extra.items()})

    def decode(self, embedding: Embedding, prompts: Prompts, multimask: Tensor) -> MaskPrediction:
        """Answer P prompts on B images in one call; the contract is that of `PromptableModel.decode`."""
        check_prompts(self, prompts, self.network)
        like = self.prompt_encoder.no_mask_embed.weight
        features = embedding.features.to(like)
        maps = self._image_maps(features, {name: value.to(like) for name, value in embedding.extra.items()})
        masks = int(self.network_config.mask_decoder_config.num_multimask_outputs)
        return decode_in_pieces(
            partial(self._decode, features, maps, embedding.frames),
            prompts.to(self._device),
            multimask.to(self._device),
            embedding.frames,
            empty=features.new_zeros(0, masks, *self.mask_size),
            at_once=max(1, _PIECE_VALUES // (self.mask_size[0] * self.mask_size[1] * features.shape[1] // 8)),
        )

    def _decode(
        self, features: Tensor, maps: Maps, frames: tuple[Frame, ...], prompts: Prompts, multimask: Tensor
    ) -> tuple[Tensor, Tensor]:
        tokens, exists = self._tokens(prompts, frames)
        positions = self._positions()
        logits, quality, order = [], [], []
        counts = exists.sum(dim=1)
        # A handful of groups: corrected clicks of one round differ by a box, a missing click, little else.
        for count in sorted(set(counts.tolist())):
            rows = (counts == count).nonzero().flatten()
            images = prompts.image_index[rows]
            answered = self._answer(
                features[images] + self._drawn(prompts.select(rows)),
                positions,
                tokens[rows][exists[rows]].reshape(len(rows), count, -1),
                {name: value[images] for name, value in maps.items()},
            )
            some, some_quality = self._slotted(*answered, multimask[rows], bool(multimask.any()))
            logits.append(some)
            quality.append(some_quality)
            order.append(rows)
        if len(order) == 1:
            return logits[0], quality[0]
        back = torch.cat(order).argsort()
        return torch.cat(logits)[back], torch.cat(quality)[back]

    def _slotted(self, logits: Tensor, quality: Tensor, multimask: Tensor, three: bool) -> tuple[Tensor, Tensor]:
        """Put masks into slots: [p, M, ...], M being of the whole call."""
        slots, present = choose_slots(multimask, logits.shape[1] - 1, three=three)
        slots = torch.where(multimask[:, None], slots, self._single_token(logits, quality)[:, None])
        chosen = logits.take_along_dim(slots[..., None, None], dim=1) * present[..., None, None]
        return chosen, quality.gather(1, slots).masked_fill(~present, float("-inf"))

    def _tokens(self, prompts: Prompts, frames: tuple[Frame, ...]) -> tuple[Tensor, Tensor]:
        """Embed clicks and boxes: [p, K + 1 + 2, C] and which of them exist."""
        encoder, labels = self.prompt_encoder, prompts.point_labels
        points, boxes = in_frame(prompts, frames)
        kinds = _kinds(encoder)  # not object, object, a box's first corner, its second
        # The half pixel that moves an index to the pixel's centre is for corners too, as published.
        clicks = self._places((points + 0.5) / self.side) + kinds[labels.clamp(0, 1)]
        nothing = encoder.not_a_point_embed.weight  # [1, C]
        clicks = torch.where((labels == POINT_NOT_A_POINT)[..., None], nothing, clicks)
        corners = self._places((boxes.reshape(-1, 2, 2) + 0.5) / self.side) + kinds[2:]
        tokens = torch.cat([clicks, nothing.expand(len(labels), 1, -1), corners], dim=1)
        return tokens, existing_tokens(labels, prompts.has_box, always_padded=self.always_padded)

    def _drawn(self, prompts: Prompts) -> Tensor:
        """Return what mask prompts add to the image's features, [p, C, h, w]; without one a learned value."""
        encoder, own = self.prompt_encoder, prompts.has_mask
        nothing: Tensor = encoder.no_mask_embed.weight[..., None, None]  # [1, C, 1, 1]
        if prompts.mask_logits is None or not bool(own.any()):
            return nothing
        limit = self.largest_logit
        drawn: Tensor = encoder.mask_embed(prompts.mask_logits[own][:, None].to(nothing).clamp(-limit, limit))
        # In mixed precision what was drawn is half, and the learned value is not.
        return nothing.expand(len(own), *drawn.shape[1:]).index_put((own.nonzero().flatten(),), drawn.to(nothing))

    def _positions(self) -> Tensor:
        centres = (torch.arange(self._grid, device=self._device) + 0.5) / self._grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        return self._places(torch.stack([x, y], dim=-1)).permute(2, 0, 1)[None]  # [1, C, h, w]

    def _places(self, shares: Tensor) -> Tensor:
        """Encode places [..., 2], as shares of the side: [..., C]."""
        # Mixed precision would round the angle, and with it neighbouring places to one.
        with torch.autocast(self._device.type, enabled=False):
            encoded: Tensor = self.prompt_encoder.shared_embedding(shares.float())
        return encoded

    @property
    def _grid(self) -> int:
        sizes = self.network_config.prompt_encoder_config
        return int(sizes.image_size) // int(sizes.patch_size)

    @property
    def _device(self) -> torch.device:
        device: torch.device = self.prompt_encoder.no_mask_embed.weight.device
        return device


def hypernetwork_masks(tokens: Tensor, heads: Sequence[nn.Module], enlarged: Tensor) -> Tensor:
    """Weigh the channels of an enlarged map by what a head makes of each mask token.

    Args:
        tokens: [p, n, C].
        heads: n of them.
        enlarged: [p, c, h, w].

    Returns:
        Logits [p, n, h, w].
    """
    weights = torch.stack([head(tokens[:, number]) for number, head in enumerate(heads)], dim=1)  # [p, n, c]
    return (weights @ enlarged.flatten(2)).reshape(*weights.shape[:2], *enlarged.shape[2:])


def run_two_way(
    transformer: nn.Module, own: Tensor, tokens: Tensor, image: Tensor, positions: Tensor
) -> tuple[Tensor, Tensor]:
    """Run a decoder's transformer on its own tokens [n, C] before the prompts' [p, T, C], and on images [p, C, h, w].

    Returns:
        Tokens [p, n + T, C] and images [p, C, h, w].
    """
    every = torch.cat([own.expand(len(tokens), -1, -1), tokens], dim=1)[:, None]  # [p, 1, n + T, C]
    seen, after = transformer(
        point_embeddings=every,
        image_embeddings=image,
        image_positional_embeddings=positions,
        attention_similarity=None,
        target_embedding=None,
    )[:2]
    return seen[:, 0], after[:, 0].transpose(1, 2).reshape(image.shape)


def as_buffers(module: nn.Module) -> nn.Module:
    """Turn a module's weights into buffers, so that no scope trains what is to stay or what no loss reaches."""
    for part in module.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, value.detach())
    return module


def _kinds(encoder: Any) -> Tensor:
    if isinstance(encoder.point_embed, nn.ModuleList):
        return torch.cat([cast(nn.Embedding, one).weight for one in encoder.point_embed])
    weight: Tensor = encoder.point_embed.weight
    return weight
