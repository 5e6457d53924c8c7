"""A whole training in miniature: a micro model and a few drawn discs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from segtune.adapters.scopes import train_only
from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.augment import AugmentSettings
from segtune.data.dataset import Dataset
from segtune.data.unlabelled import without_masks
from segtune.models import FAMILIES
from segtune.models.embedding_cache import EmbeddingCache
from segtune.models.prefix import frozen_prefix
from segtune.models.sam.build import build_sam
from segtune.models.sam.masked_images import build_masked_image_model
from segtune.models.sam.sizes import MICRO
from segtune.training import loop
from segtune.training.batches import BatchSource
from segtune.training.checkpoints import CheckpointFolder
from segtune.training.examples import ExampleSource, ViewPlan
from segtune.training.log import TrainingLog
from segtune.training.loop import Training
from segtune.training.masked_images import MaskedImages
from segtune.training.processes import Processes
from segtune.training.recipe import MaskedImageRecipe, OptimizerRecipe, PromptRecipe, Recipe
from segtune.training.step import PromptedMasks


def discs(count: int, *, size: tuple[int, int] = (48, 64)) -> Dataset:
    """Images with one to three bright discs each; the number differs from image to image."""
    return Dataset.of([_disc_sample(number, size) for number in range(count)])


def _disc_sample(number: int, size: tuple[int, int]) -> Sample:
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[: size[0], : size[1]]
    image = rng.integers(0, 60, (*size, 3)).astype(np.uint8)
    masks = []
    for _ in range(1 + number % 3):
        y, x, radius = rng.uniform(10, size[0] - 10), rng.uniform(10, size[1] - 10), rng.uniform(6, 11)
        mask = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        image[mask] = np.minimum(255, image[mask] + 150)
        masks.append(RunLengths.encode(mask))
    return Sample(f"disc-{number}", size, tuple(masks), ("disc",) * len(masks), lambda: image)


def small_recipe(**changes) -> Recipe:
    """Two epochs, four images a step, two corrections."""
    optimizer = OptimizerRecipe(lr=1e-3, batch=4, micro_batch=2, warmup_steps=1)
    prompts = PromptRecipe(objects_per_image=2, corrections=1, refinements=1)
    return Recipe(
        **{"epochs": 2, "workers": 0, "checkpoint_steps": 2, "optimizer": optimizer, "prompts": prompts} | changes
    )


def _in_fp32(recipe: Recipe) -> Recipe:
    """The recipe, in single precision unless it says otherwise: numbers that are the same on every machine."""
    precision = recipe.optimizer.precision
    optimizer = recipe.optimizer.model_copy(update={"precision": "fp32" if precision == "auto" else precision})
    return recipe.model_copy(update={"optimizer": optimizer})


def small_training(
    folder: Path,
    *,
    family: str = "sam",
    scope: str = "full",
    images: int = 10,
    recipe: Recipe | None = None,
    processes: Processes | None = None,
    cache: Path | None = None,
    **changes,
) -> Training:
    """A training of a fresh micro model, the same every time."""
    recipe, processes = _in_fp32(recipe or small_recipe()), processes or Processes()
    model = FAMILIES[family].tiny(torch.Generator().manual_seed(3))
    adapter = train_only(model, scope).adapter
    embeddings = None if cache is None else EmbeddingCache.for_model(model, cache, prefix=frozen_prefix(model))
    views = ViewPlan(AugmentSettings(), recipe.seed, None if cache is None else 2)
    source = ExampleSource(discs(images), model.preparation, model.mask_size, views, recipe.prompts, embeddings)
    batches = BatchSource(source, recipe, processes)
    given = {
        "model": model,
        "objective": PromptedMasks(model, recipe, embeddings),
        "batches": batches,
        "follower": None if adapter is None else adapter.follow(batches.order.total_steps),
        "recipe": recipe,
        "validate": None,
        "checkpoints": CheckpointFolder(folder / "checkpoints"),
        "open_log": lambda keep, step: TrainingLog(folder, keep=keep, step=step),
        "processes": processes,
    }
    return Training(**given | changes)


def stopped_elsewhere(monkeypatch, after: int) -> Processes:
    """One process beside another that is asked to stop after so many steps; nobody asks this one."""
    steps, step = [], loop._step
    monkeypatch.setattr(loop, "_step", lambda *given: steps.append(1) or step(*given))

    class Beside(Processes):
        def any(self, flag: bool) -> bool:
            return flag or len(steps) >= after

        def wait_while_busy(self) -> None:
            """Nobody is busy elsewhere."""

    return Beside()


def weights(training: Training) -> dict[str, torch.Tensor]:
    """All weights of the model."""
    return {name: value.detach().clone() for name, value in training.model.state_dict().items()}


def masked_training(
    folder: Path,
    *,
    images: Dataset | None = None,
    augment: AugmentSettings | None = None,
    masked: MaskedImageRecipe | None = None,
    recipe: Recipe | None = None,
    processes: Processes | None = None,
    **changes,
) -> Training:
    """A training of a micro encoder on masked images, the same every time."""
    recipe, processes = _in_fp32(recipe or small_recipe()), processes or Processes()
    sam = build_sam(MICRO, generator=torch.Generator().manual_seed(3))
    model = build_masked_image_model(sam.image_encoder, torch.Generator().manual_seed(4))
    views = ViewPlan(augment or AugmentSettings(), recipe.seed)
    source = ExampleSource(without_masks(images or discs(10)), sam.preparation, sam.mask_size, views, recipe.prompts)
    given = {
        "model": model,
        "objective": MaskedImages(model, recipe, masked or MaskedImageRecipe()),
        "batches": BatchSource(source, recipe, processes),
        "recipe": recipe,
        "validate": None,
        "checkpoints": CheckpointFolder(folder / "checkpoints"),
        "open_log": lambda keep, step: TrainingLog(folder, keep=keep, step=step),
        "processes": processes,
    }
    return Training(**given | changes)
