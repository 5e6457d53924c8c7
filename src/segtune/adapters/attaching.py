"""Put an adapter that was saved alone on its base again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from segtune.adapters.way import own_randomness, parse_way
from segtune.core.errors import ModelError, UsageError

if TYPE_CHECKING:
    from segtune.models.family import PromptableModel


def attach(model: PromptableModel, spec: str, tensors: Mapping[str, Tensor]) -> None:
    """Install the way `spec` on a plain model, in place, with the adapter that `tensors` hold, and leave it unmerged.

    `model.attached.merge(model)` then brings it into the plain weights, where they can express it.

    Args:
        model: the base that the adapter was trained on.
        spec: "NAME:key=value,...", as `Adapter.spec` says it.
        tensors: as `Adapter.tensors` returned them.

    Raises:
        ModelError: the way is unknown here, or its tensors do not fit this model.
        MissingExtraError: the way needs a package that is not installed.
    """
    try:
        _, way, options = parse_way(spec)
        with own_randomness(model):  # what is drawn here is replaced at once
            installed = way.install(model, options, False)
    except UsageError as error:
        raise ModelError(f"The adapter '{spec}' does not fit this {model.family} model. {error}") from error
    if installed.adapter is None:
        raise ModelError(f"'{spec}' makes no adapter, so there is nothing to put on a model.")
    model.attached = installed.adapter
    installed.adapter.load(model, tensors)
    model.requires_grad_(True)  # as every opened model is
