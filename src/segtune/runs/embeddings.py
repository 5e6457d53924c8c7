"""Embeddings of a frozen image encoder for validation and proof: from the cache training fills, each made once."""

from __future__ import annotations

from dataclasses import dataclass

from segtune.core.types import Embedding, Sample
from segtune.data.augment import IDENTITY
from segtune.data.dataset import Dataset
from segtune.models.embedding_cache import EmbeddingCache
from segtune.models.family import PromptableModel


@dataclass(frozen=True)
class CachedEmbedder:
    """Gives every model the same cached embeddings: right only for models that share one frozen encoder.

    Attributes:
        dataset: the images, in the order they are asked for.
        cache: of that encoder.
    """

    dataset: Dataset
    cache: EmbeddingCache

    def __call__(self, model: PromptableModel, sample: Sample, index: int) -> Embedding:
        """Return the embedding of image `index` alone."""
        key = self.cache.key(self.dataset.image_hash(index), IDENTITY.key())
        found = self.cache.get_embedding(key)
        if found is not None:
            return found
        pixels, frames = model.prepare([sample.image])
        return self.cache.put_embedding(key, model.encode(pixels, frames))
