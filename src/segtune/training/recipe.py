"""How to train, as settings. Each field's source stands beside it; `runs.settings` composes them into one tree."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from segtune.losses.mixture import REFERENCE, Mixture
from segtune.prompts import PROMPTS


class Section(BaseModel):
    """A group of settings. Unknown names are errors, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PromptRecipe(Section):
    """What the model is asked while it trains."""

    first: dict[str, float] = Field(
        {"random_click": 0.3, "click": 0.1, "jittered_box": 0.2, "loose_box": 0.1, "box": 0.1, "point_box": 0.1,
         "mask": 0.1},
        description="Shares of the simulators that draw an object's first prompt; they need not add up to 1.",
    )  # fmt: skip
    objects_per_image: int = Field(8, ge=1, description="At most so many objects of an image are prompted in a step.")
    size_weight: float = Field(
        0.0, ge=0, le=1,
        description="Of more objects than that, each is chosen by its area to this power: 0 alike, 0.5 by its side.",
    )  # fmt: skip
    prompts_per_object: int = Field(
        1, ge=1, description="Prompts of each object in a step, where they are at most objects_per_image in all."
    )
    corrections: int = Field(4, ge=0, description="Rounds with a correction click after the first (SAM: 8, SAM 2: 7).")
    refinements: int = Field(
        1, ge=0, le=2, description="Rounds without a new click: one last, a second at random (SAM: 2)."
    )
    truth_share: float = Field(
        0.1, ge=0, le=1, description="Correction clicks from the truth, not the error (SAM 2: 0.1)."
    )

    negative_share: float = Field(
        0.0, ge=0, lt=1,
        description="Share of the first prompts that lie on the background: their truth is no mask, of quality 0.",
    )  # fmt: skip

    @field_validator("first")
    @classmethod
    def _known(cls, first: dict[str, float]) -> dict[str, float]:
        for name in first:
            PROMPTS[name]  # raises on an unknown name; no ValueError, so pydantic passes it on as it is
        if not first or min(first.values()) < 0 or sum(first.values()) <= 0:
            raise ValueError("the shares of first prompts must be positive numbers, at least one above zero")
        return first

    @property
    def rounds(self) -> int:
        """Decodes an object gets in one step."""
        return 1 + self.corrections + self.refinements

    def repeats(self, objects: int) -> int:
        """Return how many prompts each of the chosen `objects` of an image gets."""
        return max(1, min(self.prompts_per_object, self.objects_per_image // max(1, objects)))

    def asked_of(self, objects: int) -> float:
        """Return how many prompts an object gets on average, of an image with so many of which all are as likely."""
        chosen = min(objects, self.objects_per_image)
        return self.repeats(chosen) * chosen / max(1, objects)


class LossRecipe(Section):
    """What is minimised: a weighted sum per mask, the least of three where there are three, and the quality head."""

    weights: dict[str, float] = Field(
        dict(REFERENCE), description="Weight by loss (SAM: focal 20 to dice 1, as shares)."
    )
    quality: float = Field(1.0, ge=0, description="Weight of the quality head's squared error (SAM: 1).")
    balance: Literal["none", "root_label", "label"] = Field(
        "none", description="label: all classes count alike however rare; root_label: half way there; none: as found."
    )
    small_objects: float = Field(
        0.0, ge=0, le=1,
        description="An object counts by its area to the power of minus this: 0 alike, 0.5 by its side, 1 by area.",
    )  # fmt: skip
    heaviest: float = Field(
        10.0, ge=1, description="With either of the two, no object counts more than so many times the average."
    )

    @field_validator("weights")
    @classmethod
    def _known(cls, weights: dict[str, float]) -> dict[str, float]:
        Mixture(weights)  # likewise, and on weights that sum up to nothing to learn from
        return weights


class MaskedImageRecipe(Section):
    """What is hidden of an image for the encoder to fill in, and by which decoder it answers."""

    mask_share: float = Field(0.75, gt=0, lt=1, description="Share of the patches that is hidden (MAE: .75).")
    block: int = Field(2, ge=1, description="Side in patches of the blocks that are hidden (SimMIM: 32 pixels).")
    decoder_width: int = Field(128, ge=32, multiple_of=32, description="Width of the decoder's blocks, if it has any.")
    decoder_depth: int = Field(0, ge=0, description="Transformer blocks of the decoder; 0: one linear layer (SimMIM).")


class OptimizerRecipe(Section):
    """How the weights move."""

    kind: Literal["adamw", "muon"] = Field(
        "adamw", description="adamw (SAM), or muon: Muon for the matrices of linear layers and AdamW for the rest."
    )
    muon_scale: float = Field(3.0, gt=0, description="Rate of the matrices under Muon, as a multiple of lr.")
    # From 1e-5 to 1e-4 results are flat, at 5e-4 training collapses (peft-sam).
    lr: float = Field(1e-4, gt=0, description="Highest learning rate, reached after the warm-up.")
    whole_scale: float = Field(
        1.0, gt=0, description="Rate of parts that train whole beside an adapter (whole=...), as a multiple of lr."
    )
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW's moments (SAM).")
    eps: float = Field(1e-8, gt=0, description="AdamW's guard against division by zero.")
    weight_decay: float = Field(
        0.1, ge=0, description="On matrices only; biases, norms and position tables have none (SAM: 0.1)."
    )
    layer_decay: float = Field(
        0.8, gt=0, le=1, description="Each encoder stage learns by this factor slower than the next (SAM: 0.8)."
    )
    clip: float | None = Field(1.0, gt=0, description="Largest norm of the gradient; null: no clipping.")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="After the warm-up.")
    warmup_steps: int = Field(50, ge=0, description="Steps of linear warm-up (SAM: 250 of 90,000).")
    final_lr: float = Field(0.1, ge=0, le=1, description="Share of lr left at the end of the cosine (SAM 2: 1/10).")
    ema: float | None = Field(
        None, gt=0, lt=1,
        description="Share of a running average of the weights that stays at each step; the average is what is "
        "validated and kept. null: none.",
    )  # fmt: skip
    batch: int = Field(8, ge=1, description="Images a step, over all processes together.")
    micro_batch: int = Field(8, ge=1, description="Images a forward pass; gradients add up to the batch.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="bf16: matrix products in bfloat16 by autocast; auto: where the device is fast at it."
    )

    @property
    def settled_precision(self) -> Literal["fp32", "bf16"]:
        """The precision steps are taken in.

        Raises:
            ValueError: it is still "auto": who trains chooses before the first step, and says what was chosen.
        """
        if self.precision == "auto":
            raise ValueError("The precision is still 'auto': settle it before the first step.")
        return self.precision


class Recipe(Section):
    """All the loop needs to know."""

    epochs: int = Field(20, ge=1, description="Epochs; each a pass over the training part, unless epoch_steps is set.")
    epoch_steps: int | None = Field(
        None, ge=1, description="Steps an epoch, at whose end the model is validated; null: a pass over the images."
    )
    steps: int | None = Field(None, ge=1, description="Steps in all, at most; null: as many as the epochs have.")
    patience: int | None = Field(
        8, ge=1, description="Stop after so many epochs no better than one before, the warm-up's apart; null: never."
    )
    checkpoint_steps: int = Field(
        100, ge=1, description="Steps between checkpoints inside an epoch; each epoch ends with one."
    )
    seed: int = Field(
        0,
        ge=0,
        description="Of order, prompts and views; views of cached embeddings are the same for all seeds.",
    )
    drop_path: float = Field(
        0.0, ge=0, lt=1,
        description="Share of the images for which each branch of SAM's last encoder block is skipped in a step; "
        "linearly fewer before it (SAM: 0.4).",
    )  # fmt: skip
    workers: int = Field(1, ge=0, description="Processes that read and augment images.")
    prompts: PromptRecipe = PromptRecipe()
    loss: LossRecipe = LossRecipe()
    optimizer: OptimizerRecipe = OptimizerRecipe()


class KeepRecipe(Section):
    """What holds a model near the pretrained one while it is tuned: terms of what is minimised."""

    l2_start: float = Field(
        0.0, ge=0, description="Weight of half the squared distance of the weights from where they began (L2-SP)."
    )
    distill: float = Field(
        0.0, ge=0,
        description="Weight of the divergence of its masks from the pretrained model's, asked the same, at each round.",
    )  # fmt: skip


class RehearsalRecipe(Section):
    """General images among those that train, with the pretrained model's own answers as targets."""

    share: float = Field(0.0, ge=0, le=0.9, description="Share of the images of a pass that are general ones.")
    source: str = Field("scenes", description="scenes (drawn), or a folder of images and masks to point at.")
    images: int = Field(256, ge=1, description="How many general images there are, seen again and again.")
    soft: bool = Field(False, description="Targets are the pretrained model's probabilities in place of its masks.")


class TuningRecipe(Recipe):
    """All the loop needs to know to tune a pretrained model."""

    keep: KeepRecipe = KeepRecipe()
    rehearsal: RehearsalRecipe = RehearsalRecipe()
