"""The self-supervised start of a pretraining: the image encoder learns to fill in hidden patches, masks unread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from segtune.core.progress import Progress
from segtune.data.stream import stream
from segtune.models.sam.masked_images import build_masked_image_model
from segtune.models.sam.model import Sam
from segtune.runs.pretrain_data import Shared
from segtune.runs.pretrain_settings import PretrainSettings
from segtune.training.batches import BatchSource
from segtune.training.checkpoints import CheckpointFolder
from segtune.training.examples import ExampleSource, ViewPlan, generator
from segtune.training.log import TrainingLog
from segtune.training.loop import Training, train
from segtune.training.masked_images import MaskedImages
from segtune.training.processes import Processes


def start_on_masked_images(
    settings: PretrainSettings,
    model: Sam,
    parts: Sequence[Shared],
    folder: Path,
    processes: Processes,
    stop: Callable[[], bool],
    progress: Progress,
    *,
    resume: bool,
) -> bool:
    """Train a model's image encoder, all but its neck, in place.

    Args:
        settings: the whole tree.
        model: with fresh weights.
        parts: images, from `pretrain_data.open_pretrain_data`.
        folder: where its state and its log are kept. Done already, its weights are taken from there.
        processes: who trains together.
        stop: says whether the user asked to stop.
        progress: what people see.
        resume: go on from the last checkpoint, if there is one.

    Returns:
        Whether it came to its end; not if the user stopped it.
    """
    recipe, steps = settings.start_recipe, settings.start_recipe.steps or 1
    drawn = torch.Generator().manual_seed(int(generator(recipe.seed, "masked images").integers(1 << 31)))
    masked = build_masked_image_model(
        model.image_encoder, drawn, decoder_width=settings.mae.decoder_width, decoder_depth=settings.mae.decoder_depth
    )
    images = stream(parts, recipe.optimizer.batch * steps)
    views = ViewPlan(settings.augment, recipe.seed)
    source = ExampleSource(images, model.preparation, model.mask_size, views, recipe.prompts)
    job = Training(
        model=masked,
        objective=MaskedImages(masked, recipe, settings.mae),
        batches=BatchSource(source, recipe, processes),
        recipe=recipe,
        validate=None,
        checkpoints=CheckpointFolder(folder / "checkpoints"),
        open_log=lambda keep, step: TrainingLog(folder, keep=keep, step=step),
        processes=processes,
        stop=stop,
        progress=progress,
    )
    progress.say(f"A start on images alone: the image encoder learns to fill in hidden patches (steps: {steps}).")
    return not train(job, resume=resume and job.checkpoints.has("last")).stopped
