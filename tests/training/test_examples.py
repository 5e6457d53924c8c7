"""What training sees of an image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import discs, small_recipe, small_training

from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.augment import AugmentSettings
from segtune.data.dataset import Dataset
from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO
from segtune.training.examples import ExampleSource, ViewPlan
from segtune.training.loop import train


def test_an_object_that_is_ignored_is_never_prompted():
    """Of two objects the one under the ignored band gets no prompt: a click there would teach that it means nothing."""
    inside, ignored = np.zeros((48, 64), dtype=bool), np.zeros((48, 64), dtype=bool)
    inside[10:30, 5:25], ignored[:, 40:] = True, True
    hidden = np.zeros((48, 64), dtype=bool)
    hidden[10:30, 42:60] = True
    image = np.full((48, 64, 3), 90, np.uint8)
    objects = tuple(RunLengths.encode(mask) for mask in (hidden, inside))
    one = Sample("a", (48, 64), objects, ("object",) * 2, lambda: image, RunLengths.encode(ignored))
    model = build_sam(MICRO)
    source = ExampleSource(
        Dataset.of([one]), model.preparation, model.mask_size, ViewPlan(AugmentSettings.none(), 0),
        small_recipe().prompts,
    )  # fmt: skip
    example = source[1, 0]
    assert len(example.prompts) == len(example.truth) == 1
    assert (example.truth[0] * example.valid).sum() > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_cached_embeddings_are_of_the_encoders_own_precision(tmp_path, precision):
    """The loop's mixed precision never reaches the cache: an fp32 run may find what a bf16 run left there."""
    recipe = small_recipe(epochs=1)
    recipe = recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"precision": precision})})
    job = small_training(tmp_path, scope="decoder", cache=tmp_path / "cache", recipe=recipe)
    train(job)
    data = discs(10)
    for index in range(3):
        view = job.batches.source.plan.view(1, data[index].name, data[index].size)
        found = job.cache.get(job.cache.key(data.image_hash(index), view.key()))
        pixels, frames = job.model.prepare([data[index].image])
        with torch.no_grad():
            expected = job.model.encode(pixels, frames).features[0]
        torch.testing.assert_close(found["features"].float(), expected.half().float(), rtol=0, atol=2e-3)


def test_few_objects_are_asked_about_several_times():
    """An image of one object gets as many prompts as the recipe says, each its own; a crowd gets one each."""
    model = build_sam(MICRO)
    recipe = small_recipe().prompts.model_copy(update={"prompts_per_object": 3, "objects_per_image": 4})
    once = recipe.model_copy(update={"prompts_per_object": 1})
    many, single = (
        ExampleSource(discs(6), model.preparation, model.mask_size, ViewPlan(AugmentSettings.none(), 0), each)
        for each in (recipe, once)
    )
    assert [len(many[1, index].prompts) for index in range(3)] == [3, 4, 3]  # of one, two and three objects
    example, plain = many[1, 0], single[1, 0]
    assert len(example.uniforms) == len(example.truth) == 3
    assert (example.truth == example.truth[0]).all()
    assert example.prompts[0].drawn == plain.prompts[0].drawn
    assert (example.uniforms[0] == plain.uniforms[0]).all()
    assert (example.uniforms[1] != example.uniforms[2]).any()
