"""SAM 3's own model, which looks for all that a phrase names, through transformers (extra `hf`).

The phrase says what, the prompt says which: the network finds masks of everything the phrase names, each with a chance
that it is one, and clicks, boxes and masks choose among them. So a prompt costs next to nothing once a phrase was
looked for, as long as the image, the phrase and the weights stay; nothing is found but what the phrase names, and a
click corrects which mask is meant, not its outline.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtune.core.errors import ModelError
from segtune.core.geometry import Frame
from segtune.core.types import POINT_NEGATIVE, POINT_POSITIVE, Embedding, MaskPrediction, Prompts
from segtune.models.decoding import check_mask_prompts, encoder_autocast, in_frame
from segtune.models.family import PromptableModel
from segtune.models.preparation import Preparation
from segtune.models.sam3 import TINY as TRACKER
from segtune.models.sam3 import Sam3VitModel
from segtune.models.tensors import first_line
from segtune.models.transformers_family import BorrowedModel, as_buffers
from segtune.models.transformers_files import Layout, build, draw_weights, family_of, read_folder, write_folder

_MASKS = 3
_LEVELS = 3
"""Of the pyramid, that are read; the published network has one more, and a layer too many to enlarge them."""

_TOKENS: Final = 32
"""Length to which the published code fills every phrase."""

_NO_OVERLAP = 1e-3
"""What an overlap of 0 counts as, so that among masks that all miss a box the likeliest answers."""

_AT_ONCE = 4
"""Images and phrases looked into together where no gradient is kept: 200 masks each, 64 MiB in fp32."""


class PhraseEncoder(nn.Module):
    """From a phrase's tokens to what the detector reads of it.

    The text encoder stays as it was pretrained, whatever trains: one phrase teaches no language, and would spoil the
    others. The projection behind it trains.

    Args:
        text_encoder: CLIP's.
        text_projection: to the detector's width.
    """

    def __init__(self, text_encoder: nn.Module, text_projection: nn.Module) -> None:
        super().__init__()
        self.text_encoder = as_buffers(text_encoder)
        self.text_projection = text_projection

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Map tokens [n, T], of which those in `mask` count, to features [n, T, C]."""
        features: Tensor = self.text_projection(
            self.text_encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        )
        return features


class ConceptDecoder(nn.Module):
    """From features of image and phrase to one mask and chance for each of its queries."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.detr_encoder = network.detr_encoder
        self.detr_decoder = network.detr_decoder
        self.dot_product_scoring = network.dot_product_scoring
        self.mask_decoder = network.mask_decoder
        # No loss reaches them: boxes steer where the next layer looks, without a gradient, and one mask of all that
        # the phrase names is not asked for.
        as_buffers(network.detr_decoder.box_head)
        as_buffers(network.mask_decoder.semantic_projection)
        enlarging = network.mask_decoder.pixel_decoder
        for unused in (*enlarging.conv_layers[_LEVELS - 1 :], *enlarging.norms[_LEVELS - 1 :]):
            as_buffers(unused)

    def forward(
        self, levels: Sequence[Tensor], positions: Tensor, phrase: Tensor, words: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Look for what a phrase names.

        Args:
            levels: features of the image, fine to coarse, each [n, C, h, w].
            positions: of the coarsest, likewise.
            phrase: [n, T, C].
            words: bool [n, T], which of its tokens count.

        Returns:
            Logits [n, queries, h, w] over the finest level, and in fp32 how likely each is what the phrase names, in 0
            to 1 [n, queries].
        """
        seen = self.detr_encoder(
            vision_features=[levels[-1]], text_features=phrase, vision_pos_embeds=[positions], text_mask=words
        )
        found = self.detr_decoder(
            vision_features=seen.last_hidden_state, text_features=seen.text_features,
            vision_pos_encoding=seen.pos_embeds_flattened, text_mask=words, spatial_shapes=seen.spatial_shapes,
        )  # fmt: skip
        queries = found.intermediate_hidden_states[-1:]
        scores = self.dot_product_scoring(
            decoder_hidden_states=queries, text_features=seen.text_features, text_mask=words
        )
        masks = self.mask_decoder(
            decoder_queries=queries[0], backbone_features=list(levels), encoder_hidden_states=seen.last_hidden_state,
            prompt_features=phrase, prompt_mask=words,
        )  # fmt: skip
        chances = scores[0, ..., 0].float().sigmoid() * found.presence_logits[-1].float().sigmoid()
        return masks.pred_masks, chances


class Sam3Concepts(Sam3VitModel, BorrowedModel):
    """SAM 3's detector behind the contract.

    Of its masks those answer that go best with the prompt: by their chance, by their logits under the clicks, and by
    how far they overlap the box and the mask given. Predicted quality is the chance, less where the prompt does not
    fit: a click on the wrong side, an overlap of less than a half, or another mask that fits it better. Training
    teaches the chance to be the IoU. A prompt on what was not found is answered too, by what fits it least badly; in
    training that mask learns the object.

    Its geometry encoder, by which a box means "things like this one", is kept and written, but neither trained nor
    read; likewise the text encoder's weights, the head of its boxes, that of the one mask of all, and the pyramid's
    fourth level. Nothing is dropped out in training: an answer must be that of its prompt alone.

    Attributes:
        tokenizer: transformers' own, which goes with the text encoder.
    """

    family: ClassVar[str] = "sam3_concepts"
    network = "SAM 3"
    backbone = "image_encoder.backbone"
    after = ("image_encoder.neck.",)
    accepts = frozenset({"points", "boxes", "masks", "text"})
    ranked = True
    tokenizer: Any = None

    def __init__(self, network: Any, *, preparation: Preparation) -> None:
        for layer in network.vision_encoder.neck.fpn_layers[_LEVELS:]:
            as_buffers(layer)
        phrases = PhraseEncoder(network.text_encoder, network.text_projection)
        super().__init__(
            network.config, network.vision_encoder, phrases, ConceptDecoder(network), preparation=preparation
        )
        self.geometry_encoder = as_buffers(network.geometry_encoder)
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        self._known = _Known()

    @property
    def side(self) -> int:
        """Side of the square input in pixels."""
        return int(self.network_config.vision_config.image_size)

    @property
    def mask_size(self) -> tuple[int, int]:
        """(h, w) of the logits over the square: four cells to a token."""
        return 4 * self._grid, 4 * self._grid

    @property
    def embedding_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of one image's coarsest level, then of those four and two times as large."""
        width, grid = int(self.network_config.vision_config.fpn_hidden_size), self._grid
        return (width, grid, grid), (width, 4 * grid, 4 * grid), (width, 2 * grid, 2 * grid)

    def encode(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Embedding:
        """Run the image encoder on what `prepare` returned; all maps are float32."""
        with encoder_autocast(self, self._encoder_device):
            fine, middle, coarse = self.image_encoder(pixels.to(self._encoder_device)).fpn_hidden_states[:_LEVELS]
        return Embedding(coarse.float(), frames, {"stride_4": fine.float(), "stride_8": middle.float()})

    def decode(self, embedding: Embedding, prompts: Prompts, multimask: Tensor) -> MaskPrediction:
        """Answer P prompts on B images in one call; the contract is that of `PromptableModel.decode`.

        A prompt looks for its own text, and without one for the model's phrase.
        """
        check_mask_prompts(self, prompts)
        device, frames = self._encoder_device, embedding.frames
        prompts, multimask = prompts.to(device), multimask.to(device)
        asked: dict[tuple[int, str], list[int]] = {}
        for row, image in enumerate(prompts.image_index.tolist()):
            phrase = (prompts.text[row] if prompts.text is not None else None) or self.phrase
            asked.setdefault((image, phrase), []).append(row)
        slots = _MASKS if bool(multimask.any()) else 1
        logits = [embedding.features.new_zeros(0, slots, *self.mask_size, device=device)]
        quality = [logits[0][..., 0, 0]]
        lookups = list(asked)
        # With gradients the graph would hold them all at once anyhow.
        at_once = max(1, len(lookups)) if torch.is_grad_enabled() else _AT_ONCE
        for start in range(0, len(lookups), at_once):
            some = lookups[start : start + at_once]
            for one, masks, chances in zip(some, *self._look(embedding, some), strict=True):
                rows = torch.tensor(asked[one], device=device)
                order, fit = self._choose(masks, chances, prompts.select(rows), frames, slots)
                present = multimask[rows, None] | (torch.arange(slots, device=device) == 0)
                logits.append(masks[order] * present[..., None, None])
                quality.append((chances[order] * fit).masked_fill(~present, float("-inf")))
        back = torch.tensor(
            [row for rows in asked.values() for row in rows], dtype=torch.int64, device=device
        ).argsort()
        return MaskPrediction(torch.cat(logits)[back], torch.cat(quality)[back], prompts.image_index, frames)

    def _look(self, embedding: Embedding, lookups: Sequence[tuple[int, str]]) -> tuple[Tensor, Tensor]:
        """Look for phrases on images: logits [n, queries, h, w], and chances [n, queries]."""
        if torch.is_grad_enabled():
            return self._look_anew(embedding, lookups)
        # Many clicks on one image ask for the same phrase, in everything mode a thousand.
        device = self._encoder_device
        versions = [value._version for part in (self.prompt_encoder, self.mask_decoder) for value in _tensors(part)]
        state = (device, torch.is_autocast_enabled(device.type), versions)
        found = self._known.get(embedding.features, state, lookups)
        return found or self._known.put(embedding.features, state, lookups, self._look_anew(embedding, lookups))

    def _look_anew(self, embedding: Embedding, lookups: Sequence[tuple[int, str]]) -> tuple[Tensor, Tensor]:
        like = self.prompt_encoder.text_projection.weight
        given = tokenize(self.tokenizer, [phrase for _, phrase in lookups]).to(like.device)
        words = given["attention_mask"].bool()
        phrases = self.prompt_encoder(given["input_ids"], given["attention_mask"])
        images = torch.tensor([image for image, _ in lookups], device=like.device)
        levels = [embedding.extra["stride_4"], embedding.extra["stride_8"], embedding.features]
        levels = [level.to(like)[images] for level in levels]
        positions = self.image_encoder.neck.position_encoding(levels[-1].shape, like.device, like.dtype)
        found: tuple[Tensor, Tensor] = self.mask_decoder(levels, positions, phrases, words)
        return found

    @torch.no_grad()
    def _choose(
        self, masks: Tensor, chances: Tensor, prompts: Prompts, frames: tuple[Frame, ...], slots: int
    ) -> tuple[Tensor, Tensor]:
        """Choose among the masks of one image and phrase for p prompts.

        Args:
            masks: logits [queries, h, w].
            chances: [queries].
            prompts: p of them.
            frames: of all images.
            slots: how many masks answer.

        Returns:
            int64 [p, slots], the best first, and [p, slots] how well each fits its prompt, in 0 to 1.
        """
        masks = masks.float()
        inside = masks > 0
        points, boxes = (places * (masks.shape[-1] / self.side) for places in in_frame(prompts, frames))
        labels = prompts.point_labels
        clicked = (labels == POINT_POSITIVE) | (labels == POINT_NEGATIVE)
        x, y = (points + 0.5 * masks.shape[-1] / self.side).long().clamp(0, masks.shape[-1] - 1).unbind(-1)
        under = masks[:, y, x].permute(1, 2, 0)  # [p, K, queries]
        signed = torch.where((labels == POINT_POSITIVE)[..., None], under, -under)
        clicks = F.logsigmoid(signed) * clicked[..., None]  # [p, K, queries]
        overlaps = _box_iou(boxes, _tight_boxes(inside)).clamp(min=_NO_OVERLAP).log() * prompts.has_box[:, None]
        fits = torch.cat([clicks, overlaps[:, None]], dim=1)
        own = prompts.has_mask.nonzero().flatten()
        if prompts.mask_logits is not None and len(own):
            drawn = _mask_iou(prompts.mask_logits[own] > 0, inside).clamp(min=_NO_OVERLAP).log()
            fits = torch.cat(
                [fits, fits.new_zeros(len(labels), 1, len(masks)).index_copy(0, own, drawn[:, None])], dim=1
            )
        agreement = fits.sum(dim=1)
        order = (agreement + chances.float().log()).topk(slots).indices
        # The same factor for all three, so that the best stays the best.
        best = fits.gather(2, order[:, None, :1].expand(-1, fits.shape[1], -1))[..., 0]
        misfit = (best + math.log(2)).clamp(max=0).sum(dim=1, keepdim=True)
        agreement = agreement.gather(1, order)
        return order, (misfit + (agreement - agreement[:, :1]).clamp(max=0)).exp()


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


class _Known:
    """What was looked for last, as long as image and weights are the same; a copy of the model begins without."""

    def __init__(self) -> None:
        self._features: weakref.ref[Tensor] | None = None
        self._key: tuple[object, ...] = ()
        self._found: tuple[Tensor, Tensor] | None = None

    def __deepcopy__(self, memo: object) -> _Known:
        return _Known()

    def __reduce__(self) -> tuple[type[_Known], tuple[()]]:
        return _Known, ()

    def get(self, features: Tensor, *key: object) -> tuple[Tensor, Tensor] | None:
        """Return what was found for the very same tensor of features and an equal key; None where it was not."""
        same = self._features is not None and self._features() is features and self._key == key
        return self._found if same else None

    def put(
        self, features: Tensor, state: object, lookups: object, found: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Keep what was found in the place of what was before."""
        self._features, self._key, self._found = weakref.ref(features), (state, lookups), found
        return found


def tokenize(tokenizer: Any, phrases: Sequence[str]) -> Any:
    """Return the tokens and the mask of n phrases as the published model wants them, each int64 [n, 32]."""
    return tokenizer(list(phrases), return_tensors="pt", padding="max_length", max_length=_TOKENS, truncation=True)


def _tight_boxes(inside: Tensor) -> Tensor:
    """Return the tight boxes of masks, bool [n, h, w]: float [n, 4], all 0 of an empty one."""
    sides = []
    for along in (inside.any(dim=1), inside.any(dim=2)):  # columns, rows
        first = along.float().argmax(dim=1)
        last = along.shape[1] - along.flip(1).float().argmax(dim=1)
        sides.append(torch.stack([first, torch.where(along.any(dim=1), last, 0)], dim=1).float())
    columns, rows = sides
    return torch.stack([columns[:, 0], rows[:, 0], columns[:, 1], rows[:, 1]], dim=1)


def _box_iou(given: Tensor, found: Tensor) -> Tensor:
    """Return the IoU of boxes [p, 4] and [n, 4], as [p, n]."""
    low = torch.maximum(given[:, None, :2], found[:, :2])
    high = torch.minimum(given[:, None, 2:], found[:, 2:])
    common = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=-1) for boxes in (given, found)]
    return common / (areas[0][:, None] + areas[1] - common).clamp(min=1e-6)


def _mask_iou(given: Tensor, found: Tensor) -> Tensor:
    """Return the IoU of masks [p, h, w] and [n, h, w], bool, as [p, n]."""
    one, other = given.flatten(1).float(), found.flatten(1).float()
    # Mixed precision would round how many pixels there are.
    with torch.autocast(given.device.type, enabled=False):
        common = one @ other.T
    return common / (one.sum(dim=1)[:, None] + other.sum(dim=1) - common).clamp(min=1)


LAYOUT = Layout(
    network="SAM 3",
    model_type="sam3",
    opened=("sam3_video",),
    network_class="Sam3Model",
    config_class="Sam3Config",
    processor_class="Sam3ImageProcessor",
    usual=Preparation.to_both_signs,
    assemble=lambda network, preparation: Sam3Concepts(network, preparation=preparation),
    renamed=(
        ("image_encoder.", "vision_encoder."),
        ("prompt_encoder.", ""),
        ("mask_decoder.", ""),
    ),
    set_aside=(r"tracker_(model|neck)\.",),
    moved=(("detector_model.", ""),),
    within="detector_config",
    parts=(
        "vision_config",
        "text_config",
        "geometry_encoder_config",
        "detr_encoder_config",
        "detr_decoder_config",
        "mask_decoder_config",
    ),
    side_of=lambda made: int(made.vision_config.image_size),
)


def _read(folder: Path, preparation: Preparation | None) -> Sam3Concepts:
    model = cast("Sam3Concepts", read_folder(LAYOUT, folder, preparation))
    import transformers

    try:
        # Where no file of words is there, transformers makes a tokenizer that knows none.
        if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
            raise FileNotFoundError("neither tokenizer.json nor vocab.json is there")
        model.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # of many kinds, by what is missing or damaged
        raise ModelError(
            f"{folder} holds SAM 3 but no tokenizer that can be opened ({first_line(error)}). Copy the tokenizer's "
            "files (tokenizer.json, tokenizer_config.json) of the published model into it."
        ) from error
    return model


def _write(model: PromptableModel, folder: Path, dtype: torch.dtype) -> None:
    cast("Sam3Concepts", model).tokenizer.save_pretrained(folder)
    write_folder(LAYOUT, model, folder, dtype)


_WORDS = ("!", *"dgo", "d</w>", "g</w>", "o</w>", "do", "dog</w>", "<|startoftext|>", "<|endoftext|>")

TINY = {
    "vision_config": TRACKER["vision_config"],
    "text_config": {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": len(_WORDS),
        "max_position_embeddings": _TOKENS,
        "projection_dim": 16,
        "bos_token_id": len(_WORDS) - 2,
        "eos_token_id": len(_WORDS) - 1,
    },
    **{
        f"{part}_config": {"hidden_size": 32, "num_attention_heads": 2, "num_layers": 1, "intermediate_size": 32}
        for part in ("geometry_encoder", "detr_encoder")
    },
    "detr_decoder_config": {
        "hidden_size": 32,
        "num_attention_heads": 2,
        "num_layers": 2,
        "intermediate_size": 32,
        "num_queries": 12,
    },
    "mask_decoder_config": {"hidden_size": 32, "num_attention_heads": 2},
}
"""The tracker's image encoder, two layers of queries and a vocabulary of one word, for tests."""


def tiny(generator: torch.Generator) -> Sam3Concepts:
    """Return a random model for tests, which looks for "dog"."""
    model = cast("Sam3Concepts", draw_weights(build(LAYOUT, TINY), generator))
    with torch.no_grad():  # masks that differ from each other under a click
        model.mask_decoder.mask_decoder.mask_embedder.layers[2].weight.mul_(50)
    import transformers

    merges: Any = [("d", "o"), ("do", "g</w>")]  # pairs, whatever its signature says
    vocabulary = {word: number for number, word in enumerate(_WORDS)}
    model.tokenizer = transformers.CLIPTokenizer(vocabulary, merges, model_max_length=_TOKENS)
    model.phrase = "dog"
    return model


SAM3_CONCEPTS = replace(family_of(LAYOUT, Sam3Concepts, tiny), read_folder=_read, write_folder=_write)
"""SAM 3 by phrases behind the contract of `models.family`."""
