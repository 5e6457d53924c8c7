"""Rehearsal: general images among those that train, so that what the model could do before is asked of it again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from segtune.data.dataset import Dataset
from segtune.training.examples import Example, ExampleSource


@dataclass(frozen=True)
class RehearsalSource(torch.utils.data.Dataset[Example]):
    """The training images, and in each pass some general ones after them.

    A pure function of pass and index, like the sources it is made of: a resumed run rehearses the same images.

    Attributes:
        own: the images of the training part.
        general: general images; each pass goes on where the one before it ended, and begins again at the end.
        each: general images in a pass.
    """

    own: ExampleSource
    general: ExampleSource
    each: int

    @property
    def mask_size(self) -> tuple[int, int]:
        """(h, w) of the model's logits."""
        return self.own.mask_size

    def __len__(self) -> int:
        return len(self.own) + self.each

    def __getitem__(self, where: tuple[int, int]) -> Example:
        """Return the example of image `index` in a pass, for `where` = (pass from 1, index)."""
        number, index = where
        if index < len(self.own):
            return self.own[where]
        rounds, row = divmod((number - 1) * self.each + index - len(self.own), len(self.general))
        # By how often it was seen, not by the pass: each of its views comes in turn.
        return replace(self.general[rounds + 1, row], rehearsed=True)


def with_rehearsal(own: ExampleSource, general: Dataset | None, share: float) -> ExampleSource | RehearsalSource:
    """Return a source of which a share of the images of a pass are general ones; `own` as it is where there are none.

    Args:
        own: images of the training part.
        general: general images, seen as `own` sees its own; None: nothing is rehearsed.
        share: 0 to below 1, rounded to whole images, of which there is at least one.
    """
    if general is None:
        return own
    # Weights are of the training part's labels and sizes: general objects count alike. And of prompts on nothing the
    # pretrained model's answers would teach the masks that the run's own images teach not to give.
    asked = own.recipe.model_copy(update={"negative_share": 0.0})
    rehearsed = replace(own, dataset=general, weights=None, recipe=asked)
    return RehearsalSource(own, rehearsed, max(1, round(len(own) * share / (1 - share))))
