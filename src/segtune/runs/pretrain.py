"""Train a Segment Anything model on drawn scenes and folders: the one training loop with other settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from segtune.adapters.scopes import train_only
from segtune.core.errors import DataError, ModelError, UsageError
from segtune.core.progress import SILENT, Progress
from segtune.data.stream import stream
from segtune.models.allocator import keep_large_blocks
from segtune.models.device import pick_device
from segtune.models.drop_path import spread_drop_path
from segtune.models.family import PromptableModel
from segtune.models.open import open_model
from segtune.models.sam.build import build_sam
from segtune.models.sam.head_start import give_head_start
from segtune.models.sam.model import Sam
from segtune.models.sam.resize import check_side
from segtune.models.sam.sizes import SIZES, VIT_B
from segtune.models.save import RECORD, THRESHOLDS, rewrite_entry, save_model
from segtune.models.sides import at_side
from segtune.runs.calibrate import MOST, fit_everything
from segtune.runs.draw import blind_order
from segtune.runs.folder import RunFolder, describe_surroundings, now
from segtune.runs.interrupt import StopOnInterrupt
from segtune.runs.masked_start import start_on_masked_images
from segtune.runs.precision import settle_training_precision
from segtune.runs.pretrain_data import PretrainSource, open_pretrain_data
from segtune.runs.pretrain_settings import MAE, PretrainSettings
from segtune.runs.settings_tree import Composed, read_composed
from segtune.runs.validation import score_means
from segtune.training.batches import BatchSource
from segtune.training.checkpoints import CheckpointFolder
from segtune.training.examples import ExampleSource, ViewPlan
from segtune.training.log import TrainingLog
from segtune.training.loop import Training, Validation, train
from segtune.training.processes import Processes, joined
from segtune.training.step import PromptedMasks
from segtune.training.weights import weigh_objects


@dataclass(frozen=True)
class PretrainResult:
    """What came of a pretraining.

    Attributes:
        folder: the run folder, whose model/ opens like any model.
        steps: done in all.
        stopped: the user ended it early; model/ is what was reached.
        validation: mean IoU by prompt mode, of the images kept out, at the end.
        thresholds: of everything mode, fitted on them; none if the user asked to stop, or no mask was of an object.
        in_start: it was stopped before its first step on prompts: there is no model/ yet.
    """

    folder: Path
    steps: int
    stopped: bool
    validation: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    in_start: bool = False


def pretrain(
    settings: Composed[PretrainSettings], *, resume: bool = False, progress: Progress = SILENT
) -> PretrainResult | None:
    """Train a model whole, from fresh weights or another model's, and save it as reached at the end.

    Args:
        settings: the whole tree; with `resume` only `out` and `device` are read, the rest comes from the run folder.
        resume: go on from the last checkpoint.
        progress: what people see.

    Returns:
        The result; None in every process but the first.

    Raises:
        SegtuneError: a mistake of the user's or a lack of the machine's; the run folder keeps what was complete.
    """
    folder = RunFolder(Path(settings.settings.out))
    if resume:
        settings = _resumed(settings, folder)
    else:
        folder.require_free()
    tree = settings.settings
    device = pick_device(tree.device)
    with StopOnInterrupt() as stop, joined(device) as processes:
        stopped_in_start = PretrainResult(folder.path, 0, True, in_start=True) if processes.is_first else None
        model = _begin(tree, device)
        # With a checkpoint of its own the training proper has begun, and the encoder's start is in its weights.
        begun = resume and CheckpointFolder(folder.checkpoints).has("last")
        side = model.preparation.side
        data = open_pretrain_data(tree, side, folder, processes, stop, progress, resume=resume, started=begun)
        if processes.is_first and not resume:
            _write_beginning(settings, folder)
        if data is None:
            return stopped_in_start
        keep_large_blocks()
        train_only(model, "full")
        recipe = settle_training_precision(tree.training, device, folder, processes)
        tree = tree.model_copy(update={"training": recipe})
        if data.unlabelled and isinstance(model, Sam):
            images, place = data.unlabelled, folder.masked_start
            if not start_on_masked_images(tree, model, images, place, processes, stop, progress, resume=resume):
                return stopped_in_start
        spread_drop_path(model, tree.training.drop_path)  # only now: the start on masked images has a recipe of its own
        looks: list[Validation] = []

        def look() -> Validation:
            looks.append(_validate(tree, model, data.sources, processes, progress))
            return looks[-1]

        job = _assemble(tree, model, data.sources, folder, processes, look, stop, progress)
        # The loop asks after its first step, in front of which the model is looked at.
        if not begun and processes.any(stop()):
            return stopped_in_start
        state = train(job, resume=begun)
        if not processes.is_first:
            return None
        record = {"made_by": "segtune pretrain", "steps": state.step, "settings": tree.model_dump(mode="json")}
        save_model(model, folder.model, extra=record, half=tree.model.half)
        # Sums of floats depend on how they are shared among threads: another number may give other weights.
        folder.write_record(finished=now(), stopped=state.stopped, torch_threads=torch.get_num_threads())
        # Stopped on the way, or resumed at its end, it was not looked at as it is.
        is_looked_at = looks and not state.stopped
        means = looks[-1] if is_looked_at else _validate(tree, model, data.sources, Processes(), progress)
        ious = {mode: round(values["iou"], 4) for mode, values in means.items()}
        result = PretrainResult(folder.path, state.step, state.stopped, ious)
    # The model is there: from here on Ctrl-C ends it at once, and --resume comes back to this.
    if state.stopped or stop():
        return result
    return replace(result, thresholds=_fit_thresholds(model, data.sources, folder, progress))


def _resumed(asked: Composed[PretrainSettings], folder: RunFolder) -> Composed[PretrainSettings]:
    if not folder.pretraining.is_file():
        raise ModelError(
            f"{folder.path} holds no pretraining to go on with: no pretraining.yaml is there. Leave --resume out."
        )
    return asked.resumed(read_composed(folder.pretraining, PretrainSettings), folder.path)


def _write_beginning(settings: Composed[PretrainSettings], folder: RunFolder) -> None:
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write_record(**describe_surroundings())
    settings.write(folder.pretraining)


def _begin(settings: PretrainSettings, device: str) -> PromptableModel:
    """Return the model that training starts from."""
    asked = settings.model
    sizes = VIT_B if asked.size == "base" else SIZES[asked.size]
    side = asked.side or sizes.side
    check_side(side, sizes.patch)
    if asked.init in (None, MAE):
        drawn = torch.Generator().manual_seed(settings.training.seed)
        fresh = build_sam(replace(sizes, side=side), generator=drawn)
        if asked.head_start:
            give_head_start(fresh, drawn)
        return fresh.to(device)
    model = open_model(asked.init, device=device)
    if not isinstance(model, Sam) or replace(model.sizes, side=sizes.side) != sizes:
        raise UsageError(
            f"The model {asked.init} is not of the size '{asked.size}', so its weights do not fit. Give --size the one "
            "it was made with."
        )
    model.quality_map = None  # of a head that goes on learning
    return at_side(model, side)


def _assemble(
    settings: PretrainSettings,
    model: PromptableModel,
    sources: Sequence[PretrainSource],
    folder: RunFolder,
    processes: Processes,
    look: Callable[[], Validation],
    stop: Callable[[], bool],
    progress: Progress,
) -> Training:
    """Return what the loop is handed."""
    recipe = settings.recipe
    images = stream([(one.train, one.share) for one in sources], recipe.optimizer.batch * settings.steps)
    views = ViewPlan(settings.augment, recipe.seed)
    weights = weigh_objects(images, recipe.loss, recipe.prompts, progress)
    source = ExampleSource(images, model.preparation, model.mask_size, views, recipe.prompts, weights=weights)
    return Training(
        model=model,
        objective=PromptedMasks(model, recipe),
        batches=BatchSource(source, recipe, processes),
        recipe=recipe,
        validate=look,
        checkpoints=CheckpointFolder(folder.checkpoints),
        open_log=lambda keep, step: TrainingLog(folder.path, keep=keep, step=step),
        processes=processes,
        stop=stop,
        progress=progress,
    )


def _fit_thresholds(
    model: PromptableModel, sources: Sequence[PretrainSource], folder: RunFolder, progress: Progress
) -> dict[str, float]:
    """Fit everything mode's thresholds on images kept out, keep them with the saved model, and return them.

    Where no mask is of an object there are none: those of the model it went on from are another's.
    """
    parts = [(one.held_out, float(len(one.held_out))) for one in sources]
    images = stream(parts, sum(len(part) for part, _ in parts))  # by these shares each image once
    drawn = sorted(blind_order(images, 0, "calibration")[:MOST])
    try:
        thresholds = fit_everything(model, images.subset(images.names[row] for row in drawn), progress).chosen
    except DataError:
        thresholds = {}
    rewrite_entry(folder.model / RECORD, THRESHOLDS, thresholds or None)
    return thresholds


def _validate(
    settings: PretrainSettings, model: PromptableModel, sources: Sequence[PretrainSource], processes: Processes,
    progress: Progress,
) -> Validation:  # fmt: skip
    """Return the mean over the sources, each of which counts alike however many images it has."""
    found: list[Validation] = []
    for one in sources:
        means = score_means(
            model, one.held_out, modes=settings.validation.modes, progress=progress, processes=processes
        )
        if means:
            found.append(means)
    if not found:
        raise DataError(
            "None of the images that are kept out of training to look at the model can be asked about: they have no "
            "object, or cannot be read any more. Mend them, or begin anew with another --out, which keeps out others "
            "that have."
        )
    return {
        mode: {metric: sum(means[mode][metric] for means in found) / len(found) for metric in found[0][mode]}
        for mode in found[0]
    }
