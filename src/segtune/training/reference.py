"""The pretrained model beside the one that is tuned: its answers as targets, and its weights as a place to stay near.

Three remedies for forgetting meet here: rehearsal with the model's own answers as targets, distillation (Hinton et al.
2015, arXiv:1503.02531; Li and Hoiem 2016, arXiv:1606.09282) and L2 to the start (L2-SP; Li et al. 2018,
arXiv:1802.01483). The reference is the base, opened again; it is no part of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from segtune.core.types import Embedding, Prompts
from segtune.models.decoding import single_mask_itself
from segtune.models.family import PromptableModel
from segtune.rollout import Round, ask
from segtune.training.batches import Batch
from segtune.training.recipe import KeepRecipe


@dataclass(frozen=True)
class Reference:
    """What the model that trains is held to.

    Attributes:
        keep: weights of the terms.
        model: the pretrained model, frozen, in evaluation mode; None where nobody asks it anything.
        start: the weights that train as they began, by name; empty where they are not held.
        shares_encoder: the image encoder does not train, so an embedding is both models'.
        soft: targets of rehearsed images are probabilities, not masks.
    """

    keep: KeepRecipe
    model: PromptableModel | None = None
    start: Mapping[str, Tensor] = field(default_factory=dict)
    shares_encoder: bool = False
    soft: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the terms it adds to the loss."""
        return tuple(name for name in ("distill", "l2_start") if getattr(self.keep, name))

    def places(self, batch: Batch) -> list[int]:
        """Return the images of a batch that the pretrained model is asked about."""
        if self.keep.distill:
            return list(range(len(batch.frames)))
        return batch.rehearsed.nonzero().flatten().tolist()

    def answers(self, batch: Batch, known: Embedding, places: Sequence[int]) -> Answers:
        """Return the pretrained model's side of a batch.

        Args:
            batch: what trains.
            known: the pretrained model's embedding of some of its images.
            places: which those are.
        """
        if self.model is None:
            raise ValueError("a reference without a model has no answers")
        row_of = torch.full((len(batch.frames),), -1, dtype=torch.int64)
        row_of[list(places)] = torch.arange(len(places))
        device = known.features.device
        return Answers(self.model, known, row_of.to(device), batch.rehearsed.to(device), soft=self.soft)

    def pull(self, model: nn.Module, share: float) -> float:
        """Add a share of the gradient of l2_start / 2 · ‖w - start‖² to the weights that train; return the whole term.

        Args:
            model: the one that trains.
            share: 0 to 1, over the batches of a step 1 in all.
        """
        squares = []
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, start in self.start.items():
                parameter = parameters[name]
                away = parameter - start
                squares.append(away.square().sum())
                gradient = (self.keep.l2_start * share) * away
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
        # Fetched once: a device would be waited for at every weight.
        return 0.5 * self.keep.l2_start * float(torch.stack(squares).sum())


@dataclass(frozen=True)
class Answers:
    """The pretrained model on one batch.

    Attributes:
        model: it.
        known: its embedding of n images.
        row_of: int64 [B], where in `known` an image of the batch is; -1 where it is not.
        rehearsed: bool [B], images whose truth is its answer.
        soft: its answers are probabilities, not masks.
    """

    model: PromptableModel
    known: Embedding
    row_of: Tensor
    rehearsed: Tensor
    soft: bool = False

    def targets(self, prompts: Prompts, truth: Tensor) -> Tensor:
        """Return the truth [P, h, w] with the model's own answers in the place of rehearsed objects."""
        rows = self.rehearsed[prompts.image_index].nonzero().flatten()
        if not len(rows):
            return truth
        with torch.no_grad():
            # The mask it believes in most, asked once, by all its rules: what a user of the pretrained model is given.
            logits = ask(self.model, self.known, self._own(prompts.select(rows))).logits.float()
        answers = logits.sigmoid() if self.soft else (logits > 0).float()
        return truth.index_copy(0, rows, answers.to(truth))

    def divergence(self, current: Round, valid: Tensor) -> Tensor:
        """Return the divergence of each object's masks [P] from the pretrained model's, asked the same.

        KL(pretrained ‖ tuned) of each cell's probability, in nats, as a mean over valid cells and over the masks that
        both answer with; 0 where they agree.

        Args:
            current: a round of the model that trains.
            valid: bool [P, h, w], cells that count.
        """
        # The model that trains answers with its single mask, stable or not; of the other the like is asked.
        with torch.no_grad(), single_mask_itself(self.model):
            theirs = ask(self.model, self.known, self._own(current.prompts)).prediction
        present = current.prediction.present & theirs.present
        rows, slots = present.nonzero(as_tuple=True)
        mine, other = current.prediction.logits[rows, slots].float(), theirs.logits[rows, slots].float()  # [Q, h, w]
        target = other.sigmoid()
        cross = functional.binary_cross_entropy_with_logits(mine, target, reduction="none")
        own = functional.binary_cross_entropy_with_logits(other, target, reduction="none")
        counted = valid[rows]
        each = ((cross - own) * counted).sum(dim=(1, 2)) / counted.sum(dim=(1, 2)).clamp_min(1)  # [Q]
        summed = each.new_zeros(len(present)).index_add(0, rows, each)
        return summed / present.sum(dim=1).clamp_min(1)

    def _own(self, prompts: Prompts) -> Prompts:
        return replace(prompts, image_index=self.row_of[prompts.image_index])
