"""Ways that add to a weight a matrix of few parameters: LoRA and its kin, through `peft`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from segtune.adapters.injection import LinearOptions, SubtractingAdapter, inject, narrow_side
from segtune.adapters.rank_allocation import RankAdapter
from segtune.adapters.way import BESIDE, FEW, Installed, Way

if TYPE_CHECKING:
    from segtune.models.family import PromptableModel


class RankOptions(LinearOptions):
    """Of LoRA and what is built like it."""

    r: int = Field(8, ge=1, description="Rank.")
    alpha: float | None = Field(
        None, gt=0, description="What is added is scaled by alpha / r, in rslora by alpha / √r; not given: 2 r."
    )

    @property
    def strength(self) -> float:
        """Return alpha, whether or not it was given."""
        return 2 * self.r if self.alpha is None else self.alpha


class DropoutOptions(RankOptions):
    """Of LoRA."""

    dropout: float = Field(0.0, ge=0, lt=1, description="Share of the inputs of what is added that is dropped.")


class VeraOptions(LinearOptions):
    """Of VeRA, whose matrices are drawn once, shared and frozen: only a scale for each row trains."""

    r: int = Field(64, ge=1, description="Rank of the shared matrices.")


def _lora(
    model: PromptableModel, options: DropoutOptions, fresh: bool, *, name: str = "lora", **changes: Any
) -> Installed:
    return inject(model, name, options, lambda peft, layers: peft.LoraConfig(
        target_modules=layers, r=options.r, lora_alpha=options.strength, lora_dropout=options.dropout, **changes
    ))  # fmt: skip


def _pissa(model: PromptableModel, options: RankOptions, fresh: bool) -> Installed:
    """The greatest singular vectors train, the rest of the weight is frozen."""
    installed = inject(
        model, "pissa", options,
        lambda peft, layers: peft.LoraConfig(
            target_modules=layers, r=options.r, lora_alpha=options.strength,
            init_lora_weights="pissa" if fresh else True,
        ),
        # A layer has no more singular vectors than its narrow side.
        accepts=lambda layer: narrow_side(layer) >= options.r,
        make=SubtractingAdapter,
    )  # fmt: skip
    if fresh and isinstance(installed.adapter, SubtractingAdapter):
        installed.adapter.begin(model)
    return installed


def _hadamard(model: PromptableModel, options: RankOptions, fresh: bool) -> Installed:
    return inject(model, "loha", options, lambda peft, layers: peft.LoHaConfig(
        target_modules=layers, r=options.r, alpha=options.strength
    ))  # fmt: skip


def _kronecker(model: PromptableModel, options: RankOptions, fresh: bool) -> Installed:
    return inject(model, "lokr", options, lambda peft, layers: peft.LoKrConfig(
        target_modules=layers, r=options.r, alpha=options.strength
    ))  # fmt: skip


def _vera(model: PromptableModel, options: VeraOptions, fresh: bool) -> Installed:
    return inject(model, "vera", options, lambda peft, layers: peft.VeraConfig(
        target_modules=layers, r=options.r, save_projection=True
    ))  # fmt: skip


def _adalora(model: PromptableModel, options: RankOptions, fresh: bool) -> Installed:
    """LoRA as a singular value decomposition; ranks move to where they are of most use."""
    begin = round(1.5 * options.r)  # the paper's own surplus to prune from
    return inject(
        model, "adalora", options,
        # Of the steps, which are not known yet, only `RankAllocation` makes use.
        lambda peft, layers: peft.AdaLoraConfig(
            # peft divides by the rank it begins with, for good; what is asked for is alpha over the rank that is left.
            target_modules=layers, init_r=begin, target_r=options.r, lora_alpha=options.strength * begin / options.r,
            total_step=1,
        ),
        make=partial(RankAdapter, rank=options.r),
    )  # fmt: skip


LORA = Way(DropoutOptions, _lora, rate=BESIDE)
"""Hu et al. 2021, arXiv 2106.09685."""

RSLORA = Way(DropoutOptions, partial(_lora, name="rslora", use_rslora=True), rate=BESIDE)
"""Scaled by alpha / √r: Kalajdzievski 2023, arXiv 2312.03732."""

DORA = Way(DropoutOptions, partial(_lora, name="dora", use_dora=True), rate=BESIDE)
"""Direction by LoRA, magnitude by a vector: Liu et al. 2024, arXiv 2402.09353."""

PISSA = Way(RankOptions, _pissa, rate=BESIDE)
"""Meng et al. 2024, arXiv 2404.02948."""

LOHA = Way(RankOptions, _hadamard, rate=BESIDE)
"""Hadamard product of two low-rank products: Hyeon-Woo et al. 2021, arXiv 2108.06098."""

LOKR = Way(RankOptions, _kronecker, rate=FEW)
"""Kronecker product: Yeh et al. 2023, arXiv 2309.14859."""

VERA = Way(VeraOptions, _vera, rate=FEW)
"""Kopiczko et al. 2023, arXiv 2310.11454."""

ADALORA = Way(RankOptions, _adalora, rate=BESIDE)
"""Zhang et al. 2023, arXiv 2303.10512."""
