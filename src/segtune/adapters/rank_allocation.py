"""AdaLoRA's allocation of ranks (Zhang et al. 2023, arXiv 2303.10512): what matters least is set to zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from segtune.adapters.injection import PeftAdapter, adapted_layers
from segtune.adapters.way import Follower

_SMOOTHING: Final = 0.85
"""Of sensitivity and of its uncertainty (section 3.2: β1 and β2)."""

_WARM_UP, _SETTLING = 0.1, 0.3
"""Shares of the steps before ranks are taken away, and after the last were."""

_ORTHOGONALITY: Final = 0.1
"""Weight of the penalty that keeps both sides orthogonal (γ), on the mean over all matrices."""

_NAME = "default"


class RankAdapter(PeftAdapter):
    """LoRA as a singular value decomposition, B diag(E) A, with a budget of ranks over all layers."""

    def __init__(self, spec: str, names: tuple[str, ...], rank: int) -> None:
        super().__init__(spec, names)
        self._rank = rank

    def follow(self, total_steps: int) -> Follower:
        """Return the allocation of ranks for a training of so many steps."""
        return RankAllocation(self._rank, total_steps)


class RankAllocation(Follower):
    """From a surplus of ranks in each layer to `rank` in the mean, over the middle of the training.

    Args:
        rank: ranks left in the mean over the layers.
        total_steps: of the training.
    """

    def __init__(self, rank: int, total_steps: int) -> None:
        self._rank = rank
        self._total_steps = total_steps
        self._sensitivity: dict[str, Tensor] = {}
        self._uncertainty: dict[str, Tensor] = {}
        self._kept: dict[str, Tensor] = {}

    def add_gradients(self, model: nn.Module) -> None:
        """Add the gradient of ‖A Aᵀ - I‖² + ‖Bᵀ B - I‖² (equation 4), the mean over all matrices."""
        layers = adapted_layers(model)
        with torch.no_grad():
            for layer in layers.values():
                # The gradient of ‖M Mᵀ - I‖² is 4 (M Mᵀ - I) M.
                for parameter, rows in ((layer.lora_A[_NAME], True), (layer.lora_B[_NAME], False)):
                    if parameter.grad is None:
                        continue
                    matrix = parameter if rows else parameter.T
                    excess = matrix @ matrix.T - torch.eye(len(matrix), device=matrix.device)
                    gradient = 4 * excess @ matrix * (_ORTHOGONALITY / (2 * len(layers)))
                    parameter.grad += gradient if rows else gradient.T

    def after_step(self, model: nn.Module, step: int) -> None:
        """Take the step into account, and keep the ranks that the budget of this step has room for."""
        layers = adapted_layers(model)
        if step <= self._last_change:
            self._measure(layers)
            self._choose(layers, step)
        with torch.no_grad():
            for name, kept in self._kept.items():
                values = layers[name].lora_E[_NAME]
                values.masked_fill_(~kept.to(values.device), 0.0)

    def budget(self, step: int, first: int, last: int) -> int:
        """Return how many ranks all layers have together at a step: a cubic way from `first` down to `last`."""
        begin = _WARM_UP * self._total_steps
        if step <= begin:
            return first
        left = max(0.0, 1 - (step - begin) / max(1.0, self._last_change - begin))
        return last + int((first - last) * left**3)

    def state(self) -> dict[str, Tensor]:
        """Return what the choice of ranks goes by."""
        groups = {"sensitivity": self._sensitivity, "uncertainty": self._uncertainty, "kept": self._kept}
        return {f"{group}|{name}": value for group, values in groups.items() for name, value in values.items()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `state` returned."""
        groups = {"sensitivity": self._sensitivity, "uncertainty": self._uncertainty, "kept": self._kept}
        for key, value in tensors.items():
            group, _, name = key.partition("|")
            groups[group][name] = value

    @property
    def _last_change(self) -> int:
        return round((1 - _SETTLING) * self._total_steps)

    def _measure(self, layers: Mapping[str, Any]) -> None:
        """Smooth |weight · gradient| of each number, and how much that varies (equations 9 and 10)."""
        for key, parameter in _triplets(layers):
            if parameter.grad is None:
                continue
            seen = (parameter * parameter.grad).abs().detach()
            smooth = torch.lerp(seen, self._on(self._sensitivity, key, seen), _SMOOTHING)
            varies = torch.lerp((seen - smooth).abs(), self._on(self._uncertainty, key, seen), _SMOOTHING)
            self._sensitivity[key], self._uncertainty[key] = smooth, varies

    def _choose(self, layers: Mapping[str, Any], step: int) -> None:
        ranks = {name: len(layer.lora_E[_NAME]) for name, layer in layers.items()}
        first, last = sum(ranks.values()), self._rank * len(ranks)
        budget = self.budget(step, first, min(first, last))
        if budget == first:
            return
        scores = torch.cat([self._scores(name, layer) for name, layer in layers.items()])
        kept = torch.zeros_like(scores, dtype=torch.bool)
        # By places and not by a threshold, so that equal scores cannot cost more than the budget takes.
        kept[scores.argsort(descending=True, stable=True)[:budget]] = True
        for name, own in zip(ranks, torch.split(kept, list(ranks.values())), strict=True):
            self._kept[name] = own[:, None]

    def _scores(self, name: str, layer: Any) -> Tensor:
        """Return the importance of a layer's ranks: of the value and of both vectors' means (equation 8)."""
        of_values = self._importance(f"{name}|E", layer.lora_E[_NAME])[:, 0]
        of_rows = self._importance(f"{name}|A", layer.lora_A[_NAME]).mean(1)
        return of_values + of_rows + self._importance(f"{name}|B", layer.lora_B[_NAME]).mean(0)

    def _importance(self, key: str, like: Tensor) -> Tensor:
        return self._on(self._sensitivity, key, like) * self._on(self._uncertainty, key, like)

    @staticmethod
    def _on(kept: Mapping[str, Tensor], key: str, like: Tensor) -> Tensor:
        # From a checkpoint they come on the CPU; before a first gradient there is nothing.
        return kept[key].to(like.device) if key in kept else torch.zeros_like(like)


def _triplets(layers: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for name, layer in layers.items():
        yield f"{name}|A", layer.lora_A[_NAME]
        yield f"{name}|E", layer.lora_E[_NAME]
        yield f"{name}|B", layer.lora_B[_NAME]
