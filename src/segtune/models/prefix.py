"""What of an image encoder lies in front of all that trains: it makes the same of an image every time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from segtune.core.errors import ModelError
from segtune.core.geometry import Frame
from segtune.core.types import Embedding
from segtune.models import FAMILIES
from segtune.models.family import PromptableModel, SplitModel


@dataclass(frozen=True)
class FrozenPrefix:
    """The first stages of an image encoder, whose maps are kept in place of images.

    Attributes:
        stages: how many of `encoder_stages`; None: the whole image encoder, whose maps are the embedding.
    """

    stages: int | None = None

    def encode(self, model: PromptableModel, pixels: Tensor, frames: tuple[Frame, ...]) -> dict[str, Tensor]:
        """Return what the prefix makes of B prepared images, as in use: maps by name, each [B, ...]."""
        encoder = model.parts["image_encoder"]
        mode = encoder.training
        # Validation reads what training keeps: nothing random and no statistics of a batch may enter.
        encoder.eval()
        try:
            if self.stages is not None:
                return _split(model).encode_prefix(pixels, self.stages)
            embedding = model.encode(pixels, frames)
        finally:
            encoder.train(mode)
        return {"features": embedding.features, **embedding.extra}

    def finish(self, model: PromptableModel, maps: Mapping[str, Tensor], frames: tuple[Frame, ...]) -> Embedding:
        """Return the embedding of B images from what `encode` made of them; here gradients flow."""
        if self.stages is not None:
            return _split(model).encode_suffix(maps, frames, self.stages)
        extra = {name: value for name, value in maps.items() if name != "features"}
        return Embedding(maps["features"], frames, extra)

    def shapes(self, model: PromptableModel) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of one image's maps, without the batch; nothing is run."""
        if self.stages is not None:
            return _split(model).splits[self.stages]
        return FAMILIES[model.family].embedding_shapes(model)


def frozen_prefix(model: PromptableModel) -> FrozenPrefix | None:
    """Return the longest prefix without a parameter that trains; None where none is worth keeping.

    It is asked of the parameters, so it holds for whatever scope or adapter chose them. The patch embedding alone is
    not worth keeping: it costs less to run than its tokens do to read.
    """
    frozen = frozen_stages(model)
    if frozen == len(model.encoder_stages):
        return FrozenPrefix()
    splits = model.splits if isinstance(model, SplitModel) else {}
    return FrozenPrefix(max(usable)) if (usable := [place for place in splits if 1 < place <= frozen]) else None


def frozen_stages(model: PromptableModel) -> int:
    """Return how many stages of the image encoder, from the first, have no parameter that trains."""
    stages = model.encoder_stages
    own = {id(parameter) for parameter in model.parts["image_encoder"].parameters()}
    training = [name for name, p in model.named_parameters() if p.requires_grad and id(p) in own]
    # What was put into the encoder outside of its stages may act anywhere in it, so already in the first.
    places = [next((place for place, stage in enumerate(stages) if name.startswith(stage)), 0) for name in training]
    return min(places, default=len(stages))


def _split(model: PromptableModel) -> SplitModel:
    if not isinstance(model, SplitModel):
        raise ModelError(f"The image encoder of a {model.family} model cannot be run in two.")
    return model
