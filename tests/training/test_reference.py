"""What holds a model near the one it is tuned from: rehearsal, distillation, L2 to the start."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small import discs, small_recipe, small_training, weights

from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO
from segtune.rollout import ask
from segtune.runs.rehearsal import make_reference
from segtune.training.batches import BatchSource, Collate
from segtune.training.loop import train, trained_weights
from segtune.training.processes import Processes
from segtune.training.recipe import KeepRecipe, TuningRecipe
from segtune.training.reference import Answers, Reference
from segtune.training.rehearsal import with_rehearsal
from segtune.training.step import PromptedMasks


def _base(seed=3):
    """The model that `small_training` starts from, or another one."""
    return build_sam(MICRO, generator=torch.Generator().manual_seed(seed)).eval().requires_grad_(False)


def _held(folder, *, keep=None, share=0.0, soft=False, base=None, recipe=None, processes=None, **changes):
    """A small training with a reference and a share of general images."""
    recipe = recipe or small_recipe()
    job = small_training(folder, recipe=recipe, processes=processes, **changes)
    keep = keep or KeepRecipe()
    start = trained_weights(job.model) if keep.l2_start else {}
    shares = job.objective.cache is not None
    reference = Reference(keep, base or _base(), start, shares, soft)
    source = with_rehearsal(job.batches.source, discs(6, size=(64, 48)) if share else None, share)
    return replace(
        job,
        objective=PromptedMasks(job.model, job.recipe, job.objective.cache, reference),
        batches=BatchSource(source, recipe, processes or Processes()),
    )


def _batch(job, *indices):
    source = job.batches.source
    return Collate(source.mask_size)([source[1, index] for index in indices])


def _step(job, *batches):
    """Return the gradient of a step made of these batches, and its sums."""
    objects = sum(len(batch.prompts) for batch in batches)
    sums = [job.objective.accumulate(batch, objects=objects, step=0) for batch in batches]
    found = {name: p.grad.clone() for name, p in job.model.named_parameters() if p.grad is not None}
    job.model.zero_grad(set_to_none=True)
    total = sums[0]
    for other in sums[1:]:
        total.add(other)
    return found, total.means()


# ---- L2 to the start


def test_at_the_start_nothing_pulls(tmp_path):
    """The term is zero there, and the gradient bit for bit that of a training without it."""
    plain, held = small_training(tmp_path / "a"), _held(tmp_path / "b", keep=KeepRecipe(l2_start=0.5))
    (without, _), (with_it, means) = _step(plain, _batch(plain, 0, 1)), _step(held, _batch(held, 0, 1))
    assert means["l2_start"] == 0
    assert all(torch.equal(with_it[name], without[name]) for name in without)


@pytest.mark.parametrize("pieces", [((0, 1, 2, 3),), ((0,), (1, 2, 3))])
def test_away_from_it_the_weights_are_pulled_back(tmp_path, pieces):
    """By the weight times the way they have gone, however a step is cut into batches; half its square is the loss."""
    plain, held = small_training(tmp_path / "a"), _held(tmp_path / "b", keep=KeepRecipe(l2_start=0.5))
    start = trained_weights(held.model)
    with torch.no_grad():
        for job in (plain, held):
            for parameter in job.model.parameters():
                parameter.add_(0.01)
    (without, before), (with_it, after) = (_step(job, *(_batch(job, *p) for p in pieces)) for job in (plain, held))
    own = dict(held.model.named_parameters())
    for name, gradient in with_it.items():
        expected = without.get(name, torch.zeros_like(gradient)) + 0.5 * (own[name].detach() - start[name])
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
    size = sum(value.numel() for value in start.values())
    assert after["l2_start"] == pytest.approx(0.25 * size * 1e-4, rel=1e-3)
    assert after["loss"] - before["loss"] == pytest.approx(after["l2_start"], rel=1e-3)


# ---- distillation


@pytest.mark.parametrize("frozen", [False, True])
def test_a_model_that_answers_alike_does_not_diverge(tmp_path, frozen):
    """With the base's own weights the term is zero and moves nothing, with or without cached embeddings."""
    given = {"scope": "decoder", "cache": tmp_path / "cache"} if frozen else {}
    plain, held = small_training(tmp_path / "a", **given), _held(tmp_path / "b", keep=KeepRecipe(distill=2.0), **given)
    (without, _), (with_it, means) = _step(plain, _batch(plain, 0, 2)), _step(held, _batch(held, 0, 2))
    assert means["distill"] == pytest.approx(0, abs=1e-6)
    for name in without:
        torch.testing.assert_close(with_it[name], without[name], rtol=1e-3, atol=1e-6)


def test_divergence_is_that_of_probabilities(tmp_path):
    """KL of the reference's probability from the model's, per valid cell, over the masks that both give."""
    held = _held(tmp_path, keep=KeepRecipe(distill=1.0), base=_base(9))
    batch, reference = _batch(held, 0, 2), held.objective.reference
    with torch.no_grad():
        known = reference.model.encode(batch.pixels, batch.frames)
        current = ask(held.model, held.model.encode(batch.pixels, batch.frames), batch.prompts)
        theirs = ask(reference.model, known, batch.prompts).prediction
        found = reference.answers(batch, known, [0, 1]).divergence(current, batch.valid)
    for row in range(len(batch.prompts)):
        there = current.prediction.present[row]
        p, q = (x.logits[row, there].double().sigmoid() for x in (theirs, current.prediction))
        each = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
        assert found[row] == pytest.approx(each[:, batch.valid[row]].mean().item(), rel=1e-3, abs=1e-7)
    assert (found > 0).all()


def test_distillation_brings_a_model_nearer(tmp_path):
    """After the same steps with the same images, one that is held so answers more like its base."""
    recipe = small_recipe(epochs=6)
    apart = {}
    for weight in (0.0, 20.0):
        job = _held(tmp_path / str(weight), keep=KeepRecipe(distill=weight), recipe=recipe)
        train(job)
        judge = _held(tmp_path / "judge", keep=KeepRecipe(distill=1.0))
        judge.model.load_state_dict(job.model.state_dict())
        apart[weight] = _step(judge, _batch(judge, 0, 1, 2, 3))[1]["distill"]
    assert apart[20.0] < 0.7 * apart[0.0]


# ---- rehearsal


def test_a_share_of_a_pass_is_general(tmp_path):
    """A third of the images are: five beside ten. Each pass goes on in the pool where the one before ended."""
    source = _held(tmp_path, share=1 / 3).batches.source
    assert len(source) == 15
    assert not any(source[1, index].rehearsed for index in range(10))
    seen = [source[number, index] for number in (1, 2) for index in range(10, 15)]
    assert all(one.rehearsed for one in seen)
    assert [one.view for one in seen] == [
        *((1, f"disc-{row}") for row in range(5)), (1, "disc-5"), *((2, f"disc-{row}") for row in range(4))
    ]  # fmt: skip


@pytest.mark.parametrize("soft", [False, True])
def test_the_models_own_answers_are_the_targets(tmp_path, soft):
    """Of rehearsed objects, wherever they lie in the batch; the truth of the user's own stays."""
    held = _held(tmp_path, share=1 / 3, soft=soft, base=_base(9))
    batch, reference = _batch(held, 10, 0, 12), held.objective.reference
    assert reference.places(batch) == [0, 2]
    with torch.no_grad():
        known = reference.model.encode(batch.pixels[[0, 2]], (batch.frames[0], batch.frames[2]))
        answer = ask(reference.model, reference.model.encode(batch.pixels, batch.frames), batch.prompts).logits
    found = reference.answers(batch, known, [0, 2]).targets(batch.prompts, batch.truth)
    own = batch.prompts.image_index == 1
    assert own.any()
    assert torch.equal(found[own], batch.truth[own])
    expected = answer[~own].sigmoid() if soft else (answer[~own] > 0).float()
    torch.testing.assert_close(found[~own], expected, rtol=1e-3, atol=1e-3)


def test_only_the_images_asked_about_are_encoded_again(tmp_path):
    """A batch of a few places has their frames and pixels, in their order."""
    batch = _batch(_held(tmp_path, share=1 / 3), 10, 0, 12)
    part = batch.images([0, 2])
    assert part.frames == (batch.frames[0], batch.frames[2])
    assert torch.equal(part.pixels, batch.pixels[[0, 2]])
    assert part.missing.tolist() == [0, 1]


# ---- prompts on nothing


def _with_negatives():
    """A recipe that asks about the background as often as about objects."""
    recipe = small_recipe()
    return recipe.model_copy(update={"prompts": recipe.prompts.model_copy(update={"negative_share": 0.5})})


def test_the_background_of_rehearsed_images_is_not_asked_about(tmp_path):
    """The pretrained model answers there too, which would teach what the run's own images teach not to do."""
    source = _held(tmp_path, share=1 / 3, recipe=_with_negatives()).batches.source
    own, general = (torch.cat([source[1, row].truth for row in rows]) for rows in (range(10), range(10, 15)))
    assert (own.flatten(1).amax(1) == 0).any()
    assert (general.flatten(1).amax(1) > 0).all()


def test_answers_to_nothing_are_not_held_to(tmp_path):
    """Of prompts on nothing the pretrained model's masks are what is to go: only those of objects are distilled."""
    held = _held(tmp_path, keep=KeepRecipe(distill=1.0), base=_base(9), recipe=_with_negatives())
    batch = _batch(held, *range(6))
    nothing = batch.truth.flatten(1).amax(1) == 0
    assert 0 < int(nothing.sum()) < len(nothing)
    rounds, asked = held.recipe.prompts.rounds, []
    divergence = Answers.divergence

    def recorded(self, current, valid):
        asked.append(divergence(self, current, valid))
        return asked[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Answers, "divergence", recorded)
        _, means = _step(held, batch)
    of_objects = sum(float(each.detach()[~nothing].sum()) for each in asked)
    assert means["distill"] == pytest.approx(of_objects / rounds / len(nothing), rel=1e-5)


# ---- resumed


@pytest.mark.parametrize("frozen", [False, True])
def test_a_resumed_run_is_bit_equal(tmp_path, frozen):
    """Cut off in mid-epoch with all three remedies at work, it ends with the very weights of one that was not."""
    keep = KeepRecipe(distill=0.5, l2_start=0.1)
    given = {"keep": keep, "share": 1 / 3} | ({"scope": "decoder", "cache": tmp_path / "cache"} if frozen else {})
    whole = _held(tmp_path / "whole", **given)
    train(whole)
    cut = _held(tmp_path / "cut", **given)
    steps = []

    def stop():
        steps.append(1)
        return len(steps) > 3

    train(replace(cut, stop=stop))
    again = _held(tmp_path / "cut", **given)
    train(again, resume=True)
    expected = weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights(again).items())


def test_both_models_encode_alike():
    """Else what the cache holds of the one would not be what the other makes, and a resumed run another one."""
    model = _base()
    model.encoder_precision = "bf16"
    recipe = TuningRecipe.model_validate({"keep": {"distill": 0.1}})
    reference = make_reference(recipe, model, _base)
    assert reference is not None
    assert reference.model.encoder_precision == "bf16"


def test_names_of_the_terms_are_told(tmp_path):
    """Those that are at work, and no others: processes send them to each other by name."""
    keep = KeepRecipe(distill=1.0)
    assert _held(tmp_path / "a", keep=keep).objective.names[-1] == "distill"
    assert "l2_start" not in _held(tmp_path / "b", keep=keep).objective.names
