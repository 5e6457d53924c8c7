"""Embeddings of a frozen encoder, each made once and shared by training, validation and proof."""

import pytest
import torch
from small import discs, small_recipe, small_training

from segtune.models.embedding_cache import EmbeddingCache
from segtune.runs.embeddings import CachedEmbedder, RememberedEmbedder
from segtune.segment.encoding import encode_image
from segtune.training.loop import train


@pytest.fixture
def encodes(monkeypatch):
    """Return a function that counts a model's calls of its encoder."""

    def count(model):
        calls, encode = [], model.encode

        def counted(pixels, frames):
            calls.append(len(pixels))
            return encode(pixels, frames)

        monkeypatch.setattr(model, "encode", counted)
        return calls

    return count


def test_an_embedding_is_made_once_and_read_as_it_was_made(micro, tmp_path, encodes):
    """The first call and those after it, also of another run, give the same bits and the same frame."""
    data, calls = discs(2), encodes(micro)
    embed = CachedEmbedder(data, EmbeddingCache.for_model(micro, tmp_path))
    with torch.no_grad():
        first, again = (embed(micro, data[1], 1) for _ in range(2))
        later = CachedEmbedder(data, EmbeddingCache.for_model(micro, tmp_path))(micro, data[1], 1)
    assert len(calls) == 1
    for other in (again, later):
        assert torch.equal(first.features, other.features)
        assert first.frames == other.frames == (micro.frame((48, 64)),)


def test_images_are_told_apart(micro, tmp_path, encodes):
    """Each index has an embedding of its own, that of its image."""
    data, calls = discs(3), encodes(micro)
    embed = CachedEmbedder(data, EmbeddingCache.for_model(micro, tmp_path))
    with torch.no_grad():
        for index in (2, 0, 2):
            pixels, frames = micro.prepare([data[index].image])
            expected = micro.image_encoder(pixels)
            torch.testing.assert_close(embed(micro, data[index], index).features, expected, rtol=0, atol=2e-3)
            assert frames == (micro.frame(data[index].size),)
    assert len(calls) == 2


def test_what_training_has_cached_is_not_made_again(tmp_path, encodes):
    """The first view of a training image is the image itself: scoring it reads what training wrote."""
    job = small_training(tmp_path, scope="decoder", images=4, cache=tmp_path / "cache", recipe=small_recipe(epochs=1))
    train(job)
    data, calls = discs(4), encodes(job.model)
    embed = CachedEmbedder(data, EmbeddingCache.for_model(job.model, tmp_path / "cache"))
    for index, sample in enumerate(data):
        embed(job.model, sample, index)
    assert calls == []


@pytest.mark.parametrize(("room", "made"), [(9.0, 3), (2.5, 4), (0.5, 6)])
def test_what_is_remembered_has_a_limit(micro, encodes, room, made):
    """In two passes each image is encoded once where there is room, and the others again; all are right."""
    data, calls = discs(3), encodes(micro)
    with torch.no_grad():
        expected = [encode_image(micro, sample.image).features for sample in data]
        calls.clear()
        embed = RememberedEmbedder(int(room * expected[0].nbytes))
        for _ in range(2):
            for index, sample in enumerate(data):
                assert torch.equal(embed(micro, sample, index).features, expected[index])
    assert len(calls) == made
