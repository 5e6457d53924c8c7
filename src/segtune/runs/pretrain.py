"""Train a Segment Anything model from nothing on drawn scenes: the one training loop with other settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from segtune.adapters.scopes import train_only
from segtune.core.files import write_json
from segtune.core.progress import SILENT, Progress
from segtune.data.augment import AugmentSettings
from segtune.data.drawn import drawn_dataset
from segtune.models.family import PromptableModel
from segtune.runs.folder import RunFolder, describe_surroundings, now
from segtune.runs.interrupt import StopOnInterrupt
from segtune.training.batches import BatchSource
from segtune.training.checkpoints import CheckpointFolder
from segtune.training.examples import ExampleSource, ViewPlan
from segtune.training.log import TrainingLog
from segtune.training.loop import Training, TrainingState, Validation, train
from segtune.training.processes import Processes, joined
from segtune.training.recipe import Recipe

STILL = AugmentSettings.none()
"""Scenes are drawn with all the variety they need; each is seen as it was drawn."""


@dataclass(frozen=True)
class Pretraining:
    """What is drawn and how the model learns from it.

    Attributes:
        images: how many scenes an epoch draws.
        first: seed of the first scene; each epoch sees the same scenes.
        side: longest side of a scene in pixels, the model's own.
        recipe: how to train.
    """

    images: int
    first: int
    side: int
    recipe: Recipe


def pretrain(
    model: PromptableModel,
    plan: Pretraining,
    out: Path,
    *,
    validate: Callable[[], Validation] | None = None,
    device: str = "cpu",
    resume: bool = False,
    progress: Progress = SILENT,
) -> TrainingState:
    """Train `model` whole, in place, on drawn scenes.

    Args:
        model: freshly made, or trained at another size.
        plan: scenes and recipe.
        out: where log, checkpoints and the record go.
        validate: scores the model after each epoch; None takes the last epoch's weights as the best.
        device: "cpu" or "cuda".
        resume: go on from the last checkpoint in `out`.
        progress: what people see.
    """
    folder = RunFolder(out)
    train_only(model, "full")
    model.to(device)
    with joined(device) as processes, StopOnInterrupt() as stop:
        if processes.is_first:
            out.mkdir(parents=True, exist_ok=True)
            write_json(out / "plan.json", {"images": plan.images, "first": plan.first, "side": plan.side}
                       | {"recipe": plan.recipe.model_dump(mode="json")})  # fmt: skip
            folder.write_record(**describe_surroundings())
        state = train(
            Training(
                model=model,
                batches=_batches(model, plan, processes),
                recipe=plan.recipe,
                validate=validate,
                checkpoints=CheckpointFolder(folder.checkpoints),
                open_log=lambda keep, step: TrainingLog(out, keep=keep, step=step),
                processes=processes,
                stop=stop,
                progress=progress,
            ),
            resume=resume,
        )
        if processes.is_first:
            # Sums of floats depend on how they are shared among threads: another number may give other weights.
            folder.write_record(finished=now(), torch_threads=torch.get_num_threads())
    return state


def _batches(model: PromptableModel, plan: Pretraining, processes: Processes) -> BatchSource:
    scenes = drawn_dataset(plan.images, side=plan.side, first=plan.first)
    views = ViewPlan(STILL, plan.recipe.seed)
    source = ExampleSource(scenes, model.preparation, model.mask_size, views, plan.recipe.prompts)
    return BatchSource(source, plan.recipe, processes)
