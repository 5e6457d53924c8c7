"""Every setting of a pretraining in one typed tree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from segtune.core.errors import UsageError
from segtune.data.augment import AugmentSettings
from segtune.runs.settings import PromptModes, ReadingSettings
from segtune.runs.settings_tree import Composed, compose, parse_override
from segtune.training.recipe import MaskedImageRecipe, Recipe, Section

SCENES = "scenes"
"""The source that is drawn (`data.scenes`); all others are folders."""

MAE = "mae"
"""The `model.init` that is no model: fresh weights with a self-supervised start on masked images."""

RECIPE: dict[str, Any] = {
    "training.patience": None,
    "training.prompts.first": {
        "random_click": 0.3, "click": 0.1, "jittered_box": 0.3, "loose_box": 0.1, "point_box": 0.1, "mask": 0.1
    },
    "training.prompts.corrections": 7,
    # Drawn scenes hold many specks: chosen alike, half of what is learned from is smaller than a patch.
    "training.prompts.size_weight": 0.5,
    # From fresh weights SAM's 20 focal to 1 dice settles for empty masks: with p near 0 both have next to no slope.
    "training.loss.weights": {"bce": 0.5, "dice": 0.5},
    "training.optimizer.kind": "muon",
    "training.optimizer.lr": 1e-3,
    "training.optimizer.layer_decay": 1.0,
    "training.optimizer.warmup_steps": 100,
    "training.optimizer.final_lr": 0.02,
    "training.optimizer.batch": 16,
    "training.optimizer.micro_batch": 8,
}  # fmt: skip
"""SAM's recipe (paper, appendix A) with what fresh weights need besides, where it differs from a fit's."""


_INSTEAD = {
    "training.epochs": "say its length in steps: --steps, or --set steps=N",
    "training.steps": "its steps are --steps, or --set steps=N",
    "training.epoch_steps": "the steps from one look at the model to the next are --set validation.every=N",
}
"""Settings of the recipe that follow from a pretraining's own, and those to give instead."""


class SourceSettings(ReadingSettings):
    """What the images are of, and how those of folders are read."""

    sources: tuple[str, ...] = Field((SCENES,), min_length=1, description="scenes (drawn), or folders with masks.")
    shares: tuple[float, ...] | None = Field(None, description="Share of the images by source; null: all alike.")
    first: int = Field(0, ge=0, description="Seed of the first drawn scene: another training sees others from another.")
    cutouts: str | None = Field(
        None, description="A folder of pictures on a transparent ground; drawn scenes for training then hold them too."
    )
    cutout_share: float = Field(0.5, gt=0, le=1, description="Share of a scene's things that are cut-outs.")

    @field_validator("shares")
    @classmethod
    def _positive(cls, shares: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if shares is not None and min(shares) <= 0:
            raise ValueError("shares must be above 0; leave out a source that shall have none")
        return shares


class PretrainModelSettings(Section):
    """What is trained, and from where."""

    size: Literal["nano", "tiny", "small", "base", "micro"] = Field("nano", description="The network's size.")
    side: int | None = Field(None, ge=32, description="Side of its input in pixels; null: that of the size.")
    init: str | None = Field(
        None, description="A model of the same size to go on from; mae: masked images first; null: fresh weights."
    )
    head_start: bool = Field(True, description="Fresh weights begin like a convolutional network's.")
    half: bool = Field(False, description="Save the result in half precision.")


class MaskedStartSettings(MaskedImageRecipe):
    """The self-supervised start on images alone; read where model.init is mae."""

    sources: tuple[str, ...] | None = Field(
        None, min_length=1, description="scenes, or folders of images without masks; null: the images of data.sources."
    )
    steps: int | None = Field(None, ge=1, description="Its steps, in front of the others; null: a fifth of those.")


class PretrainValidationSettings(Section):
    """How the model is looked at on the way."""

    modes: PromptModes = Field(("click", "box", "clicks3"), description="Prompt modes.")
    images: int = Field(40, ge=1, description="Images with objects kept out of each source, a tenth of them at most.")
    every: int = Field(1000, ge=1, description="Steps from one look to the next.")


class PretrainSettings(Section):
    """The whole tree."""

    out: str = Field("", description="The run folder.")
    device: str = Field("auto", description="cpu, cuda, cuda:N, or auto.")
    steps: int = Field(10_000, ge=1, description="Steps in all.")
    data: SourceSettings = SourceSettings()
    model: PretrainModelSettings = PretrainModelSettings()
    mae: MaskedStartSettings = MaskedStartSettings()
    training: Recipe = Recipe()
    augment: AugmentSettings = AugmentSettings.none()
    validation: PretrainValidationSettings = PretrainValidationSettings()

    @property
    def recipe(self) -> Recipe:
        """The recipe with as many epochs as there are looks, and steps as asked."""
        looks = math.ceil(self.steps / self.validation.every)
        told = {"epochs": looks, "epoch_steps": self.validation.every, "steps": self.steps}
        return self.training.model_copy(update=told)

    @property
    def start_recipe(self) -> Recipe:
        """The recipe of the self-supervised start: one pass over as many images as its steps take."""
        steps = self.mae.steps or math.ceil(self.steps / 5)
        return self.training.model_copy(update={"epochs": 1, "epoch_steps": None, "steps": steps})


def load_pretrain_settings(
    *, out: Path | str, overrides: Sequence[str] = (), **options: Any
) -> Composed[PretrainSettings]:
    """Compose the settings of a pretraining: defaults, then the command line.

    Args:
        out: the run folder.
        overrides: "dotted.name=value" with the value in YAML, as `--set` takes them.
        options: settings by dotted name with "__" for the dot (`data__sources=("scenes",)`); None is left out.

    Raises:
        UsageError: an unknown setting, or a value that is not allowed; or one that says nothing in a pretraining.
    """
    given = {"out": str(out)} | {name.replace("__", "."): value for name, value in options.items()}
    values = {name: (value, "pretraining") for name, value in RECIPE.items()}
    values |= {name: (value, "command line") for name, value in given.items() if value is not None}
    written = dict(parse_override(override, PretrainSettings) for override in overrides)
    values |= {name: (value, "--set") for name, value in written.items()}
    # Not in the tree itself, which also reads files of earlier pretrainings: those hold them, as defaults or not.
    for name in sorted(values.keys() & _INSTEAD.keys()):
        raise UsageError(f"The setting {name} has no effect on a pretraining, so leave it out; {_INSTEAD[name]}.")
    return compose(values, PretrainSettings)
