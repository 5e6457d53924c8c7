"""What trains. A scope freezes a model by the names of its parts and returns what is left.

To add one: write a function `(model, argument) -> list of parameter-name prefixes` and one line in `SCOPES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from segtune.core.registry import Registry

if TYPE_CHECKING:
    from segtune.models.family import PromptableModel

SCOPES: Registry[Callable[[PromptableModel, int | None], Sequence[str]]] = Registry(
    "training scope",
    {
        "decoder": "segtune.adapters.scopes:decoder",
        "decoder+prompt": "segtune.adapters.scopes:decoder_and_prompt",
        "full": "segtune.adapters.scopes:full",
        "late": "segtune.adapters.scopes:late",
    },
    group="segtune.adapters",
)
