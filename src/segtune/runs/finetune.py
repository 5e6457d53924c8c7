"""THE assembler: from settings to a run folder with a tuned model and the proof."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from segtune.adapters.scopes import Trainable, train_only
from segtune.core.errors import UsageError
from segtune.core.files import read_json
from segtune.core.progress import SILENT, Progress
from segtune.data.dataset import Dataset
from segtune.data.fingerprints import Fingerprints
from segtune.evaluation.forgetting import PRETRAINED, measure_forgetting
from segtune.evaluation.leakage import find_leaks
from segtune.evaluation.matrix import Scorer, evaluate
from segtune.evaluation.results import General
from segtune.models.allocator import keep_large_blocks
from segtune.models.device import pick_device
from segtune.models.drop_path import spread_drop_path
from segtune.models.embedding_cache import EmbeddingCache
from segtune.models.family import PromptableModel
from segtune.models.fingerprint import hash_weights
from segtune.models.open import open_model
from segtune.models.quality import QualityMap
from segtune.models.save import QUALITY, RECORD, THRESHOLDS, layout_of, save_model
from segtune.runs.adapter import write_adapter
from segtune.runs.base import open_base, open_start
from segtune.runs.cache import plan_cache, recorded_cache
from segtune.runs.data import RunData, learned_besides, prepare_data, warn_of_certain_masks
from segtune.runs.embeddings import CachedEmbedder
from segtune.runs.evaluate import describe_split
from segtune.runs.folder import RunFolder, describe_surroundings, now
from segtune.runs.general import GeneralImages, open_general, without_learned
from segtune.runs.interrupt import StopOnInterrupt
from segtune.runs.precision import settle_precision, settle_training_precision
from segtune.runs.proof import Proof, prove
from segtune.runs.rehearsal import make_reference, open_rehearsal
from segtune.runs.settings import Settings, SettingsWithOrigins, read_settings
from segtune.runs.validation import score_means, sharing, validation_part
from segtune.training.batches import BatchSource
from segtune.training.checkpoints import CheckpointFolder
from segtune.training.examples import ExampleSource, ViewPlan
from segtune.training.log import TrainingLog
from segtune.training.loop import Training, TrainingState, Validation, load_trained_weights, train
from segtune.training.processes import Processes, joined
from segtune.training.rehearsal import with_rehearsal
from segtune.training.step import PromptedMasks
from segtune.training.weights import weigh_objects


@dataclass(frozen=True)
class FitResult:
    """What came of a run.

    Attributes:
        folder: the run folder.
        crowned: whether an epoch beat the pretrained model, so that `model/` holds tuned weights.
        proof: the prompt matrix, with the models and images it was made of.
        layout: what `model/` is written in: transformers' layout, or a family's original one.
        stopped: the user ended it early; what is there is the best so far.
        interrupted: the user asked to stop, if only when the training was at its end already.
        summary: figures for programs.
    """

    folder: Path
    crowned: bool
    proof: Proof
    layout: str
    stopped: bool = False
    interrupted: bool = False
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The result in a sentence or two."""
        return self.proof.results.verdict


def finetune(settings: SettingsWithOrigins, *, resume: bool = False, progress: Progress = SILENT) -> FitResult | None:
    """Tune a model on a data set and prove what was gained.

    Args:
        settings: the whole tree; with `resume` only `out` is read, the rest comes from the run folder.
        resume: go on from the last checkpoint; what was cut off before it had split the data starts anew.
        progress: what people see.

    Returns:
        The result; None in every process but the first.

    Raises:
        SegtuneError: a mistake of the user's or a lack of the machine's; the run folder keeps what was complete.
    """
    folder = RunFolder(Path(settings.settings.out))
    # Cut off before its data was split there is nothing to go on from, and the new command's settings count.
    resume = resume and not folder.is_unbegun
    if resume:
        settings = resumed_settings(settings, folder)
    tree = settings.settings
    device = pick_device(tree.device)
    with StopOnInterrupt(at_once=True) as stop, joined(device) as processes:
        model = open_base(tree.model, device)
        # Before the data is read: a mistake in --train is told at once, and leaves no run behind.
        trainable = train_only(model, tree.model.train, seed=tree.training.seed)
        _require_plain_steps(tree, trainable)
        spread_drop_path(model, tree.training.drop_path)
        if processes.is_first:
            progress.say(f"{trainable}.")
        # Before anything is written: a folder of general images that cannot be used is told at once.
        general = open_general(tree.evaluation.general, tree.evaluation.general_images, model.side)
        rehearsal = open_rehearsal(tree, model.side)
        data = _open_together(settings, folder, rehearsal, processes, resume=resume, progress=progress)
        # Up to here a signal ends it at once: nothing has been learned that would be lost.
        stop.at_once = False
        # Only now: the data doctor's memory is given back first, so the number of images does not add to the peak.
        keep_large_blocks()
        if processes.is_first:
            folder.write_record(data=data.describe(), model=describe_base(tree, model, trainable))
            warn_of_certain_masks(data.dataset, tree.training, progress)
        # Alike in all of them, for they share the scoring.
        general = general and without_learned(general, folder.fingerprints, progress if processes.is_first else SILENT)
        settle_precision(tree.model.encoder_precision, folder, model, data.train, processes)
        recipe = settle_training_precision(tree.training, device, folder, processes)
        tree = tree.model_copy(update={"training": recipe})
        begun = resume and CheckpointFolder(folder.checkpoints).has("last")
        job = _assemble(tree, folder, data, rehearsal, model, trainable, processes, stop, progress, begun=begun)
        state = train(job, resume=begun)
        heard = processes.busy_with(progress)
        if processes.is_first:
            _save(tree, folder, model, trainable, state, heard)
        processes.wait_while_busy()
        result = _conclude(tree, folder, data, general, model, trainable, state, processes, progress)
        return result and replace(result, interrupted=result.stopped or stop.asked)


def _require_plain_steps(settings: Settings, trainable: Trainable) -> None:
    """Refuse to average weights that an adapter sets to zero on the way: an average of them is not zero.

    Raises:
        UsageError: both are asked for.
    """
    adapter = trainable.adapter
    if settings.training.optimizer.ema is not None and adapter is not None and adapter.follow(1) is not None:
        raise UsageError(
            f"--train {trainable.scope} moves its ranks while it trains, and training.optimizer.ema would keep an "
            "average of ranks that are gone. Take another way to train, lora for one, or leave optimizer.ema out."
        )


def resumed_settings(asked: SettingsWithOrigins, folder: RunFolder) -> SettingsWithOrigins:
    """Return the settings a run was started with; where it lies and computes now is as asked.

    Raises:
        UsageError: the command line now asks for something else.
        ModelError: the folder holds no run.
    """
    folder.require()
    return asked.resumed(read_settings(folder.settings), folder.path)


def describe_base(settings: Settings, model: PromptableModel, trainable: Trainable) -> dict[str, Any]:
    """Return what the record says of the base and of what trains."""
    return {
        "base": settings.model.base,
        "family": model.family,
        "layout": layout_of(model),
        "train": trainable.scope,
        "parameters_trained": trainable.parameters,
        "parameters": trainable.total,
        "preparation": model.preparation.to_json(),
    }


def _open_together(
    settings: SettingsWithOrigins,
    folder: RunFolder,
    rehearsal: Dataset | None,
    processes: Processes,
    *,
    resume: bool,
    progress: Progress,
) -> RunData:
    """The first process checks and splits; the others read what it wrote."""
    if processes.is_first:
        if not resume:
            folder.start()
        heard = processes.busy_with(progress)
        is_known = resume and folder.is_prepared
        seen = None if is_known else learned_besides(settings.settings.model.base, rehearsal, heard)
        data = prepare_data(settings.settings.data, folder, heard, fresh=not resume, seen=seen)
        if not resume:
            # Only now is it a run: what was mistaken so far can be said again in another way.
            folder.write_record(**describe_surroundings())
            settings.write(folder.settings)
    processes.wait_while_busy()
    if processes.is_first:
        return data
    # The others find the split written, and leave it; without these files they would make another one.
    folder.require_shared(folder.split, folder.fingerprints)
    return prepare_data(settings.settings.data, folder)


def _assemble(
    settings: Settings,
    folder: RunFolder,
    data: RunData,
    rehearsal: Dataset | None,
    model: PromptableModel,
    trainable: Trainable,
    processes: Processes,
    stop: Callable[[], bool],
    progress: Progress,
    *,
    begun: bool,
) -> Training:
    recipe, train_part = settings.training, data.train
    validated = validation_part(settings, data.val)
    # Of a pool that is larger than a pass each pass rehearses other images, and all must find room.
    trained = len(train_part) + (len(rehearsal) if rehearsal else 0)
    # Validation's images need room too: one view each, for they are seen as they are.
    plan = plan_cache(
        settings.cache, model, folder, processes,
        images=trained, others=len(validated), begun=begun, progress=progress,
    )  # fmt: skip
    cache = None if plan is None else plan.cache
    view_plan = ViewPlan(settings.augment, recipe.seed, None if plan is None else plan.views)
    weights = weigh_objects(train_part, recipe.loss, recipe.prompts, progress)
    source = ExampleSource(train_part, model.preparation, model.mask_size, view_plan, recipe.prompts, cache, weights)
    batches = BatchSource(with_rehearsal(source, rehearsal, recipe.rehearsal.share), recipe, processes)
    device = pick_device(settings.device)
    fresh = partial(open_base, settings.model, device)

    def start() -> Validation:
        # At its own side, as the proof has it: at another one the base does worse until it is tuned.
        base = open_start(settings.model, device)
        base.encoder_precision = model.encoder_precision
        return _validate(settings, base, validated, None, processes, progress)

    return Training(
        model=model,
        objective=PromptedMasks(model, recipe, cache, make_reference(recipe, model, fresh)),
        batches=batches,
        recipe=recipe,
        validate=lambda: _validate(settings, model, validated, cache, processes, progress),
        checkpoints=CheckpointFolder(folder.checkpoints),
        open_log=lambda keep, step: TrainingLog(folder.path, keep=keep, step=step),
        processes=processes,
        follower=None if trainable.adapter is None else trainable.adapter.follow(batches.order.total_steps),
        whole=trainable.whole,
        stop=stop,
        progress=progress,
        validate_start=None if settings.model.side is None else start,
    )


def _validate(
    settings: Settings, model: PromptableModel, part: Dataset, cache: EmbeddingCache | None, processes: Processes,
    progress: Progress,
) -> Validation:  # fmt: skip
    return score_means(
        model,
        part,
        modes=settings.validation.modes,
        seed=settings.evaluation.seed,
        embed=None if cache is None else CachedEmbedder(part, cache),
        progress=progress,
        processes=processes,
    )


def _save(
    settings: Settings,
    folder: RunFolder,
    model: PromptableModel,
    trainable: Trainable,
    state: TrainingState,
    progress: Progress,
) -> None:
    """Crown or not, and save."""
    # Of an earlier end of this run: until another is written it has none, so that what is cut off now is seen to be.
    folder.report.unlink(missing_ok=True)
    # Epoch 0 is the pretrained model: where it stayed the best, nothing is crowned.
    crowned = state.best_epoch > 0
    device = pick_device(settings.device)
    if crowned:
        load_trained_weights(model, CheckpointFolder(folder.checkpoints).load("best").tensors["weights"])
        model.quality_map = None  # the base's, whose quality head was another
    about = {
        "base": settings.model.base, "crowned": crowned, "best_epoch": state.best_epoch, "train": trainable.scope,
    }  # fmt: skip
    result = model if crowned else open_start(settings.model, device)
    result.encoder_precision = model.encoder_precision
    result = _calibrated(folder, result, about)
    shutil.rmtree(folder.adapter, ignore_errors=True)
    if crowned and trainable.adapter is not None:
        # A base of its own: the model's is tuned by now. Opened only here, for a large one takes a while.
        base = open_start(settings.model, device)
        write_adapter(folder, model, trainable.adapter, about, base=base, progress=progress)
    _save_result(folder, result, about)


def _conclude(
    settings: Settings,
    folder: RunFolder,
    data: RunData,
    general: GeneralImages | None,
    model: PromptableModel,
    trainable: Trainable,
    state: TrainingState,
    processes: Processes,
    progress: Progress,
) -> FitResult | None:
    """Open what was saved, score it together, and let the first process write what came of it."""
    # At its own side, as it would be used: with another one it does worse until it is tuned.
    pretrained = open_start(settings.model, pick_device(settings.device))
    # What is scored is the file that was saved, not the model in memory.
    folder.require_shared(folder.model / RECORD)
    saved = open_model(folder.model, device=pick_device(settings.device))
    # All alike: else a difference of rounding would count as one of training.
    pretrained.encoder_precision = saved.encoder_precision = model.encoder_precision
    crowned, modes, seed = state.best_epoch > 0, settings.evaluation.modes, settings.evaluation.seed
    test, part = (data.test, "test") if len(data.test) else (data.val, "val")
    # Of models that see images at two sides nothing that is kept of one serves the other.
    cache = recorded_cache(settings.cache, pretrained, folder) if pretrained.side == saved.side else None
    embed, score = None if cache is None else CachedEmbedder(test, cache), sharing(processes)
    models = {PRETRAINED: pretrained, "tuned": saved}
    forgotten = _measure_forgetting(settings, models, general, cache, score, progress)
    if not processes.is_first:
        evaluate(models, test, modes=modes, seed=seed, embed=embed, review=True, score=score)
        return None
    # A split of the user's own may part what belongs together; the report says so in red.
    leakage = find_leaks(test, {"tuned": Fingerprints.read(folder.fingerprints)} if part == "test" else {}, progress)
    proof = prove(
        models,
        test,
        folder.path,
        modes=modes,
        seed=seed,
        data={"dataset": data.describe(), "part": part, "leaks": len(leakage.names)},
        split=describe_split(data.split),
        crowned=crowned,
        sensitivity_images=settings.evaluation.sensitivity_images,
        embed=embed,
        general=forgotten,
        score=score,
        progress=progress,
    )
    weights = {"pretrained": hash_weights(pretrained), "tuned" if crowned else "kept": hash_weights(saved)}
    summary, stopped = _summary(state), state.stopped
    folder.write_record(finished=now(), stopped=stopped, crowned=crowned, training=summary, weights_sha256=weights)
    return FitResult(folder.path, crowned, proof, layout_of(saved), stopped=stopped, summary=summary)


def _measure_forgetting(
    settings: Settings,
    models: dict[str, PromptableModel],
    general: GeneralImages | None,
    cache: EmbeddingCache | None,
    score: Scorer,
    progress: Progress,
) -> General | None:
    if general is None:
        return None
    return measure_forgetting(
        models, general.reported, subject="tuned", source=general.source, modes=settings.evaluation.general_modes,
        seed=settings.evaluation.seed, left_out=general.left_out,
        embed=None if cache is None else CachedEmbedder(general.reported, cache), score=score, progress=progress,
    )  # fmt: skip


def _calibrated(folder: RunFolder, model: PromptableModel, record: dict[str, Any]) -> PromptableModel:
    """Return the model with what `segtune calibrate` has written since, where a run is concluded once more."""
    if (earlier := folder.model / RECORD).is_file():
        told = read_json(earlier)
        model.thresholds = told.get(THRESHOLDS, model.thresholds)
        # A run that was stopped and went on may have another best epoch, whose quality head predicts otherwise.
        is_same = all(told.get(name) == record[name] for name in ("crowned", "best_epoch"))
        model.quality_map = QualityMap.from_json(told[QUALITY]) if QUALITY in told and is_same else model.quality_map
    return model


def _save_result(folder: RunFolder, model: PromptableModel, record: dict[str, Any]) -> None:
    """Put the new model in place of an earlier one; cut off between the two, --resume writes it again."""
    fresh = folder.model.with_name(".model.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    save_model(model, fresh, extra=record)
    shutil.rmtree(folder.model, ignore_errors=True)
    fresh.rename(folder.model)


def _summary(state: TrainingState) -> dict[str, Any]:
    return {
        "best_epoch": state.best_epoch,
        "epochs": state.epoch - 1,
        "steps": state.step,
        "validation_score": state.best_score,
        "pretrained_validation_score": state.pretrained_score,
    }
