"""The gradient of one batch: what is minimised, what is clicked, and that going backward in pieces changes nothing."""

from __future__ import annotations

import pytest
import torch
from small import small_recipe, small_training

from segtune.core.geometry import Frame
from segtune.core.types import MaskPrediction, Prompts
from segtune.losses.mixture import Mixture
from segtune.rollout import Round, rollout
from segtune.training.batches import Collate
from segtune.training.objective import Sums
from segtune.training.recipe import LossRecipe, PromptRecipe
from segtune.training.step import PromptedMasks, RandomCorrector, RoundLoss, accumulate_gradients, encode_batch

FRAME = Frame.longest_side((48, 64), 64)
"""One pixel of the image is one of the square, two are a cell of the maps below."""

PLAIN = PromptRecipe()


def _maps(*squares):
    """Return bool [P, 32, 32] with a square of eight cells at each place."""
    maps = torch.zeros(len(squares), 32, 32, dtype=torch.bool)
    for row, (top, left) in enumerate(squares):
        maps[row, top : top + 8, left : left + 8] = True
    return maps


def _prediction(logits, quality):
    return MaskPrediction(logits, quality, torch.zeros(len(logits), dtype=torch.int64), (FRAME,))


# ---- sums


def test_sums_do_not_depend_on_how_objects_are_shared_out():
    """Means are per object, not per batch; what only one batch has counts too."""
    sums = Sums()
    for one in (Sums(1, {"loss": 2.0}), Sums(3, {"loss": 2.0, "iou": 3.0}), Sums()):
        sums.add(one)
    assert sums.means() == {"loss": 1.0, "iou": 0.75}
    assert Sums().means() == {}


# ---- the objective


@pytest.fixture
def three():
    """Three masks of two objects, of which the second is right for the first and the third for the second object."""
    truth = _maps((4, 4), (12, 12)).float()
    masks = torch.stack([torch.stack([_maps(at)[0] for at in row]) for row in (
        [(5, 8), (4, 4), (16, 4)], [(0, 0), (14, 14), (12, 12)],
    )])  # fmt: skip
    logits = (masks.float() * 8 - 4).requires_grad_()
    quality = torch.tensor([[0.9, 0.2, 0.4], [0.1, 0.5, 1.0]], requires_grad=True)
    return _prediction(logits, quality), truth, torch.ones_like(truth, dtype=torch.bool)


def test_of_three_masks_the_one_of_least_loss_goes_backward(three):
    """Not the one of highest predicted quality, and no average: the other masks' logits get no gradient at all."""
    prediction, truth, valid = three
    losses, terms = RoundLoss(PLAIN, LossRecipe(quality=0.0)).of_round(prediction, truth, valid)
    losses.sum().backward()
    moved = prediction.logits.grad.flatten(2).abs().sum(-1) > 0
    assert moved.tolist() == [[False, True, False], [False, False, True]]
    best = prediction.logits.detach()[[0, 1], [1, 2]]
    expected = Mixture(LossRecipe().weights)(best, truth, valid)
    torch.testing.assert_close(losses.detach(), expected)
    torch.testing.assert_close(terms["mask_loss"], expected)


def test_the_quality_head_learns_from_every_mask(three):
    """Each against its own IoU, the mean over an object's masks; no gradient reaches the masks by this way."""
    prediction, truth, valid = three
    plain, _ = RoundLoss(PLAIN, LossRecipe(quality=0.0)).of_round(prediction, truth, valid)
    weighed, terms = RoundLoss(PLAIN, LossRecipe(quality=0.5)).of_round(prediction, truth, valid)
    inside, object_ = prediction.logits > 0, truth[:, None] > 0.5
    actual = (inside & object_).sum((2, 3)) / (inside | object_).sum((2, 3))
    expected = (prediction.quality.detach() - actual).square().mean(dim=1)
    torch.testing.assert_close(terms["quality_loss"], expected)
    torch.testing.assert_close((weighed - plain).detach(), 0.5 * expected)
    (gradient,) = torch.autograd.grad((weighed - plain).sum(), prediction.quality)
    torch.testing.assert_close(gradient, 0.5 * 2 / 3 * (prediction.quality.detach() - actual))


def test_masks_that_do_not_exist_count_for_nothing(three):
    """A prompt that was answered with one mask is scored on that one, whatever fills the other places."""
    prediction, truth, valid = three
    with torch.no_grad():
        prediction.quality[0, 1:] = -torch.inf
        prediction.logits[0, 1:] = torch.nan
    losses, terms = RoundLoss(PLAIN, LossRecipe()).of_round(prediction, truth, valid)
    losses.sum().backward()
    first = prediction.logits.detach()[:1, 0]
    torch.testing.assert_close(terms["mask_loss"][:1], Mixture(LossRecipe().weights)(first, truth[:1], valid[:1]))
    shared = 7 * 4  # rows and columns that the first mask and the object have in common
    torch.testing.assert_close(terms["quality_loss"][0], torch.tensor((0.9 - shared / (128 - shared)) ** 2))
    assert prediction.logits.grad.isfinite().all()
    assert (prediction.logits.grad[0, 1:] == 0).all()
    assert prediction.quality.grad[0].isfinite().all()


def test_ignored_cells_teach_nothing(three):
    """Neither the masks nor their IoU change by what lies there."""
    prediction, truth, valid = three
    valid[:, :, 20:] = False
    losses, _ = RoundLoss(PLAIN, LossRecipe()).of_round(prediction, truth, valid)
    with torch.no_grad():
        prediction.logits[..., 20:] = 9
        truth[..., 20:] = 0
    spoiled, _ = RoundLoss(PLAIN, LossRecipe()).of_round(prediction, truth, valid)
    torch.testing.assert_close(spoiled.detach(), losses.detach(), rtol=0, atol=0)


# ---- correction clicks


def _round(number, predicted):
    count = len(predicted)
    none = torch.zeros(count, dtype=torch.bool)
    prompts = Prompts(
        torch.zeros(count, dtype=torch.int64), torch.zeros(count, 0, 2), torch.zeros(count, 0, dtype=torch.int64),
        torch.zeros(count, 4), none, none,
    )  # fmt: skip
    logits = predicted[:, None].float() * 2 - 1
    return Round(number, prompts, _prediction(logits, torch.ones(count, 1)), torch.zeros(count, dtype=torch.int64))


def _corrector(truth, recipe, *, pause=0.0, uniforms=None):
    if uniforms is None:
        uniforms = torch.rand((len(truth), recipe.rounds, 3), generator=torch.Generator().manual_seed(0))
    return RandomCorrector(truth.float(), torch.ones_like(truth), uniforms, recipe, pause)


def _clicked(recipe, pause):
    """Return the numbers of the rounds that come with a new click."""
    correct = _corrector(_maps((4, 4)), recipe, pause=pause)
    wrong = _maps((12, 20))
    return [number + 1 for number in range(recipe.rounds - 1) if correct(_round(number, wrong)) is not None]


@pytest.mark.parametrize("pause", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("refinements", [0, 1, 2])
@pytest.mark.parametrize("corrections", [0, 1, 2, 5])
def test_as_many_clicks_as_corrections(corrections, refinements, pause):
    """Rounds without a click come on top of those with one; where there is one, the last round has none."""
    recipe = PromptRecipe(corrections=corrections, refinements=refinements)
    clicked = _clicked(recipe, pause)
    assert len(clicked) == corrections
    assert (recipe.rounds - 1 in clicked) is (refinements == 0 and corrections > 0)


def test_the_second_round_without_a_click_may_be_any():
    """Placed by the number drawn for the step, each round between the first and the last as often."""
    recipe = PromptRecipe(corrections=3, refinements=2)  # rounds 0 to 5, of which 5 has no click
    pauses = [({1, 2, 3, 4} - set(_clicked(recipe, pause))).pop() for pause in torch.arange(0, 1, 1 / 16).tolist()]
    assert pauses == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4


def test_a_click_lies_where_the_mask_is_wrong():
    """On a missed object it says object, on what was added it says not object, in the image's own pixels."""
    truth, predicted = _maps((4, 4), (4, 4)), _maps((4, 4), (4, 4))
    predicted[0, 4:12, 4:8] = False  # the left half of the first object is missed
    predicted[1, 20:24, 16:28] = True  # something below is added to the second
    recipe = PromptRecipe(corrections=8, refinements=0, truth_share=0.0)
    correct = _corrector(truth, recipe)
    for number in range(8):
        points, labels = correct(_round(number, predicted))
        assert labels.tolist() == [1, 0]
        (x, y), (other_x, other_y) = points.tolist()
        assert 8 <= x + 0.5 <= 16
        assert 8 <= y + 0.5 <= 24
        assert 32 <= other_x + 0.5 <= 56
        assert 40 <= other_y + 0.5 <= 48


def test_where_nothing_is_wrong_nothing_is_clicked():
    """An object that is met gets filler while others of the batch are corrected."""
    truth = _maps((4, 4), (12, 12))
    _, labels = _corrector(truth, PLAIN)(_round(0, torch.stack([truth[0], truth[0]])))
    assert labels[0] == -10
    assert labels[1] != -10


def test_each_round_has_numbers_of_its_own():
    """The click after round n comes from column n + 1: the same error is clicked elsewhere in another round."""
    truth, wrong = _maps((4, 4)), _maps((12, 20))
    recipe = PromptRecipe(corrections=3, refinements=0, truth_share=0.0)
    uniforms = torch.zeros(1, recipe.rounds, 3)
    uniforms[0, :, 0] = torch.tensor([0.99, 0.0, 0.5, 0.999])
    correct = _corrector(truth, recipe, uniforms=uniforms)
    rows = [correct(_round(number, wrong))[0][0, 1].item() for number in range(3)]
    assert rows == pytest.approx([8.5, 24.5, 38.5])  # first row of the object, first and last of what was added


# ---- the gradient


@pytest.fixture
def job(tmp_path):
    """A training of the whole micro model."""
    return small_training(tmp_path, recipe=small_recipe(prompts=PromptRecipe(objects_per_image=2, corrections=2)))


def _batch(job, *indices, epoch=1):
    source = job.batches.source
    return Collate(source.mask_size)([source[epoch, index] for index in indices])


def _accumulate(job, batch, objects):
    objective = RoundLoss(job.recipe.prompts, job.recipe.loss)
    return accumulate_gradients(
        job.model, batch, objective, objects=objects, pause=0.3, cache=job.objective.cache, precision="fp32"
    )


def _gradients(model):
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def test_going_backward_round_by_round_gives_the_gradient_of_the_whole(job):
    """Cut off at the embedding, every parameter's gradient is that of one backward pass through all rounds."""
    batch, objective = _batch(job, 0, 1, 2), RoundLoss(job.recipe.prompts, job.recipe.loss)
    objects, rounds = len(batch.prompts), job.recipe.prompts.rounds
    sums = _accumulate(job, batch, objects)
    pieces = _gradients(job.model)

    embedding = job.model.encode(batch.pixels, batch.frames)
    corrector = RandomCorrector(batch.truth, batch.valid, batch.uniforms, job.recipe.prompts, 0.3)
    answers = rollout(job.model, embedding, batch.prompts, rounds=rounds, correct=corrector)
    losses = [objective.of_round(one.prediction, batch.truth, batch.valid)[0] for one in answers]
    total = torch.stack(losses).mean(dim=0).mean()
    total.backward()
    whole = _gradients(job.model)

    assert sums.means()["loss"] == pytest.approx(total.item(), rel=1e-5)
    assert pieces.keys() == whole.keys()
    assert any(name.startswith("image_encoder.patch_embed") for name in pieces)
    for name, gradient in whole.items():
        torch.testing.assert_close(pieces[name], gradient, rtol=1e-3, atol=1e-6, msg=name)


def test_batches_of_a_step_add_up(job):
    """Two batches, each told how many objects the step has, give the sums and the gradient of one."""
    whole, first, second = _batch(job, 1, 2), _batch(job, 1), _batch(job, 2)
    objects = len(whole.prompts)
    together = _accumulate(job, whole, objects)
    expected = _gradients(job.model)
    apart = Sums()
    for batch in (first, second):
        apart.add(_accumulate(job, batch, objects))
    assert apart.objects == together.objects == objects
    assert apart.means() == pytest.approx(together.means(), rel=1e-4)
    for name, gradient in _gradients(job.model).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-6, msg=name)


def test_the_first_and_the_last_round_are_told_apart(job):
    """`first_iou` is of the first prompt's answer, `iou` of the last; with one round they are one."""
    batch = _batch(job, 0, 1, 2)
    means = _accumulate(job, batch, 1).means()
    prompts = job.recipe.prompts.model_copy(update={"corrections": 0, "refinements": 0})
    once = accumulate_gradients(
        job.model, batch, RoundLoss(prompts, job.recipe.loss), objects=1, pause=0.3, cache=None, precision="fp32"
    ).means()
    assert once["first_iou"] == once["iou"] == pytest.approx(means["first_iou"])
    assert means["iou"] != means["first_iou"]


def test_an_embedding_is_the_same_whichever_others_are_made(tmp_path):
    """Of two images the second's comes bit for bit alike, made beside the first, alone, or read from the cache."""
    found = []
    for number, indices in enumerate([(0, 1), (1,), (1,)]):
        job = small_training(tmp_path / "run", scope="decoder", cache=tmp_path / f"cache{min(number, 1)}")
        found.append(
            encode_batch(job.model, _batch(job, *indices), job.objective.cache, torch.device("cpu")).features[-1]
        )
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[1], found[2])


@pytest.mark.parametrize("probability", [0.0, 0.2])
def test_no_mask_is_a_good_one_where_the_prompt_is_on_nothing(probability):
    """Of an empty truth, hard or soft, the quality to learn is 0 of a mask and of none: everything mode drops both."""
    logits = torch.full((1, 2, 32, 32), -4.0)
    logits[0, 1, 4:12, 4:12] = 4.0
    prediction = _prediction(logits, torch.tensor([[0.3, 0.4]]))
    truth = torch.full((1, 32, 32), probability)
    _, terms = RoundLoss(PLAIN, LossRecipe()).of_round(prediction, truth, torch.ones_like(truth, dtype=torch.bool))
    assert float(terms["quality_loss"]) == pytest.approx((0.3**2 + 0.4**2) / 2)


def test_no_step_is_taken_before_its_precision_is_settled(job):
    """Else "auto" would be single precision wherever nobody chose."""
    optimizer = job.recipe.optimizer.model_copy(update={"precision": "auto"})
    recipe = job.recipe.model_copy(update={"optimizer": optimizer})
    (batch, *_) = next(iter(job.batches.epoch(1)))
    with pytest.raises(ValueError, match="settle it"):
        PromptedMasks(job.model, recipe).accumulate(batch, objects=1, step=0)
