"""Embeddings for validation and proof from the cache training fills: the frozen part of the encoder runs once."""

from __future__ import annotations

from dataclasses import dataclass

from segtune.core.types import Embedding, Sample
from segtune.data.augment import IDENTITY
from segtune.data.dataset import Dataset
from segtune.models.embedding_cache import EmbeddingCache
from segtune.models.family import PromptableModel
from segtune.segment.encoding import encode_image

_MOST_BYTES = 1 << 30
"""Embeddings in memory: of some sixty images for SAM 2, whose fine levels are large, of 256 for SAM."""


@dataclass(frozen=True)
class CachedEmbedder:
    """Begins every model's embedding with the same cached maps: right only for models alike in what the cache holds.

    Attributes:
        dataset: the images, in the order they are asked for.
        cache: of their frozen part: the image encoder or its first stages.
    """

    dataset: Dataset
    cache: EmbeddingCache

    def __call__(self, model: PromptableModel, sample: Sample, index: int) -> Embedding:
        """Return the embedding of image `index` alone."""
        key = self.cache.key(self.dataset.image_hash(index), IDENTITY.key())
        frames = (model.frame(sample.size),)
        maps = self.cache.get(key)
        if maps is None:
            pixels, _ = model.prepare([sample.image])
            made = self.cache.prefix.encode(model, pixels, frames)
            maps = self.cache.put(key, {name: value[0] for name, value in made.items()})
        # As float32 whatever the file holds, and the same whether it was just made or read.
        return self.cache.prefix.finish(model, {name: value[None].float() for name, value in maps.items()}, frames)


class RememberedEmbedder:
    """Holds embeddings of images in memory, made once: right only for models that share one frozen encoder.

    Args:
        limit_bytes: most memory they may take; images that find no room are encoded each time.
    """

    def __init__(self, limit_bytes: int = _MOST_BYTES) -> None:
        self._room = limit_bytes
        self._known: dict[int, Embedding] = {}

    def __call__(self, model: PromptableModel, sample: Sample, index: int) -> Embedding:
        """Return the embedding of image `index` alone."""
        if (known := self._known.get(index)) is not None:
            return known
        made = encode_image(model, sample.image)
        size = sum(one.nbytes for one in (made.features, *made.extra.values()))
        # None is dropped for a newer one: passes see all images in the same order, and would find none of them again.
        if size <= self._room:
            self._known[index] = made
            self._room -= size
        return made
