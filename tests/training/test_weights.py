"""How much each object counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import small_recipe, small_training

from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.dataset import Dataset
from segtune.training.batches import Collate
from segtune.training.objective import Sums
from segtune.training.recipe import LossRecipe, PromptRecipe
from segtune.training.step import RoundLoss, accumulate_gradients
from segtune.training.weights import weigh_objects

PLAIN = PromptRecipe()


def sample(name: str, *objects: tuple[str, int]) -> Sample:
    """An image of 40 × 40 with squares: label and side of each."""
    masks = []
    for _, side in objects:
        mask = np.zeros((40, 40), dtype=bool)
        mask[:side, :side] = True
        masks.append(RunLengths.encode(mask))
    labels = tuple(label for label, _ in objects)
    return Sample(name, (40, 40), tuple(masks), labels, lambda: np.zeros((40, 40, 3), np.uint8))


@pytest.fixture
def cells():
    """Nine round cells of side 20 and a rare one of side 5, on ten images."""
    return Dataset.of([*(sample(str(n), ("common", 20)) for n in range(9)), sample("9", ("rare", 5))])


def by_label(dataset: Dataset, **loss) -> dict[str, float]:
    weights = weigh_objects(dataset, LossRecipe(**loss), PLAIN)
    return {one.labels[0]: float(weights.of(one, [0])[0]) for one in dataset}


def test_without_a_wish_there_are_no_weights(cells):
    """The default reads no mask and weighs nothing."""
    assert weigh_objects(cells, LossRecipe(), PLAIN) is None


def test_balanced_labels_count_alike_in_all(cells):
    """Nine of one and one of another: each label has half of the whole weight, and the mean is 1."""
    found = by_label(cells, balance="label")
    assert found["rare"] == pytest.approx(9 * found["common"])
    assert (9 * found["common"] + found["rare"]) / 10 == pytest.approx(1)
    assert found["rare"] == pytest.approx(5)
    half = by_label(cells, balance="root_label")
    assert half["rare"] == pytest.approx(3 * half["common"])


def test_small_objects_count_by_their_side_or_area(cells):
    """A quarter as long weighs four or sixteen times as much."""
    side, area = by_label(cells, small_objects=0.5), by_label(cells, small_objects=1.0, heaviest=100)
    assert side["rare"] == pytest.approx(4 * side["common"])
    assert area["rare"] == pytest.approx(16 * area["common"])
    assert (9 * area["common"] + area["rare"]) / 10 == pytest.approx(1)


def test_none_counts_more_than_so_many_times_the_average(cells):
    """What is cut off is shared out again, so that the mean stays 1; a limit of one makes all alike."""
    for limit in (2.0, 3.0):
        found = by_label(cells, small_objects=1.0, heaviest=limit)
        assert (9 * found["common"] + found["rare"]) / 10 == pytest.approx(1)
        assert found["rare"] == pytest.approx(limit)
    assert by_label(cells, small_objects=1.0, heaviest=1.0) == pytest.approx({"common": 1, "rare": 1})


def test_the_mean_is_over_prompts_as_they_are_asked():
    """An image of forty objects is asked about eight: its crowd does not set the average alone."""
    crowd = sample("crowd", *[("cell", 4)] * 40)
    lone = sample("lone", ("disc", 30))
    weights = weigh_objects(Dataset.of([crowd, lone]), LossRecipe(balance="label"), PLAIN)
    cell, disc = float(weights.of(crowd, [0])[0]), float(weights.of(lone, [0])[0])
    assert (8 * cell + disc) / 9 == pytest.approx(1)
    assert disc == pytest.approx(8 * cell)


def test_a_label_nobody_met_is_as_rare_as_the_rarest(cells):
    """A survey of some images may not meet every label."""
    weights = weigh_objects(cells, LossRecipe(balance="label"), PLAIN)
    strange = sample("new", ("unheard of", 10))
    assert float(weights.of(strange, [0])[0]) == pytest.approx(float(weights.of(cells[9], [0])[0]))


def test_data_without_objects_have_no_weights():
    """Nothing to weigh is no error here; that there is nothing to learn from is told elsewhere."""
    assert weigh_objects(Dataset.of([sample("a")]), LossRecipe(balance="label"), PLAIN) is None


def test_a_weight_scales_an_objects_gradient_and_batches_still_add_up(tmp_path):
    """Twice the weight is twice the gradient, and two batches give the gradient of one, weights and all."""
    recipe = small_recipe(loss=LossRecipe(small_objects=0.5))
    job = small_training(tmp_path, recipe=recipe)
    source = job.batches.source
    source = type(source)(**vars(source) | {"weights": weigh_objects(source.dataset, recipe.loss, recipe.prompts)})
    collate = Collate(source.mask_size)
    whole, parts = collate([source[1, 1], source[1, 2]]), [collate([source[1, index]]) for index in (1, 2)]
    assert len(set(whole.weights.tolist())) > 1

    def gradient(*batches):
        sums = Sums()
        for batch in batches:
            sums.add(accumulate_gradients(
                job.model, batch, RoundLoss(recipe.prompts, recipe.loss), objects=len(whole.prompts), pause=0.3,
                cache=None, precision="fp32",
            ))  # fmt: skip
        found = torch.cat([p.grad.flatten() for p in job.model.parameters() if p.grad is not None])
        job.model.zero_grad(set_to_none=True)
        return sums, found

    together, expected = gradient(whole)
    apart, summed = gradient(*parts)
    torch.testing.assert_close(summed, expected, rtol=1e-3, atol=1e-6)
    assert apart.means() == pytest.approx(together.means(), rel=1e-4)
    heavier, doubled = gradient(type(whole)(**vars(whole) | {"weights": 2 * whole.weights}))
    torch.testing.assert_close(doubled, 2 * expected, rtol=1e-3, atol=1e-6)
    assert heavier.means()["loss"] == pytest.approx(2 * together.means()["loss"], rel=1e-4)
    assert heavier.means()["mask_loss"] == pytest.approx(together.means()["mask_loss"], rel=1e-4)
