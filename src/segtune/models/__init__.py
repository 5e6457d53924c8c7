"""Promptable models: one contract, several networks, their weights and their embeddings on disk.

To add a family: write `models/<family>.py` (or a folder) with one subclass of `models.family.PromptableModel` and a
`models.family.Family`, which says how its files are read and written, and name that in one line of `FAMILIES`.
`tests/contracts/test_families.py` then tests it without a new test, on the model that `Family.tiny` makes: shapes,
gradients in every part, a ragged batch equal to its prompts alone, clicks on non-square images, weights out and in
again.

One whose image encoder can be run in two is a `models.family.SplitModel`: where its late layers train, what comes
in front of them is then run once an image. The contract tests run it in two at each place it names.

Other packages add theirs under the entry-point group `segtune.models`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtune.core.registry import Registry

if TYPE_CHECKING:
    from segtune.models.family import Family

FAMILIES: Registry[Family] = Registry(
    "model family",
    {
        "edgetam": "segtune.models.edgetam:EDGETAM",
        "mobile_sam": "segtune.models.sam.mobile_files:MOBILE_SAM",
        "sam": "segtune.models.sam.files:SAM",
        "sam2": "segtune.models.sam2:SAM2",
        "sam3": "segtune.models.sam3:SAM3",
        "sam3_concepts": "segtune.models.sam3_concepts:SAM3_CONCEPTS",
        "sam_hq": "segtune.models.sam_hq:SAM_HQ",
    },
    group="segtune.models",
)
