"""What a step minimises: the loop knows how to train, an objective knows what for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from segtune.training.batches import Batch


@dataclass
class Sums:
    """Sums over objects, so that any split into batches and processes adds up to the same means.

    Attributes:
        objects: how many objects were seen.
        values: by name, summed "loss" and whatever else an objective tells of itself.
    """

    objects: int = 0
    values: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, other: Sums) -> None:
        """Add another's sums to these."""
        self.objects += other.objects
        for name, value in other.values.items():
            self.values[name] += value

    def means(self) -> dict[str, float]:
        """Return the mean of each value per object; empty when there was none."""
        return {name: value / self.objects for name, value in self.values.items()} if self.objects else {}


class Objective(ABC):
    """Turns batches into gradients of the model it was made with. What the loss is a mean over are its objects."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of all the values it sums up, "loss" among them."""

    @abstractmethod
    def count(self, batch: Batch) -> int:
        """Return how many objects a batch has."""

    @abstractmethod
    def accumulate(self, batch: Batch, *, objects: int, step: int) -> Sums:
        """Add the gradient of a batch to the parameters that train.

        Args:
            batch: examples of this process.
            objects: number of objects in the whole step, over all batches and processes: the loss is their mean.
            step: number of the step, from 0, for what is drawn anew in each.

        Returns:
            Sums over this batch's objects.
        """

    @abstractmethod
    def tell(self, means: Mapping[str, float]) -> str:
        """Return the means that people want to see while it trains, in a few words."""
