"""How an adapter is put on an opened model: by the room that made it, which this one knows by name alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from segtune.core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from segtune.models.family import PromptableModel

ATTACHING: Registry[Callable[[PromptableModel, str, Mapping[str, Tensor]], None]] = Registry(
    "kind of attachment",
    {
        "adapter": "segtune.adapters.attaching:attach",
    },
    group="segtune.attachments",
)
"""Each puts what its text and tensors say on a plain model, in place, and sets `model.attached`."""
