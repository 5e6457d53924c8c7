"""What training sees of an image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small import discs, small_recipe, small_training

from segtune.core.geometry import Frame
from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.augment import IDENTITY, AugmentSettings
from segtune.data.dataset import Dataset
from segtune.losses.pseudo_label import pseudo_label
from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO
from segtune.prompts.correction import cells_to_points
from segtune.training.batches import Collate
from segtune.training.examples import ExampleSource, ViewPlan, choose_objects, generator, shrunk, valid_cells
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


def test_an_object_of_which_no_cell_counts_is_never_prompted():
    """Sixteen of its pixels are not ignored, but where no cell holds more of such than of ignored ones."""
    seen, ignored = np.zeros((64, 64), dtype=bool), np.ones((64, 64), dtype=bool)
    ignored[:, :20] = False
    seen[10:30, 5:15] = True
    core = np.zeros((64, 64), dtype=bool)
    core[33:50, 41] = True  # one pixel wide
    ignored &= ~core
    image = np.full((64, 64, 3), 90, np.uint8)
    objects = tuple(RunLengths.encode(mask) for mask in (core, seen))
    one = Sample("a", (64, 64), objects, ("object",) * 2, lambda: image, RunLengths.encode(ignored))
    model = build_sam(MICRO)
    plan = ViewPlan(AugmentSettings.none(), 0)
    (truth,) = ExampleSource(Dataset.of([one]), model.preparation, model.mask_size, plan, small_recipe().prompts)[
        1, 0
    ].truth
    assert truth[:, : truth.shape[1] // 2].sum() > 0


@pytest.mark.parametrize("epoch", range(1, 7))
def test_no_object_that_is_asked_about_is_nothing_to_the_model(epoch):
    """A crack and a speck that fill no cell of the output by half: else an empty mask would be the best answer."""
    crack, speck = np.zeros((600, 800), dtype=bool), np.zeros((600, 800), dtype=bool)
    crack[296:303, 80:700], speck[405:425, 590:610] = True, True
    image = np.full((600, 800, 3), 90, np.uint8)
    one = Sample("a", (600, 800), tuple(map(RunLengths.encode, (crack, speck))), ("thing",) * 2, lambda: image, None)
    model = build_sam(MICRO)
    plan = ViewPlan(AugmentSettings.none() if epoch == 1 else AugmentSettings(), 0)
    source = ExampleSource(Dataset.of([one]), model.preparation, model.mask_size, plan, small_recipe().prompts)
    example = source[epoch, 0]
    assert len(example.truth)
    assert (example.truth > 0.5).any(-1).any(-1).all()


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
        found = job.objective.cache.get(job.objective.cache.key(data.image_hash(index), view.key()))
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


def test_cached_views_come_round_and_are_the_same_in_every_run():
    """The first is the image itself; the others do not depend on the run's seed, so that runs share embeddings."""
    plan, other = ViewPlan(AugmentSettings(), 0, 3), ViewPlan(AugmentSettings(), 9, 3)
    views = [plan.view(epoch, "a", (48, 64)) for epoch in range(1, 7)]
    assert views[:3] == views[3:]
    assert views[0] == IDENTITY
    assert len({view.key() for view in views}) == 3
    assert views == [other.view(epoch, "a", (48, 64)) for epoch in range(1, 7)]


def test_an_encoder_that_trains_sees_another_view_every_epoch():
    """Drawn by seed, epoch and name: none of the three may be left out."""
    plan = ViewPlan(AugmentSettings(), 0)
    views = [
        plan.view(1, "a", (48, 64)), plan.view(2, "a", (48, 64)), plan.view(1, "b", (48, 64)),
        ViewPlan(AugmentSettings(), 1).view(1, "a", (48, 64)),
    ]  # fmt: skip
    assert len({view.key() for view in views}) == 4
    assert plan.view(1, "a", (48, 64)) == views[0]


def test_generators_are_told_apart_by_every_name():
    """Names that read alike when joined are others, and so is another seed; the numbers are those of every machine."""
    drawn = {generator(*names).integers(1 << 40) for names in [(0, "ab", "c"), (0, "a", "bc"), (0, "abc"), (1, "abc")]}
    assert len(drawn) == 4
    assert generator(0, "order", 1).integers(1 << 40) == generator(0, "order", 1).integers(1 << 40)


def test_a_crowd_s_objects_are_drawn_and_empty_ones_never():
    """At most so many, each once, in rising order; of few all are taken whatever the generator gives."""
    (one,) = discs(3).subset(["disc-2"])
    empty = RunLengths.encode(np.zeros((48, 64), dtype=bool))
    sample = replace(one, objects=(empty, *one.objects, empty, *one.objects), labels=("disc",) * 8)
    drawn = [choose_objects(sample, 3, 0.0, np.random.default_rng(seed)) for seed in range(30)]
    assert all(len(set(chosen)) == 3 and chosen == sorted(chosen) for chosen in drawn)
    assert {number for chosen in drawn for number in chosen} == {1, 2, 3, 5, 6, 7}
    assert choose_objects(sample, 6, 0.0, np.random.default_rng(0)) == [1, 2, 3, 5, 6, 7]


def test_a_large_image_is_shrunk_with_its_masks():
    """To the model's side along the longest, a line of one row stays a line; a small image is left alone."""
    image = np.zeros((60, 120, 3), np.uint8)
    masks = np.zeros((2, 60, 120), dtype=bool)
    masks[0, 20:40, 30:90] = True
    masks[1, 10, :] = True  # a third of the pixels it comes to lie in
    image[masks[0]] = 240
    small, fewer, ignore = shrunk(image, masks, masks[0], 40)
    assert small.shape == (20, 40, 3)
    assert fewer.sum(axis=(1, 2)).tolist() == pytest.approx([20 * 60 / 9, 40], abs=20)
    assert small[fewer[0]].mean() > 180
    np.testing.assert_array_equal(ignore, fewer[0])
    kept = shrunk(image, masks, None, 120)
    assert kept[0] is image
    assert kept[2] is None
    assert shrunk(image, masks[:0], None, 40)[1].shape == (0, 20, 40)


def test_cells_of_the_padding_and_of_ignored_pixels_do_not_count():
    """Half an image in a square, its right half ignored: a quarter of the cells is left."""
    frame = Frame.longest_side((32, 64), 64)
    assert valid_cells(None, frame, (16, 16)).sum() == 16 * 8
    ignore = np.zeros((32, 64), dtype=bool)
    ignore[:, 32:] = True
    valid = valid_cells(ignore, frame, (16, 16))
    assert valid[:8, :8].all()
    assert valid.sum() == 64


def test_no_cell_is_clicked_on_an_ignored_pixel():
    """An outline that is ignored, as of VOC, narrower than a cell: where it runs through a cell's middle, it is out."""
    frame = Frame.longest_side((160, 160), 160)
    ignore = np.zeros((160, 160), dtype=bool)
    ignore[32:37] = True  # below the middle of the cells from 32 to 48, which is at 39.5
    ignore[:, 86:91] = True  # through that of those from 80 to 96
    valid = valid_cells(ignore, frame, (10, 10))
    assert valid.sum() == 90
    assert not valid[:, 5].any()
    rows, columns = valid.nonzero(as_tuple=True)
    cells = torch.stack([columns, rows], dim=1) + 0.5
    points = cells_to_points(cells, torch.zeros(90, dtype=torch.int64), (frame,), (10, 10)).round().long()
    assert not ignore[points[:, 1], points[:, 0]].any()


def test_an_image_that_is_cached_is_not_decoded(tmp_path):
    """Its masks alone are warped, and the example is the same but for the pixels."""
    job = small_training(tmp_path, scope="decoder", images=3, cache=tmp_path / "cache")
    source = job.batches.source
    first = source[2, 1]
    source.cache.put(first.key, {"features": torch.ones(2, 2)})

    def fail():
        raise AssertionError("the image was decoded")

    samples = list(source.dataset)
    known = {sample.name: source.dataset.image_hash(row) for row, sample in enumerate(samples)}

    class Unread(Dataset):
        def image_hash(self, index):
            return known[self.names[index]]

    unread = Unread.of(replace(sample, read=fail) for sample in samples)
    again = replace(source, dataset=unread)[2, 1]
    assert first.pixels is not None
    assert again.pixels is None
    assert again.features["features"].float().tolist() == [[1, 1], [1, 1]]
    assert torch.equal(again.truth, first.truth)
    assert torch.equal(again.uniforms, first.uniforms)
    assert [prompt.drawn for prompt in again.prompts] == [prompt.drawn for prompt in first.prompts]


def test_larger_objects_are_chosen_more_often_where_size_weighs():
    """By their side at 0.5: of nine specks and one object 25 times as wide, the latter comes far more often."""
    masks = [np.zeros((60, 60), dtype=bool) for _ in range(10)]
    for number, mask in enumerate(masks):
        mask[number, 0] = True
    masks[4][10:35, 10:35] = True
    sample = Sample("a", (60, 60), tuple(map(RunLengths.encode, masks)), ("object",) * 10, lambda: None)

    def share(weight):
        drawn = [choose_objects(sample, 1, weight, np.random.default_rng(seed)) for seed in range(400)]
        return sum(numbers == [4] for numbers in drawn) / len(drawn)

    assert 0.04 < share(0.0) < 0.16  # 1 in 10
    assert 0.68 < share(0.5) < 0.80  # 25 in 34
    assert share(1.0) > 0.97  # 625 in 634


def asked_of(share, data, *, augment=None, objects=8):
    """Return a source of examples with this share of prompts on the background."""
    model = build_sam(MICRO)
    recipe = small_recipe().prompts.model_copy(update={"negative_share": share, "objects_per_image": objects})
    plan = ViewPlan(augment or AugmentSettings.none(), 0)
    return ExampleSource(data, model.preparation, model.mask_size, plan, recipe)


def test_prompts_on_the_background_have_an_empty_truth():
    """By their share, with a click or a box that touches no object, also none of those that were not chosen."""
    data = discs(24)
    source = asked_of(0.5, data, objects=1)
    negatives = total = 0
    for index in range(len(data)):
        example = source[1, index]
        union = data[index].masks().any(axis=0)
        for prompt, truth in zip(example.prompts, example.truth, strict=True):
            total += 1
            if truth.max() == 0:
                negatives += 1
                assert not any(union[int(y), int(x)] for x, y in prompt.points)
                if prompt.box is not None:
                    x0, y0, x1, y1 = (round(float(value)) for value in prompt.box)
                    assert not union[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].any()
    assert 0.25 * total < negatives < 0.75 * total


def test_without_their_share_nothing_changes():
    """Prompts on objects are the same ones, whether some are given up for the background or not."""
    data = discs(12)
    for augment in (None, AugmentSettings()):
        plain, mixed = (asked_of(share, data, augment=augment) for share in (0.0, 0.4))
        for index in range(len(data)):
            one, other = plain[1, index], mixed[1, index]
            assert len(one.prompts) == len(other.prompts)
            assert (one.truth.flatten(1).amax(1) > 0).all()
            for row, truth in enumerate(other.truth):
                if truth.max() > 0:
                    assert torch.equal(truth, one.truth[row])
                    np.testing.assert_array_equal(one.prompts[row].points, other.prompts[row].points)


def test_an_image_without_objects_is_asked_about_only_with_a_share():
    """It teaches nothing else; where no pixel counts not even that."""
    image = np.full((48, 64, 3), 90, np.uint8)
    empty = Sample("a", (48, 64), (), (), lambda: image)
    ignored = replace(empty, name="b", ignore=RunLengths.encode(np.ones((48, 64), bool)))
    data = Dataset.of([empty, ignored])
    assert [len(asked_of(0.0, data)[1, index].prompts) for index in range(2)] == [0, 0]
    source = asked_of(0.1, data)
    assert [len(source[1, index].prompts) for index in range(2)] == [1, 0]
    assert source[1, 0].truth.shape[0] == len(source[1, 0].uniforms) == 1
    assert source[1, 0].truth.max() == 0


def test_training_with_prompts_on_the_background_runs(tmp_path):
    """Their corrections are clicks off the object, their losses finite."""
    recipe = small_recipe(epochs=1)
    recipe = recipe.model_copy(update={"prompts": recipe.prompts.model_copy(update={"negative_share": 0.5})})
    job = small_training(tmp_path, scope="decoder", cache=tmp_path / "cache", recipe=recipe)
    train(job)
    assert all(torch.isfinite(one).all() for one in job.model.parameters())


def soft_discs(certain: bool = False) -> Dataset:
    """Two images of a disc that is surer in its middle, larger than the model's side as well."""
    found = []
    for number, (height, width) in enumerate([(48, 64), (150, 200)]):
        rows, columns = np.mgrid[:height, :width]
        distance = np.hypot(rows - height / 2, columns - width / 2) / (height / 3)
        likely = np.clip(1.5 - distance, 0, 1).astype(np.float32)
        inside = likely > 0.5
        values = inside.astype(np.float32) if certain else likely
        image = np.full((height, width, 3), 90, np.uint8)
        found.append(
            Sample(
                f"{number}", (height, width), (RunLengths.encode(inside),), ("disc",),
                lambda image=image: image, probabilities=(lambda values=values: values,),
            )
        )  # fmt: skip
    return Dataset.of(found)


@pytest.mark.parametrize("epoch", range(1, 5))
def test_truth_is_the_probability_where_a_sample_has_one(epoch):
    """In every view: between 0 and 1 in many cells, more than at an edge, and by pseudo_label a doubt weighs less."""
    model = build_sam(MICRO)
    plan = ViewPlan(AugmentSettings.none() if epoch == 1 else AugmentSettings(), 0)
    examples = {
        certain: ExampleSource(
            soft_discs(certain), model.preparation, model.mask_size, plan, small_recipe().prompts
        )
        for certain in (False, True)
    }  # fmt: skip
    for index in range(2):
        soft, hard = examples[False][epoch, index], examples[True][epoch, index]
        between = [int(((one.truth > 0.02) & (one.truth < 0.98)).sum()) for one in (soft, hard)]
        assert between[0] > 1.5 * between[1]
        assert [one.drawn for one in soft.prompts] == [one.drawn for one in hard.prompts]
        batch = Collate(model.mask_size)([soft])
        assert ((batch.truth > 0) & (batch.truth < 1)).flatten(1).any(1).all()
        wrong = torch.where(hard.truth > 0.5, -2.0, 2.0)
        losses = [pseudo_label(wrong, one.truth, one.valid[None].expand_as(one.truth)) for one in (soft, hard)]
        assert (losses[0] < 0.95 * losses[1]).all()


def test_certain_probabilities_train_as_masks_do():
    """Of 0 and 1 the truth is that of the masks; in a view of an image that is brought down it is finer at the rim."""
    model = build_sam(MICRO)
    told = soft_discs(certain=True)
    plain = Dataset.of([replace(one, probabilities=None) for one in told])
    plan = ViewPlan(AugmentSettings(), 0)
    sources = [
        ExampleSource(one, model.preparation, model.mask_size, plan, small_recipe().prompts) for one in (told, plain)
    ]
    for epoch in range(1, 5):
        torch.testing.assert_close(sources[0][epoch, 0].truth, sources[1][epoch, 0].truth)
        first, second = (source[epoch, 1].truth for source in sources)
        assert (first - second).abs().mean() < 0.02


def test_known_embeddings_see_the_probability_too(tmp_path):
    """With a cache, whose images are not decoded again."""
    job = small_training(tmp_path, scope="decoder", cache=tmp_path / "cache")
    source = replace(job.batches.source, dataset=soft_discs())
    fresh = source[1, 0]
    with torch.no_grad():
        made = source.cache.prefix.encode(job.model, fresh.pixels[None], (fresh.frame,))
    source.cache.put(fresh.key, {name: value[0] for name, value in made.items()})
    known = source[1, 0]
    assert known.pixels is None
    torch.testing.assert_close(known.truth, fresh.truth)
    assert ((known.truth > 0.1) & (known.truth < 0.4)).any()
