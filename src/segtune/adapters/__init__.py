"""What trains. A way freezes a model but for what it names, or for what it puts into it.

To add one: write a `way.Way` (which options it takes, and a function that installs it on a model) and one line in
`WAYS`. `tests/contracts/test_adapters.py` then tests it without a new test: the function stays the same at the start,
nothing but what is named trains, merged equals unmerged, and what is saved opens again.

Other packages add theirs under the entry-point group `segtune.adapters`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtune.core.registry import Registry

if TYPE_CHECKING:
    from segtune.adapters.way import Way

WAYS: Registry[Way] = Registry(
    "way of training (--train)",
    {
        "adalora": "segtune.adapters.low_rank:ADALORA",
        "bias": "segtune.adapters.scopes:BIAS",
        "boft": "segtune.adapters.rescaling:BOFT",
        "bottleneck": "segtune.adapters.bottleneck:BOTTLENECK",
        "conv_lora": "segtune.adapters.conv_lora:CONV_LORA",
        "decoder": "segtune.adapters.scopes:DECODER",
        "decoder+prompt": "segtune.adapters.scopes:DECODER_AND_PROMPT",
        "dora": "segtune.adapters.low_rank:DORA",
        "full": "segtune.adapters.scopes:FULL",
        "ia3": "segtune.adapters.rescaling:IA3",
        "late": "segtune.adapters.scopes:LATE",
        "loha": "segtune.adapters.low_rank:LOHA",
        "lokr": "segtune.adapters.low_rank:LOKR",
        "lora": "segtune.adapters.low_rank:LORA",
        "norm": "segtune.adapters.scopes:NORM",
        "pissa": "segtune.adapters.low_rank:PISSA",
        "rslora": "segtune.adapters.low_rank:RSLORA",
        "tokens": "segtune.adapters.tokens:TOKENS",
        "vera": "segtune.adapters.low_rank:VERA",
    },
    group="segtune.adapters",
)
