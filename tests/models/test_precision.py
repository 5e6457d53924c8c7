"""bf16 by itself only where it is safe: a frozen encoder, fast arithmetic, masks that agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segtune.core.types import Image, Prompts
from segtune.models import precision as module
from segtune.models.precision import bf16_agreement, choose_precision
from segtune.models.sam.model import Sam


@pytest.fixture
def examples() -> list[tuple[Image, Prompts]]:
    """Two images with two clicks each."""
    rng = np.random.default_rng(0)
    none = torch.zeros(2, dtype=torch.bool)
    return [
        (
            rng.integers(0, 256, (40, 60, 3), dtype=np.uint8),
            Prompts(
                torch.zeros(2, dtype=torch.int64),
                torch.from_numpy(rng.uniform(0, 40, (2, 1, 2)).astype(np.float32)),
                torch.ones(2, 1, dtype=torch.int64),
                torch.zeros(2, 4),
                none,
                none,
            ),
        )
        for _ in range(2)
    ]


def test_agreement_is_an_iou_and_leaves_the_model_alone(sam: Sam, examples: list[tuple[Image, Prompts]]) -> None:
    """Rounding moves few pixels of a small network; the setting is put back."""
    agreement = bf16_agreement(sam, examples)
    assert 0.5 < agreement <= 1
    assert sam.encoder_precision == "fp32"


def test_agreement_falls_when_the_encoder_is_coarse(
    sam: Sam, examples: list[tuple[Image, Prompts]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The masks compared are those of the two precisions: spoil one, and they no longer agree."""
    encode = Sam.encode

    def spoiled(self: Sam, pixels, frames):
        embedding = encode(self, pixels, frames)
        if self.encoder_precision == "bf16":
            embedding.features.neg_()
        return embedding

    exact = bf16_agreement(sam, examples)
    monkeypatch.setattr(Sam, "encode", spoiled)
    assert bf16_agreement(sam, examples) < exact


@pytest.mark.parametrize(
    ("agreement", "chosen"), [(0.995, "bf16"), (0.99, "bf16"), (0.9899, "fp32"), (float("nan"), "fp32")]
)
def test_masks_must_agree(
    sam: Sam,
    examples: list[tuple[Image, Prompts]],
    monkeypatch: pytest.MonkeyPatch,
    agreement: float,
    chosen: str,
) -> None:
    """From a mean IoU of .99 on, and the figure is in the reason; nothing measured is not enough."""
    sam.requires_grad_(False)
    monkeypatch.setattr(module, "has_fast_bf16", lambda _: True)
    monkeypatch.setattr(module, "bf16_agreement", lambda *_: agreement)
    choice = choose_precision(sam, examples)
    assert choice.precision == chosen
    assert f"{agreement:.4f}" in choice.reason


def test_an_encoder_that_trains_stays_in_fp32(sam: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even measured."""
    monkeypatch.setattr(module, "bf16_agreement", lambda *_: pytest.fail("measured"))
    choice = choose_precision(sam, [])
    assert (choice.precision, choice.agreement) == ("fp32", None)
    assert "trains" in choice.reason


def test_no_bf16_where_it_is_emulated(sam: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the arithmetic would only be slower."""
    sam.requires_grad_(False)
    monkeypatch.setattr(module, "has_fast_bf16", lambda _: False)
    assert choose_precision(sam, []).precision == "fp32"
