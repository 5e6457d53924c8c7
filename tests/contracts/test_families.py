"""Every family of promptable models keeps the contract of `segtune.models.family`."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from segtune.core.errors import MissingExtraError
from segtune.core.geometry import logits_to_image
from segtune.core.types import POINT_FILLER, MaskPrediction, Prompts
from segtune.models import FAMILIES
from segtune.models.embedding_cache import EmbeddingCache, bytes_per_view
from segtune.models.family import PromptableModel, SplitModel
from segtune.models.fingerprint import fingerprint
from segtune.models.open import open_model
from segtune.models.precision import encoder_precision
from segtune.models.prefix import FrozenPrefix
from segtune.models.preparation import Preparation
from segtune.models.save import save_model, save_original
from segtune.rollout import ask
from segtune.training.optimizer import build_optimizer
from segtune.training.recipe import OptimizerRecipe
from segtune.training.reference import Answers

TOLERANCE = 1e-4


@pytest.fixture(params=sorted(FAMILIES))
def model(request: pytest.FixtureRequest) -> PromptableModel:
    """A small random model of each family, whose learned positions are not left at zero."""
    generator = torch.Generator().manual_seed(0)
    try:
        model = FAMILIES[request.param].tiny(generator)
    except MissingExtraError as error:
        pytest.skip(str(error))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def draw_images() -> list[np.ndarray]:
    """Three images that are not square, one of them larger than the model's input."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((40, 60), (90, 35), (150, 200))]


def ragged_prompts(model: PromptableModel, generator: torch.Generator) -> Prompts:
    """Nine prompts of every mix on three images, unordered, with rubbish wherever nothing may be read."""
    kinds = [
        # image, points, box, mask
        (2, 1, False, False),
        (0, 3, False, False),
        (1, 0, True, False),
        (0, 2, True, False),
        (2, 2, False, True),
        (1, 0, True, True),
        (1, 4, True, True),
        (0, 1, False, False),
        (2, 0, True, False),
    ]
    accepted = [kind for kind in kinds if not (kind[3] and "masks" not in model.accepts)]
    extents = torch.tensor([[60.0, 40.0], [35.0, 90.0], [200.0, 150.0]])
    count, most = len(accepted), 4
    points = torch.full((count, most, 2), float("nan"))
    labels = torch.full((count, most), POINT_FILLER)
    boxes = torch.full((count, 4), float("nan"))
    masks = torch.full((count, *model.mask_size), float("nan"))
    for row, (image, several, box, mask) in enumerate(accepted):
        # Real points need not come first.
        places = torch.randperm(most, generator=generator)[:several]
        points[row, places] = torch.rand(several, 2, generator=generator) * extents[image]
        labels[row, places] = torch.randint(0, 2, (several,), generator=generator)
        if box:
            boxes[row] = (torch.rand(2, 2, generator=generator).sort(dim=0).values * extents[image]).flatten()
        if mask:
            masks[row] = 5 * torch.randn(model.mask_size, generator=generator)
    return Prompts(
        image_index=torch.tensor([image for image, *_ in accepted]),
        points=points,
        point_labels=labels,
        boxes=boxes,
        has_box=torch.tensor([box for _, _, box, _ in accepted]),
        has_mask=torch.tensor([mask for *_, mask in accepted]),
        mask_logits=masks,
    )


def alone(prompts: Prompts, row: int) -> Prompts:
    """One prompt without filler, on an image of its own."""
    real = prompts.point_labels[row] != POINT_FILLER
    has_mask = bool(prompts.has_mask[row])
    return Prompts(
        image_index=torch.zeros(1, dtype=torch.int64),
        points=prompts.points[row, real][None],
        point_labels=prompts.point_labels[row, real][None],
        boxes=prompts.boxes[row][None],
        has_box=prompts.has_box[row][None],
        has_mask=prompts.has_mask[row][None],
        mask_logits=prompts.mask_logits[row][None] if has_mask and prompts.mask_logits is not None else None,
    )


def run(model: PromptableModel, prompts: Prompts, multimask: torch.Tensor) -> MaskPrediction:
    pixels, frames = model.prepare(draw_images())
    return model.decode(model.encode(pixels, frames), prompts, multimask)


def mixed_answers(prompts: Prompts) -> torch.Tensor:
    return torch.arange(len(prompts)) % 2 == 0


def test_shapes(model: PromptableModel) -> None:
    """Three slots when a prompt asks for three, the absent ones marked; one slot when none does."""
    prompts = ragged_prompts(model, torch.Generator().manual_seed(1))
    multimask = mixed_answers(prompts)
    prediction = run(model, prompts, multimask)
    assert prediction.logits.shape == (len(prompts), 3, *model.mask_size)
    assert prediction.present.tolist() == [[True] * 3 if several else [True, False, False] for several in multimask]
    assert prediction.logits.isfinite().all()
    assert len(prediction.frames) == 3
    assert run(model, prompts, ~multimask & multimask).logits.shape == (len(prompts), 1, *model.mask_size)


def test_no_prompts_at_all(model: PromptableModel) -> None:
    """An image without objects is legal: nothing is asked and nothing answered."""
    prompts = ragged_prompts(model, torch.Generator().manual_seed(1)).select(torch.zeros(0, dtype=torch.int64))
    prediction = run(model, prompts, torch.zeros(0, dtype=torch.bool))
    assert prediction.logits.shape == (0, 1, *model.mask_size)
    assert prediction.quality.shape == (0, 1)


@pytest.mark.parametrize("gradients", [True, False])
def test_batch_equals_each_prompt_alone(model: PromptableModel, gradients: bool) -> None:
    """A ragged batch of mixed kinds over several images gives what each prompt gives alone."""
    prompts = ragged_prompts(model, torch.Generator().manual_seed(2))
    multimask = mixed_answers(prompts)
    images = draw_images()
    with torch.set_grad_enabled(gradients):
        together = run(model, prompts, multimask)
        for row in range(len(prompts)):
            pixels, frames = model.prepare([images[int(prompts.image_index[row])]])
            single = model.decode(model.encode(pixels, frames), alone(prompts, row), multimask[row : row + 1])
            there = single.present[0]
            slots = together.present[row]
            assert int(slots.sum()) == int(there.sum())
            torch.testing.assert_close(together.logits[row, slots], single.logits[0, there], rtol=0, atol=TOLERANCE)
            torch.testing.assert_close(together.quality[row, slots], single.quality[0, there], rtol=0, atol=TOLERANCE)


def test_gradients_reach_every_part(model: PromptableModel) -> None:
    """A loss on the masks and their quality has a finite gradient in every parameter of every part."""
    prompts = ragged_prompts(model, torch.Generator().manual_seed(3))
    prediction = run(model.train(), prompts, mixed_answers(prompts))
    (prediction.logits.square().mean() + prediction.quality[prediction.present].square().mean()).backward()
    for part, module in model.parts.items():
        reached = {name: parameter.grad for name, parameter in module.named_parameters()}
        assert all(gradient is not None and gradient.isfinite().all() for gradient in reached.values()), part
        still = [name for name, gradient in reached.items() if gradient is not None and not gradient.any()]
        assert not still, f"{part}: {still}"


def test_it_trains_in_mixed_precision(model: PromptableModel) -> None:
    """A mask fed back, boxes and clicks: bfloat16 answers as fp32 does but for rounding, and gradients are finite."""
    prompts = ragged_prompts(model.train(), torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = run(model, prompts, mixed_answers(prompts)).logits
    with torch.autocast("cpu", torch.bfloat16):
        prediction = run(model, prompts, mixed_answers(prompts))
    logits = prediction.logits.float()
    # As pictures, not cell by cell: a few roundings move a logit by some per cent of what logits span.
    assert float((logits.detach() - expected).abs().mean()) < 0.05 * float(expected.std())
    (logits.square().mean() + prediction.quality[prediction.present].float().square().mean()).backward()
    gradients = [parameter.grad for part in model.parts.values() for parameter in part.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_a_model_that_trains_does_not_diverge_from_one_that_is_alike(model: PromptableModel) -> None:
    """What is distilled is 0 with the same weights: both answer a prompt for one mask with the same of their masks."""
    prompts = ragged_prompts(model, torch.Generator().manual_seed(11))
    assert not prompts.ambiguous.all()
    rule = getattr(getattr(model, "config", None), "mask_decoder_config", None)
    if hasattr(rule, "dynamic_multimask_stability_thresh"):
        rule.dynamic_multimask_stability_thresh = 2.0  # in use no single mask would be stable enough
    same = copy.deepcopy(model).eval().requires_grad_(False)
    pixels, frames = model.prepare(draw_images())
    with torch.no_grad():
        known = same.encode(pixels, frames)
    model.train()
    current = ask(model, model.encode(pixels, frames), prompts)
    answers = Answers(same, known, torch.arange(3), torch.zeros(3, dtype=torch.bool))
    apart = answers.divergence(current, torch.ones(len(prompts), *model.mask_size, dtype=torch.bool))
    torch.testing.assert_close(apart, torch.zeros(len(prompts)), rtol=0, atol=1e-5)


def test_gradients_do_not_change_the_answer(model: PromptableModel) -> None:
    """Which masks answer is a matter of the model's mode, never of whether torch keeps a graph."""
    prompts = ragged_prompts(model.eval(), torch.Generator().manual_seed(12))
    multimask = torch.zeros(len(prompts), dtype=torch.bool)
    with torch.no_grad():
        expected = run(model, prompts, multimask).logits
    torch.testing.assert_close(run(model, prompts, multimask).logits, expected, rtol=0, atol=TOLERANCE)


def test_rubbish_that_nobody_reads_reaches_no_gradient(model: PromptableModel) -> None:
    """Filler, absent boxes and absent masks may hold NaN without spoiling a gradient."""
    prompts = ragged_prompts(model, torch.Generator().manual_seed(4)).select(torch.tensor([0, 2]))
    run(model, prompts, torch.tensor([True, False])).logits.sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def test_every_encoder_parameter_falls_under_one_stage(model: PromptableModel) -> None:
    """Freezing and layer decay by stages forget no parameter and count none twice."""
    encoder = model.parts["image_encoder"]
    names = [name for name, parameter in model.named_parameters() if any(parameter is p for p in encoder.parameters())]
    for name in names:
        assert sum(name.startswith(stage) for stage in model.encoder_stages) == 1, name
    assert all(any(name.startswith(stage) for name in names) for stage in model.encoder_stages)


@pytest.mark.parametrize("size", [(40, 60), (90, 35), (64, 64), (301, 77)])
def test_a_pixel_keeps_its_place(model: PromptableModel, size: tuple[int, int]) -> None:
    """A bright spot lands where the frame says a click on it goes, and logits there come back to the same pixel."""
    row, column = size[0] * 2 // 3, size[1] // 4
    image = np.zeros((*size, 3), np.uint8)
    reach = max(1, max(size) // 16)
    image[row - reach : row + reach + 1, column - reach : column + reach + 1] = 255
    pixels, (frame,) = model.prepare([image])
    bright = pixels[0, 0, : frame.resized[0], : frame.resized[1]]
    weight = bright - bright.min()
    scale_x, scale_y = frame.scale
    rows = torch.arange(weight.shape[0]) + 0.5
    columns = torch.arange(weight.shape[1]) + 0.5
    assert float((weight.sum(1) * rows).sum() / weight.sum()) == pytest.approx((row + 0.5) * scale_y, abs=0.5)
    assert float((weight.sum(0) * columns).sum() / weight.sum()) == pytest.approx((column + 0.5) * scale_x, abs=0.5)
    cell = model.side / model.mask_size[0]
    y, x = torch.meshgrid(*((torch.arange(n) + 0.5) * cell for n in model.mask_size), indexing="ij")
    peak = -((x - (column + 0.5) * scale_x) ** 2) - (y - (row + 0.5) * scale_y) ** 2
    found = int(logits_to_image(peak, frame).argmax())
    assert abs(found // size[1] - row) <= cell / scale_y
    assert abs(found % size[1] - column) <= cell / scale_x


def test_a_click_means_the_same_whatever_the_padding(model: PromptableModel) -> None:
    """Moving a click moves what the model sees: the answer depends on both of its coordinates."""
    pixels, frames = model.prepare(draw_images()[:1])
    with torch.no_grad():
        embedding = model.encode(pixels, frames)
        base = ragged_prompts(model, torch.Generator().manual_seed(5)).select(torch.tensor([7]))
        answers = []
        for x, y in ((10.0, 10.0), (50.0, 10.0), (10.0, 30.0)):
            moved = Prompts(
                base.image_index, torch.tensor([[[x, y]]]), torch.tensor([[1]]), base.boxes, base.has_box, base.has_mask
            )
            answers.append(model.decode(embedding, moved, torch.tensor([True])).logits)
    assert not torch.allclose(answers[0], answers[1], atol=1e-6)
    assert not torch.allclose(answers[0], answers[2], atol=1e-6)


@pytest.mark.parametrize("kind", ["longest_side", "stretched"])
def test_folder_round_trip(model: PromptableModel, tmp_path: Path, kind: str) -> None:
    """A saved folder opens to the same weights, sizes and preparation, bit for bit."""
    model.preparation = Preparation.of_kind(kind, model.side)
    save_model(model, tmp_path / "model", extra={"crowned": True})
    opened = open_model(tmp_path / "model")
    assert type(opened) is type(model)
    assert opened.preparation == model.preparation
    assert not opened.training
    assert opened.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, opened.state_dict()[name]) for name, value in model.state_dict().items())
    assert fingerprint(opened) == fingerprint(model)


def test_original_round_trip(model: PromptableModel, tmp_path: Path) -> None:
    """A checkpoint in the original layout, where the family has one, opens to the same weights."""
    if FAMILIES[model.family].original_state is None:
        pytest.skip("this family has no original layout")
    save_original(model, tmp_path / "model.pth")
    opened = open_model(tmp_path / "model.pth")
    assert all(torch.equal(value, opened.state_dict()[name]) for name, value in model.state_dict().items())
    if opened.side != model.side:
        return  # no shape in this layout tells the input's size, so the published one is taken
    prompts = ragged_prompts(model, torch.Generator().manual_seed(6))
    with torch.no_grad():
        expected = run(model, prompts, mixed_answers(prompts))
        found = run(opened, prompts, mixed_answers(prompts))
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=TOLERANCE)


def test_what_is_cached_is_all_a_decode_needs(model: PromptableModel, tmp_path: Path) -> None:
    """Kept of an image, its embedding and its activations at each split have the size said, and answer nearly alike."""
    prompts = ragged_prompts(model, torch.Generator().manual_seed(7)).select(torch.tensor([1, 7]))
    multimask = torch.tensor([True, True])
    pixels, frames = model.prepare(draw_images()[:1])
    with torch.no_grad():
        expected = model.decode(model.encode(pixels, frames), prompts, multimask)
    for stages in (None, *(model.splits if isinstance(model, SplitModel) else ())):
        prefix = FrozenPrefix(stages)
        cache = EmbeddingCache.for_model(model, tmp_path / str(stages), prefix=prefix)
        with torch.no_grad():
            made = prefix.encode(model, pixels, frames)
            cache.put(cache.key("image"), {name: value[0] for name, value in made.items()})
            read = cache.get(cache.key("image"))
            assert read is not None
            embedding = prefix.finish(model, {name: value[None].float() for name, value in read.items()}, frames)
            found = model.decode(embedding, prompts, multimask)
        torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=0.02)
        assert cache.size_bytes == pytest.approx(bytes_per_view(model, prefix), abs=512)


def test_the_suffix_of_the_prefix_is_the_whole(model: PromptableModel) -> None:
    """Wherever an encoder may be split, in both precisions and for several images, two runs give the bits of one."""
    if not isinstance(model, SplitModel):
        pytest.skip("this family's image encoder is not run in two")
    model.eval()
    assert set(model.splits) <= set(range(1, len(model.encoder_stages)))
    pixels, frames = model.prepare(draw_images())
    for precision in ("fp32", "bf16"):
        with encoder_precision(model, precision), torch.no_grad():
            whole = model.encode(pixels, frames)
            for stages in model.splits:
                # Row by row in memory, as they are read from disk, however convolutions leave them.
                maps = {name: value.contiguous() for name, value in model.encode_prefix(pixels, stages).items()}
                assert tuple(tuple(value.shape[1:]) for value in maps.values()) == model.splits[stages]
                halves = model.encode_suffix(maps, frames, stages)
                assert torch.equal(halves.features, whole.features), stages
                assert halves.extra.keys() == whole.extra.keys()
                assert all(torch.equal(halves.extra[name], value) for name, value in whole.extra.items()), stages
                assert halves.frames == whole.frames


def test_a_split_parts_the_parameters(model: PromptableModel) -> None:
    """A prefix is what its stages hold and no more: gradients of the suffix reach all later stages and no earlier."""
    if not isinstance(model, SplitModel):
        pytest.skip("this family's image encoder is not run in two")
    pixels, frames = model.prepare(draw_images())
    for stages in model.splits:
        model.zero_grad()
        with torch.no_grad():
            maps = model.encode_prefix(pixels, stages)
        embedding = model.encode_suffix(maps, frames, stages)
        sum(value.square().mean() for value in (embedding.features, *embedding.extra.values())).backward()
        reached = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
        for place, stage in enumerate(model.encoder_stages):
            assert any(name.startswith(stage) for name in reached) == (place >= stages), (stages, stage)


def test_preparation_travels_to_reading_processes(model: PromptableModel) -> None:
    """What data workers are sent can be pickled and prepares alike."""
    image = draw_images()[0]
    copy = pickle.loads(pickle.dumps(model.preparation))
    assert torch.equal(copy.prepare([image])[0], model.prepare([image])[0])
    assert copy.frame((40, 60)) == model.frame((40, 60))


def test_weight_decay_is_for_layers_alone(model: PromptableModel) -> None:
    """Positions and learned tokens are not shrunk, whatever a family calls them; Fourier frequencies never train."""
    layers = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
    weights = {f"{place}.weight" for place, module in model.named_modules() if isinstance(module, layers)}
    optimizer = build_optimizer(model, OptimizerRecipe(weight_decay=0.1))
    shrunk = {id(one) for group in optimizer.param_groups if group["weight_decay"] for one in group["params"]}
    assert shrunk
    assert {name for name, parameter in model.named_parameters() if id(parameter) in shrunk} <= weights
    assert not any("shared_embedding" in name for name, _ in model.named_parameters())
