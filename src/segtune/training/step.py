"""The gradient of one batch: encode, roll out, compare, go backward round by round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from segtune.core.types import Embedding, MaskPrediction
from segtune.losses.mixture import Mixture
from segtune.losses.quality import quality_loss
from segtune.metrics.overlap import iou, overlap
from segtune.models.family import PromptableModel
from segtune.prompts.correction import cells_to_points, random_error_clicks
from segtune.rollout import Clicks, Round, rollout
from segtune.training.batches import Batch, gather_maps
from segtune.training.examples import generator
from segtune.training.objective import Objective, Sums
from segtune.training.recipe import LossRecipe, PromptRecipe, Recipe
from segtune.training.reference import Answers, Reference

if TYPE_CHECKING:
    from segtune.models.embedding_cache import EmbeddingCache


@dataclass(frozen=True)
class PromptedMasks(Objective):
    """SAM's own objective: prompted objects, rolled out over all rounds, each answer compared with the truth.

    Attributes:
        model: in training mode, frozen as the run wants it.
        recipe: how it is prompted, and what is minimised.
        cache: of what the frozen part of the encoder makes, or None when every image is encoded whole.
        reference: the pretrained model, where something holds the one that trains near it.
    """

    model: PromptableModel
    recipe: Recipe
    cache: EmbeddingCache | None = None
    reference: Reference | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Loss and its terms, and IoU after the first and after the last round."""
        own = ("loss", "mask_loss", "quality_loss", "first_iou", "iou")
        return own if self.reference is None else (*own, *self.reference.names)

    def count(self, batch: Batch) -> int:
        """Return how many objects are prompted."""
        return len(batch.prompts)

    def accumulate(self, batch: Batch, *, objects: int, step: int) -> Sums:
        """Add the gradient of a batch to the parameters that train, as `accumulate_gradients` does."""
        pause = float(generator(self.recipe.seed, "pause", step).random())  # the same everywhere
        return accumulate_gradients(
            self.model, batch, RoundLoss(self.recipe.prompts, self.recipe.loss), objects=objects, pause=pause,
            cache=self.cache, precision=self.recipe.optimizer.settled_precision, reference=self.reference,
        )  # fmt: skip

    def tell(self, means: Mapping[str, float]) -> str:
        """Return loss and IoU in words."""
        return f"loss {means['loss']:.4f}  IoU {means['iou']:.3f}" if means else "no objects yet"


@dataclass(frozen=True)
class RoundLoss:
    """What is minimised of each round."""

    prompts: PromptRecipe
    loss: LossRecipe

    def of_round(self, prediction: MaskPrediction, truth: Tensor, valid: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of each object [P] and its terms.

        Of three masks only the one of least loss goes backward; the quality head learns from all of them, each
        against its own IoU with the truth at the model's output size.
        """
        logits, present = prediction.logits, prediction.present
        rows, slots = present.nonzero(as_tuple=True)
        flat = logits[rows, slots].float()  # [Q, h, w], only the masks that exist
        mask_losses = flat.new_full(present.shape, float("inf"))
        mask_losses[rows, slots] = Mixture(self.loss.weights)(flat, truth[rows], valid[rows])
        least = mask_losses.min(dim=1).values  # [P]; absent masks are at infinity
        with torch.no_grad():
            actual = iou(overlap(flat > 0, truth[rows] > 0.5, ~valid[rows])).float()
            # Where the prompt is on nothing no mask is a good one, not even none: so everything mode drops it.
            actual = actual * _on_something(truth)[rows]
        errors = quality_loss(prediction.quality[rows, slots].float(), actual)  # [Q]
        quality = torch.zeros_like(least).index_add(0, rows, errors) / present.sum(dim=1)
        return least + self.loss.quality * quality, {"mask_loss": least.detach(), "quality_loss": quality.detach()}


def _on_something(truth: Tensor) -> Tensor:
    """Return bool [P]: whether there is an object in each map [P, h, w]; a probability is never quite 0."""
    return truth.flatten(1).amax(1) > 0.5


def accumulate_gradients(
    model: PromptableModel,
    batch: Batch,
    objective: RoundLoss,
    *,
    objects: int,
    pause: float,
    cache: EmbeddingCache | None,
    precision: str,
    reference: Reference | None = None,
) -> Sums:
    """Add the gradient of a batch to the parameters that train.

    The embedding is cut off as a leaf: each round's gradient stops there and its graph is freed, and the encoder, if
    it trains, goes backward once with the sum. Memory holds one round, whatever their number; the gradient is exact.

    Args:
        model: in training mode, frozen as the run wants it.
        batch: examples of this process.
        objective: losses and rounds.
        objects: number of objects in the whole step, over all batches and processes: the loss is their mean, each
            times its weight.
        pause: uniform in [0, 1), places the round without a click when the recipe has two.
        cache: where what the frozen part of the encoder makes is kept; None when every image is encoded whole.
        precision: "fp32" or "bf16" (autocast).
        reference: the pretrained model, where something holds the one that trains near it.

    Returns:
        Sums over this batch's objects.
    """
    sums = Sums(len(batch.prompts))
    if not len(batch.prompts):  # nothing to learn: no image is encoded
        return sums
    device = next(model.parameters()).device
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    with autocast:
        embedding = encode_batch(model, batch, cache, device)
    leaves = [embedding.features, *embedding.extra.values()]
    cut = [leaf.detach().requires_grad_(leaf.requires_grad) for leaf in leaves]
    held = Embedding(cut[0], embedding.frames, dict(zip(embedding.extra, cut[1:], strict=True)))
    truth, valid, weights = batch.truth.to(device), batch.valid.to(device), batch.weights.to(device)
    with autocast:
        answers = None if reference is None else _ask_reference(reference, batch, embedding, cache, device)
    if answers is not None:
        # From here on they are the truth: losses, clicks and IoU are held to the pretrained model's own masks.
        truth = answers.targets(batch.prompts.to(device), truth)
    corrector = RandomCorrector(truth, valid, batch.uniforms.to(device), objective.prompts, pause)
    rounds = objective.prompts.rounds
    distill = 0.0 if reference is None else reference.keep.distill
    with autocast:
        for current in rollout(model, held, batch.prompts.to(device), rounds=rounds, correct=corrector):
            apart = answers.divergence(current, valid) if answers is not None and distill else None
            # Losses in fp32, and backward outside autocast, as torch asks.
            with torch.autocast(device.type, enabled=False):
                losses, terms = objective.of_round(current.prediction, truth, valid)
                if apart is not None:
                    # What the pretrained model answers to a prompt on nothing is not to be kept.
                    apart = apart * _on_something(truth)
                    losses, terms = losses + distill * apart, terms | {"distill": apart.detach()}
                losses = losses * weights
                torch.autograd.backward(losses.sum() / (objects * rounds))
            _record(sums, current, losses, terms, truth, valid, rounds)
    # A map that no decode read has no gradient, and torch fills in None for scalars alone.
    if any(leaf.requires_grad for leaf in leaves):
        reached = [(leaf, piece.grad) for leaf, piece in zip(leaves, cut, strict=True) if piece.grad is not None]
        torch.autograd.backward([leaf for leaf, _ in reached], [gradient for _, gradient in reached])
    if reference is not None and reference.keep.l2_start:
        # By this batch's share of the step, so that batches and processes add up to the gradient of the whole term.
        distance = reference.pull(model, len(batch.prompts) / objects)
        for name in ("l2_start", "loss"):
            sums.values[name] += distance * len(batch.prompts)
    return sums


def _ask_reference(
    reference: Reference, batch: Batch, embedding: Embedding, cache: EmbeddingCache | None, device: torch.device
) -> Answers | None:
    """Return what the pretrained model has to say of the batch; None where it is not asked."""
    places = reference.places(batch)
    if reference.model is None or not places:
        return None
    if reference.shares_encoder:
        maps = {name: value.detach() for name, value in embedding.extra.items()}
        known = Embedding(embedding.features.detach(), embedding.frames, maps)
        return reference.answers(batch, known, range(len(batch.frames)))
    # What the cache holds is of the frozen stages, which both models share.
    with torch.no_grad():
        known = encode_batch(reference.model, batch.images(places), cache, device)
    return reference.answers(batch, known, places)


def encode_batch(model: PromptableModel, batch: Batch, cache: EmbeddingCache | None, device: torch.device) -> Embedding:
    """Return the batch's embedding; what is frozen of the encoder runs only on images that the cache lacks."""
    frames = tuple(batch.frames[place] for place in batch.missing.tolist())
    if cache is None:
        return model.encode(batch.pixels.to(device), frames)
    fresh = {}
    for row, place in enumerate(batch.missing.tolist()):
        # Alone and as the cache will give it back: an embedding is the same bytes whichever others had to be made. The
        # loop's mixed precision ends here: its key in the cache tells the encoder's own precision and no other.
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            made = cache.prefix.encode(model, batch.pixels[row : row + 1].to(device), frames[row : row + 1])
        fresh[place] = cache.put(batch.keys[place] or "", {name: value[0] for name, value in made.items()})
    return cache.prefix.finish(model, gather_maps(fresh, batch, device), batch.frames)


@dataclass(frozen=True)
class RandomCorrector:
    """SAM's training corrections: a click drawn uniformly from the error, from numbers drawn beforehand.

    Attributes:
        truth: float [P, h, w] at the model's output size.
        valid: bool [P, h, w].
        uniforms: float [P, rounds, 3].
        recipe: how many rounds and which share of clicks from the truth.
        pause: uniform in [0, 1), places the extra round without a click.
    """

    truth: Tensor
    valid: Tensor
    uniforms: Tensor
    recipe: PromptRecipe
    pause: float

    def __call__(self, current: Round) -> Clicks | None:
        """Return the clicks for the round after `current`, in original pixels; None in a round without one."""
        if current.number + 1 in self._rounds_without_click():
            return None
        cells, labels = random_error_clicks(
            self.truth > 0.5,
            current.logits > 0,
            self.valid,
            self.uniforms[:, current.number + 1],  # column 0 stays unused: the first prompt is the simulator's
            truth_share=self.recipe.truth_share,
        )
        map_size = (self.truth.shape[-2], self.truth.shape[-1])
        return cells_to_points(cells, current.prompts.image_index, current.prediction.frames, map_size), labels

    def _rounds_without_click(self) -> set[int]:
        last = self.recipe.rounds - 1
        if self.recipe.refinements == 0:
            return set()
        if self.recipe.refinements == 1:
            return {last}
        # One of 1 to last - 1, each as likely: SAM has one such round at random and one at the end.
        return {last, 1 + int(self.pause * (last - 1))}


def _record(
    sums: Sums, current: Round, losses: Tensor, terms: dict[str, Tensor], truth: Tensor, valid: Tensor, rounds: int
) -> None:
    sums.values["loss"] += float(losses.detach().sum()) / rounds
    for name, value in terms.items():
        sums.values[name] += float(value.sum()) / rounds
    if current.number in (0, rounds - 1):
        score = float(iou(overlap(current.logits > 0, truth > 0.5, ~valid)).sum())
        if current.number == 0:
            sums.values["first_iou"] += score
        if current.number == rounds - 1:
            sums.values["iou"] += score
