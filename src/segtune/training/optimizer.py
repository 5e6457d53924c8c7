"""The optimizer with layer-wise learning rates, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from segtune.core.errors import ModelError
from segtune.models.family import StagedModel
from segtune.training.recipe import OptimizerRecipe

_UNDECAYED = (
    "pos_embed", "position_embedding", "rel_pos", "attention_biases", "point_embed", "no_mask_embed",
    "no_memory_embedding", "iou_token", "mask_tokens", "hq_token", "obj_score_token",
    "query_embed", "reference_points", "presence_token", ".ia3_l.", ".boft_s.", ".lora_E.", ".token_",
)  # fmt: skip
"""Tables of positions, learned tokens, and adapters' scales: like biases and norms they are not shrunk towards zero."""


_AVERAGE = "average"
"""A weight's running average, in its optimizer's state: so checkpoints hold it like any moment."""


class Optimizers:
    """Optimizers that step together, each over parameters of its own, and the running averages of what they move.

    Args:
        each: the optimizers.
        ema: how much of an average stays at each step; None: none is kept.
    """

    def __init__(self, *each: torch.optim.Optimizer, ema: float | None = None) -> None:
        self._each = each
        self._ema = ema

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all."""
        return [group for one in self._each for group in one.param_groups]

    def state_of(self, parameter: nn.Parameter) -> dict[str, Any]:
        """Return the state of a parameter that trains, to be read or written."""
        owner = next(
            one for one in self._each if any(parameter is own for g in one.param_groups for own in g["params"])
        )
        state: dict[str, Any] = owner.state[parameter]
        return state

    def step(self, number: int = 0) -> None:
        """Move the weights by their gradients, as step `number` (from 0) of the training."""
        for one in self._each:
            one.step()
        if self._ema is not None:
            # Of the first steps more goes, or the average would be of the weights that training began with.
            stays = min(self._ema, (number + 1) / (number + 10))
            for parameter, state in self._states():
                if state:  # an optimizer takes one that is not empty for its own
                    state.setdefault(_AVERAGE, parameter.detach().clone()).lerp_(parameter.detach(), 1 - stays)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Have each weight's running average, where one is kept, in its place for the time of the block."""
        before = [(parameter, parameter.detach().clone()) for parameter, state in self._states() if _AVERAGE in state]
        self.take_averages()
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in before:
                    parameter.copy_(value)

    def take_averages(self) -> None:
        """Put each weight's running average, where one is kept, in its place for good."""
        with torch.no_grad():
            for parameter, state in self._states():
                if _AVERAGE in state:
                    parameter.copy_(state[_AVERAGE])

    def _states(self) -> Iterator[tuple[nn.Parameter, dict[str, Any]]]:
        return ((p, one.state[p]) for one in self._each for group in one.param_groups for p in group["params"])

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for one in self._each:
            one.zero_grad(set_to_none=True)  # None is how `sum_gradients` knows what was not reached


def build_optimizer(model: StagedModel, recipe: OptimizerRecipe, *, whole: Collection[str] = frozenset()) -> Optimizers:
    """Return the optimizer over the parameters that train, grouped by depth and by whether weight decay applies.

    The mask decoder, the prompt encoder and the encoder's last stage learn at the full rate; each stage before learns
    `layer_decay` times slower than the one after it. Parameters in `whole` learn at `whole_scale` times the rate. A
    group's `scale` is the product of these factors.

    With "muon" the matrices of linear layers move by Muon (Jordan et al. 2024; scaled as in Liu et al. 2025,
    arXiv:2502.16982), which turns a step the same way in all directions of a matrix, and all else by AdamW. With `ema`
    the exponential moving average of what moves is kept (Polyak and Juditsky 1992).
    """
    groups: dict[bool, dict[tuple[float, float], list[nn.Parameter]]] = {
        True: defaultdict(list), False: defaultdict(list)
    }  # fmt: skip
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_weight = _is_weight(name, parameter)
            decay = recipe.weight_decay if is_weight else 0.0
            is_matrix = recipe.kind == "muon" and is_weight and parameter.ndim == 2
            scale = _lr_scale(model, name, recipe.layer_decay) * (recipe.muon_scale if is_matrix else 1.0)
            scale *= recipe.whole_scale if name in whole else 1.0
            groups[is_matrix][scale, decay].append(parameter)
    matrices, others = ([
        {"params": found, "weight_decay": decay, "scale": scale} for (scale, decay), found in groups[kind].items()
    ] for kind in (True, False))  # fmt: skip
    each: list[torch.optim.Optimizer] = []
    if matrices:
        # So scaled, a step is as long as one of AdamW's, and one rate suits both.
        each.append(torch.optim.Muon(matrices, lr=recipe.lr, adjust_lr_fn="match_rms_adamw"))
    if others:
        each.append(torch.optim.AdamW(others, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps))
    return Optimizers(*each, ema=recipe.ema)


def set_lr(optimizer: Optimizers, lr: float) -> None:
    """Give every group the learning rate `lr` times its own scale."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]


def steps_of_warmup(total_steps: int, recipe: OptimizerRecipe) -> int:
    """Return how many of `total_steps` the learning rate takes to rise."""
    return min(recipe.warmup_steps, total_steps // 2)  # a short run gets past it


def lr_at(step: int, total_steps: int, recipe: OptimizerRecipe) -> float:
    """Return the learning rate of step `step` (from 0) of `total_steps`.

    A pure function of the step: a resumed run needs no scheduler state.
    """
    warmup = steps_of_warmup(total_steps, recipe)
    if step < warmup:
        return recipe.lr * (step + 1) / warmup  # the first step is not wasted on 0
    if recipe.schedule == "constant":
        return recipe.lr
    done = (step - warmup) / max(1, total_steps - warmup)
    wave = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return recipe.lr * (recipe.final_lr + (1 - recipe.final_lr) * wave)


def _lr_scale(model: StagedModel, name: str, layer_decay: float) -> float:
    stages = model.encoder_stages
    for depth, prefixes in enumerate(stages):
        if name.startswith(prefixes):
            return float(layer_decay ** (len(stages) - 1 - depth))
    return 1.0


def _is_weight(name: str, parameter: nn.Parameter) -> bool:
    """Say whether a parameter is a layer's weights, and no bias, norm, table or token: those have no decay."""
    # "point_embed" is in the name of the not-a-point token too.
    return parameter.ndim >= 2 and not any(part in name for part in _UNDECAYED)


def optimizer_state(model: StagedModel, optimizer: Optimizers) -> dict[str, Tensor]:
    """Return the optimizer's moments and step counts as flat tensors, "parameter name|moment"."""
    return {
        # By name: torch's own state dict numbers parameters by their place in the groups.
        f"{name}|{moment}": value
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
        for moment, value in optimizer.state_of(parameter).items()
    }


def load_optimizer_state(model: StagedModel, optimizer: Optimizers, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_state` returned.

    Raises:
        ModelError: the state is of parameters that do not train now.
    """
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    for key, value in tensors.items():
        name, moment = key.rsplit("|", 1)
        if name not in parameters:
            raise ModelError(
                f"The checkpoint holds optimizer state of '{name}', which does not train under the present settings. "
                "Resume with the settings the run was started with."
            )
        parameter = parameters[name]
        # AdamW keeps its step count on the CPU wherever the parameter is.
        optimizer.state_of(parameter)[moment] = value if moment == "step" else value.to(parameter.device)
