"""From the order of training to batches: the same ones wherever an epoch is entered and however it is shared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import discs, small_recipe, small_training

from segtune.core.errors import MissingExtraError, ResourceError
from segtune.core.rle import RunLengths
from segtune.data.dataset import Dataset
from segtune.data.images import UnreadableError
from segtune.training.batches import BatchSource, Collate, Order, gather_maps
from segtune.training.processes import Processes


@pytest.fixture
def source(tmp_path):
    """Examples of ten images with discs, two objects of each at most."""
    return small_training(tmp_path).batches.source


def _contents(batch):
    """All that tells whether two batches are the same."""
    numbers = (batch.pixels, batch.missing, batch.truth, batch.valid, batch.uniforms)
    prompts = (batch.prompts.image_index, batch.prompts.points, batch.prompts.boxes)
    return [value.tolist() for value in (*numbers, *prompts)]


def test_an_epoch_entered_in_its_middle_goes_on_as_it_would_have(source):
    """A resumed run gets the very batches that are left, step by step."""
    batches = BatchSource(source, small_recipe(), Processes())
    whole, rest = list(batches.epoch(2)), list(batches.epoch(2, first_step=1))
    assert (len(whole), len(rest)) == (3, 2)
    for step, other in zip(whole[1:], rest, strict=True):
        assert [_contents(batch) for batch in step] == [_contents(batch) for batch in other]
    assert list(batches.epoch(2, first_step=3)) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_a_long_epoch_is_not_listed_before_it_begins(source, monkeypatch, workers):
    """Of an epoch of a million steps no more is looked up than is read ahead, wherever it is entered."""
    listed, real = [], Order.step
    monkeypatch.setattr(Order, "step", lambda self, *where: listed.append(where[1]) or real(self, *where))
    recipe = small_recipe(epochs=1, epoch_steps=1_000_000, workers=workers)
    first = next(BatchSource(source, recipe, Processes()).epoch(1, first_step=300_000))
    assert len(first) == 2
    assert set(listed) <= set(range(300_000, 300_010))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    "error",
    [
        UnreadableError(Path("a.jpg"), "it is cut off", "Replace it."),
        MissingExtraError("pydicom", "data", "Reading DICOM"),
        ResourceError("no room"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_image_that_cannot_be_read_is_told_as_what_it_is(source, workers, error):
    """In whatever process it was read, the error is the one that arose, with its words and exit code."""

    def fail():
        raise error

    samples = [replace(one, read=fail) if one.name == "disc-2" else one for one in discs(4)]
    batches = BatchSource(replace(source, dataset=Dataset.of(samples)), small_recipe(workers=workers), Processes())
    with pytest.raises(type(error)) as caught:
        list(batches.epoch(1))
    assert str(caught.value) == str(error)
    assert vars(caught.value) == vars(error)


def test_a_process_without_an_image_still_takes_the_step(source):
    """Of ten images the last step has two: the third process gets it empty, for the sums that all of them make."""
    steps = [list(BatchSource(source, small_recipe(), Processes(rank, 3)).epoch(1)) for rank in range(3)]
    assert [[sum(len(batch.frames) for batch in step) for step in own] for own in steps] == [
        [2, 2, 1], [1, 1, 1], [1, 1, 0],
    ]  # fmt: skip
    assert steps[2][2] == []


def test_prompts_are_joined_with_their_own_image(source):
    """Each prompt names its image's place, and brings that image's truth and valid cells, whatever their number."""
    samples = list(discs(3))
    band = torch.zeros(48, 64, dtype=torch.bool)
    band[:20] = True
    samples[1] = replace(samples[1], objects=(), labels=())
    samples[2] = replace(samples[2], ignore=RunLengths.encode(band.numpy()))
    source = replace(source, dataset=Dataset.of(samples))
    examples = [source[1, index] for index in range(3)]
    batch = Collate(source.mask_size)(examples)
    assert batch.prompts.image_index.tolist() == [0] + [2] * len(examples[2].prompts)
    for row, image in enumerate(batch.prompts.image_index.tolist()):
        assert torch.equal(batch.valid[row], examples[image].valid)
    assert not torch.equal(batch.valid[0], batch.valid[-1])
    assert torch.equal(batch.truth[1:], examples[2].truth)
    assert torch.equal(batch.uniforms[:1], examples[0].uniforms)


def test_only_images_without_an_embedding_bring_pixels(source):
    """Their places in the batch are told; a batch whose embeddings are all cached has no pixels."""
    examples = [source[1, index] for index in range(4)]
    for place in (0, 2):
        examples[place] = replace(examples[place], pixels=None, features={"features": torch.zeros(1)}, key=str(place))
    batch = Collate(source.mask_size)(examples)
    assert batch.missing.tolist() == [1, 3]
    assert torch.equal(batch.pixels, torch.stack([examples[1].pixels, examples[3].pixels]))
    assert batch.keys == ("0", None, "2", None)
    cached = Collate(source.mask_size)([examples[0], examples[2]])
    assert (cached.missing.tolist(), cached.pixels.numel(), len(cached.frames)) == ([], 0, 2)


def test_maps_made_and_read_stand_in_the_batch_s_order(source):
    """Each image gets its own maps, all of them by name, in full precision whatever the cache holds."""

    def maps(number):
        return {"features": torch.full((2, 3, 3), float(number)), "early": torch.full((1,), 10.0 + number)}

    examples = [source[1, index] for index in range(3)]
    cached = {name: value.half() for name, value in maps(1).items()}
    examples[1] = replace(examples[1], pixels=None, features=cached)
    batch = Collate(source.mask_size)(examples)
    found = gather_maps({0: maps(0), 2: maps(2)}, batch, "cpu")
    assert found["features"][:, 0, 0, 0].tolist() == [0, 1, 2]
    assert found["early"].flatten().tolist() == [10, 11, 12]
    assert found["features"].dtype == torch.float32
    assert (found["features"].shape, set(found)) == ((3, 2, 3, 3), {"features", "early"})
