"""SAM-HQ (Ke et al. 2023): SAM with one more mask token, which reads early features, through transformers (`hf`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from segtune.models.blockwise import BlockwiseModel
from segtune.models.preparation import Preparation
from segtune.models.sam_hq_original import config_of_state, owns_original, transformers_state
from segtune.models.transformers_family import BorrowedModel, Maps, TransformersModel, hypernetwork_masks, run_two_way
from segtune.models.transformers_files import Layout, build, draw_weights, family_of, load_state


class EarlyEncoder(nn.Module):
    """From pixels to features and to what the first block that sees the whole image made of them.

    Args:
        vision_encoder: transformers' image encoder of SAM-HQ.
    """

    def __init__(self, vision_encoder: nn.Module) -> None:
        super().__init__()
        self.vision_encoder = vision_encoder

    def forward(self, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Map pixels [B, 3, side, side] to features [B, C, h, w] and early ones [B, width, h, w]."""
        seen = self.vision_encoder(pixels)
        return seen.last_hidden_state, {"early": seen.intermediate_embeddings[0].permute(0, 3, 1, 2)}


class SamHq(BlockwiseModel, TransformersModel):
    """SAM-HQ behind the contract.

    Each mask is SAM's own logits plus those of the high-quality token, for one mask and for three, which keep SAM's
    order (whole, part, sub-part); the published code answers with the best of those three alone. Quality is what SAM's
    head predicts of its own masks, as published.

    The masks are those of the published code, which reads the image after the two-way transformer. `SamHQModel` of
    transformers 5.23 reads it before, with rows and columns swapped, so its masks differ for the same weights.
    """

    family: ClassVar[str] = "sam_hq"
    network = "SAM-HQ"

    def __init__(self, network: Any, *, preparation: Preparation) -> None:
        super().__init__(
            network.config,
            EarlyEncoder(network.vision_encoder),
            network.prompt_encoder,
            network.mask_decoder,
            preparation=preparation,
        )

    @property
    def encoder_stages(self) -> tuple[tuple[str, ...], ...]:
        """Patch and position embeddings, each block, the neck."""
        lead = "image_encoder.vision_encoder."
        depth = self.network_config.vision_config.num_hidden_layers
        blocks = tuple((f"{lead}layers.{number}.",) for number in range(depth))
        return ((f"{lead}patch_embed.", f"{lead}pos_embed"), *blocks, (f"{lead}neck.",))

    @property
    def block_list(self) -> tuple[nn.Module, str]:
        """The blocks of its ViT."""
        return self.image_encoder.get_submodule("vision_encoder"), "layers"

    @property
    def block_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Tokens [grid, grid, width]."""
        sizes = self.network_config.vision_config
        return ((self._grid, self._grid, int(sizes.hidden_size)),) * int(sizes.num_hidden_layers)

    @property
    def read_later(self) -> frozenset[int]:
        """The first block that sees the whole image: the high-quality token reads its map."""
        return frozenset({min(self.network_config.vision_config.global_attn_indexes)})

    @property
    def embedding_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of one image's features and early features."""
        grid = self.mask_size[0] // 4
        widths = (self.network_config.mask_decoder_config.hidden_size, self.network_config.vision_config.hidden_size)
        return tuple((int(width), grid, grid) for width in widths)

    def _image_maps(self, features: Tensor, extra: Maps) -> Maps:
        decoder = self.mask_decoder
        late = decoder.activation(decoder.encoder_norm(decoder.encoder_conv1(features)))
        early = decoder.activation(decoder.compress_vit_norm(decoder.compress_vit_conv1(extra["early"])))
        return {"fine": decoder.encoder_conv2(late) + decoder.compress_vit_conv2(early)}  # [B, C / 8, 4 h, 4 w]

    def _answer(self, image: Tensor, positions: Tensor, tokens: Tensor, maps: Maps) -> tuple[Tensor, Tensor]:
        decoder = self.mask_decoder
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight, decoder.hq_token.weight])
        seen, image = run_two_way(decoder.transformer, own, tokens, image, positions)
        finer = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(image)))
        finer = decoder.activation(decoder.upscale_conv2(finer))  # [p, C / 8, 4 h, 4 w]
        finest = decoder.activation(decoder.mask_norm(decoder.mask_conv1(finer)))
        finest = decoder.mask_conv2(finest) + maps["fine"]
        last = len(own) - 1  # of the tokens: IoU, SAM's masks, the high-quality mask
        masks = hypernetwork_masks(seen[:, 1:last], decoder.output_hypernetworks_mlps, finer)
        detail = hypernetwork_masks(seen[:, last : last + 1], [decoder.hq_mask_mlp], finest)
        return masks + detail, decoder.iou_prediction_head(seen[:, 0])

    def _single_token(self, logits: Tensor, quality: Tensor) -> Tensor:
        return torch.zeros(len(logits), dtype=torch.int64, device=logits.device)


LAYOUT = Layout(
    network="SAM-HQ",
    model_type="sam_hq",
    opened=(),
    network_class="SamHQModel",
    config_class="SamHQConfig",
    processor_class="SamImageProcessor",
    usual=Preparation.longest_side,
    assemble=lambda network, preparation: SamHq(network, preparation=preparation),
    renamed=(("image_encoder.vision_encoder.", "vision_encoder."),),
)

TINY = {
    "vision_config": {
        "hidden_size": 32,
        "output_channels": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 8,
        "window_size": 3,
        "global_attn_indexes": [1],
        "num_pos_feats": 16,
        "mlp_dim": 48,
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 64, "patch_size": 8, "mask_input_channels": 4},
    "mask_decoder_config": {
        "hidden_size": 32,
        "mlp_dim": 48,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 24,
        "vit_dim": 32,
    },
}
"""Windows that stick out over the image and a block that sees it whole, in a few milliseconds, for tests."""


def tiny(generator: torch.Generator) -> BorrowedModel:
    """Return a random model for tests."""
    return draw_weights(build(LAYOUT, TINY), generator)


def read_original(state: Mapping[str, Tensor], preparation: Preparation | None) -> BorrowedModel:
    """Build the model of a published checkpoint (`.pth`).

    Raises:
        ModelError: a weight is missing, left over or of another shape.
    """
    model = build(LAYOUT, config_of_state(state), preparation)
    load_state(LAYOUT, model, transformers_state(state))
    return model


SAM_HQ = family_of(LAYOUT, SamHq, tiny, owns_original=owns_original, read_original=read_original)
"""SAM-HQ behind the contract of `models.family`."""
