"""What SAM 2 and its descendants share: an image encoder of three levels and a decoder that reads the two fine ones.

The projections of the fine levels and SAM 2's no-memory embedding belong to the image encoder here, though the
published code keeps the former in the mask decoder: they see the image alone, so that they are run once an image, and
what is cached of it is as small as what the published predictor keeps. They train with the encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from segtune.models.preparation import Preparation
from segtune.models.transformers_family import Maps, TransformersModel, as_buffers, hypernetwork_masks, run_two_way

FINE_RENAMED: tuple[tuple[str, str], ...] = (
    ("image_encoder.vision_encoder.", "vision_encoder."),
    ("image_encoder.no_memory_embedding", "no_memory_embedding"),
    ("image_encoder.conv_s", "mask_decoder.conv_s"),
    ("object_score_head.", "mask_decoder.pred_obj_score_head."),
)
"""Beginnings of our names of weights and transformers'."""

MEMORY: tuple[str, ...] = (
    r"memory_(attention|encoder|temporal_positional_encoding)\b",
    r"mask_downsample\.",
    r"object_pointer_proj\.",
    r"temporal_positional_encoding_projection_layer\.",
    r"no_memory_positional_encoding$",
    r"no_object_pointer$",
    r"occlusion_spatial_embedding_parameter$",
)
"""transformers' names of what follows objects through a video, which no single image needs."""

LARGEST_LOGIT = 32.0
"""To which the published image predictor cuts the logits that come back as a mask prompt."""


class PyramidEncoder(nn.Module):
    """From pixels to the features of stride 16 and the projected maps of stride 4 and 8.

    Args:
        vision_encoder: gives at least three levels, from high to low resolution.
        conv_s0: projects the first.
        conv_s1: projects the second.
        no_memory_embedding: [1, 1, C], added where a video would bring its memory.
    """

    def __init__(
        self, vision_encoder: nn.Module, conv_s0: nn.Module, conv_s1: nn.Module, no_memory_embedding: nn.Parameter
    ) -> None:
        super().__init__()
        self.vision_encoder = vision_encoder
        self.conv_s0 = conv_s0
        self.conv_s1 = conv_s1
        self.no_memory_embedding = no_memory_embedding

    def forward(self, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Map pixels [B, 3, side, side] to features [B, C, h, w] and maps of four and two times their size."""
        fine, middle, coarse = self.vision_encoder(pixels).fpn_hidden_states[:3]
        features = coarse + self.no_memory_embedding.reshape(1, -1, 1, 1)
        return features, {"stride_4": self.conv_s0(fine), "stride_8": self.conv_s1(middle)}


class PyramidModel(TransformersModel):
    """A model of SAM 2's kind.

    Where one mask is asked for, the published predictor's rule holds: a single mask whose outline shifts much with the
    threshold gives way to the best of the three. In training mode the single mask answers always, as published
    training has it, and wherever `stability_rule` is false.

    The object score head says whether a prompt's object is in a video's frame. It is kept and written, but neither
    trained nor read: quality is the predicted IoU alone.
    """

    always_padded = True
    largest_logit = LARGEST_LOGIT

    def __init__(self, network: Any, *, preparation: Preparation) -> None:
        decoder = network.mask_decoder
        encoder = PyramidEncoder(network.vision_encoder, decoder.conv_s0, decoder.conv_s1, network.no_memory_embedding)
        score = decoder.pred_obj_score_head
        del decoder.conv_s0, decoder.conv_s1, decoder.pred_obj_score_head
        super().__init__(network.config, encoder, network.prompt_encoder, decoder, preparation=preparation)
        self.object_score_head = as_buffers(score)

    @property
    def embedding_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of one image's features, then of its maps of stride 4 and 8."""
        (height, width), channels = self.mask_size, int(self.network_config.mask_decoder_config.hidden_size)
        return (
            (channels, height // 4, width // 4),
            (channels // 8, height, width),
            (channels // 4, height // 2, width // 2),
        )

    def _image_maps(self, features: Tensor, extra: Maps) -> Maps:
        return extra

    def _answer(self, image: Tensor, positions: Tensor, tokens: Tensor, maps: Maps) -> tuple[Tensor, Tensor]:
        decoder = self.mask_decoder
        own = torch.cat([decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight])
        seen, image = run_two_way(decoder.transformer, own, tokens, image, positions)
        finer = decoder.upscale_conv1(image) + maps["stride_8"]
        finer = decoder.activation(decoder.upscale_layer_norm(finer))
        finer = decoder.activation(decoder.upscale_conv2(finer) + maps["stride_4"])  # [p, C / 8, 4 h, 4 w]
        # The tokens: object score, IoU, the masks.
        masks = hypernetwork_masks(seen[:, 2 : len(own)], decoder.output_hypernetworks_mlps, finer)
        return masks, decoder.iou_prediction_head(seen[:, 1])

    def _single_token(self, logits: Tensor, quality: Tensor) -> Tensor:
        rule = self.network_config.mask_decoder_config
        first = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        if not rule.dynamic_multimask_via_stability or self.training or not self.stability_rule:
            return first
        delta = rule.dynamic_multimask_stability_delta
        inner, outer = ((logits[:, 0] > level).sum((-2, -1)).float() for level in (delta, -delta))
        stability = torch.where(outer > 0, inner / outer, 1.0)
        best = quality[:, 1:].argmax(dim=1) + 1
        return torch.where(stability >= rule.dynamic_multimask_stability_thresh, first, best)


def assembler(model: Callable[..., PyramidModel]) -> Callable[[Any, Preparation], PyramidModel]:
    """Return what makes a model of a network of transformers."""
    return lambda network, preparation: model(network, preparation=preparation)
