"""The training loop, on one page."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

import torch

from segtune.adapters.way import Follower
from segtune.core.errors import DataError, ModelError
from segtune.core.progress import SILENT, Progress
from segtune.models.family import StagedModel
from segtune.training.batches import Batch, BatchSource
from segtune.training.checkpoints import CheckpointFolder
from segtune.training.generators import gather_generators, set_generators
from segtune.training.log import TrainingLog
from segtune.training.objective import Objective, Sums
from segtune.training.optimizer import (
    Optimizers,
    build_optimizer,
    load_optimizer_state,
    lr_at,
    optimizer_state,
    set_lr,
    steps_of_warmup,
)
from segtune.training.processes import Processes
from segtune.training.recipe import Recipe

Validation = Mapping[str, Mapping[str, float]]
"""By prompt mode, the mean of each metric ("iou", "dice", "loss")."""


@dataclass
class TrainingState:
    """Everything a resumed run needs beside weights, optimizer moments and torch's generators.

    Attributes:
        epoch: the epoch under way, from 1; 0 while the pretrained model is still to be validated.
        step: steps done in all.
        step_in_epoch: steps done in this epoch.
        best_score: best validation score so far; starts as the pretrained model's.
        best_epoch: its epoch; 0 is the pretrained model.
        pretrained_score: the score of epoch 0.
        tuned_score: best score of an epoch from 1 on, of which the weights are kept even below epoch 0.
        stale: epochs since the best of the tuned ones, of those that the warm-up had ended in.
        sums: the epoch's running sums, and its number of objects.
        seconds: how long the epoch's steps took, those before an interruption too.
        log_bytes: how much of the log is of this state.
        stopped: somebody asked one of the processes to stop, so that all did; a resumed run begins without it.
    """

    epoch: int = 0
    step: int = 0
    step_in_epoch: int = 0
    best_score: float = -math.inf
    best_epoch: int = 0
    pretrained_score: float | None = None
    tuned_score: float = -math.inf
    stale: int = 0
    objects: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    log_bytes: int = 0
    stopped: bool = False


@dataclass(frozen=True)
class Training:
    """What `train` is handed, all of it finished.

    Attributes:
        model: frozen as the run wants it, on its device.
        objective: what its steps minimise.
        batches: the training part in order.
        recipe: how to train.
        validate: scores the model as it is; called by all processes, which may share the images. None: no validation,
            every epoch is taken as the best so far.
        validate_start: scores the pretrained model, where that is another than the model as it came: then it is what
            has to be beaten.
        whole: parameters that learn at `whole_scale` times the rate: of parts that train whole beside an adapter.
        checkpoints: where state is kept.
        open_log: opens the log, given the bytes to keep and the step.
        processes: who trains together.
        follower: what the adapter that trains does at each step, if it does something; made for this training's steps.
        stop: says whether the user asked this process to stop; what the processes agreed on is `TrainingState.stopped`.
        progress: what people see.
    """

    model: StagedModel
    objective: Objective
    batches: BatchSource
    recipe: Recipe
    validate: Callable[[], Validation] | None
    checkpoints: CheckpointFolder
    open_log: Callable[[int, int], TrainingLog]
    processes: Processes = field(default_factory=Processes)
    follower: Follower | None = None
    stop: Callable[[], bool] = lambda: False
    progress: Progress = SILENT
    whole: frozenset[str] = frozenset()
    validate_start: Callable[[], Validation] | None = None


def train(job: Training, *, resume: bool = False) -> TrainingState:
    """Train until the last epoch, until nothing improves any more, or until asked to stop.

    Epoch 0 is the model as it came, or what `validate_start` scores. After each epoch the model is validated over all
    prompt modes; the weights of the best tuned epoch are the checkpoint "best", whether or not it beat the pretrained
    model; `best_epoch` says that.

    Raises:
        ModelError: the loss is no longer a finite number; or nothing to resume from.
        DataError: an epoch had no object to train on.
        ResourceError: the disk is full.
    """
    # ---- what is resumed together: weights, optimizer, generators, state, log
    recipe, processes, batches = job.recipe, job.processes, job.batches
    optimizer = build_optimizer(job.model, recipe.optimizer, whole=job.whole)
    state = _restore(job, optimizer) if resume else TrainingState()
    if not resume:
        set_generators({}, processes, _device_of(job.model), recipe.seed)
    log = job.open_log(state.log_bytes, state.step + 1) if processes.is_first else None
    total_steps = batches.order.total_steps

    # ---- epoch 0: the model to beat
    if state.epoch == 0:
        _judge(job, state, log, optimizer)
        state.epoch = 1
        _save(job, optimizer, state, log)

    # ---- the epochs
    while not state.stopped and _has_more(state, job) and not _is_stale(state, recipe):
        sums = _train_epoch(job, optimizer, state, log, total_steps)
        if not state.stopped:
            if recipe.epoch_steps is None:  # a whole pass over the images
                _require_objects(sums)
            # ---- the epoch's end: judge, remember the best, keep the state
            # A run killed between the two does the rest of the epoch again, and writes "best" again as it was.
            _judge(job, state, log, optimizer, train=sums.means())
            state.epoch, state.step_in_epoch, state.objects, state.sums = state.epoch + 1, 0, 0, {}
            state.seconds = 0.0
            _save(job, optimizer, state, log)
            # Asked during the last validation it stops nothing any more.
            state.stopped = processes.any(job.stop()) and _has_more(state, job) and not _is_stale(state, recipe)

    if state.stopped:
        _take_back_best(job, state, log)
    # What is kept of the training: "last" still has the weights it would go on from.
    optimizer.take_averages()
    if log is not None:
        log.write("end", epoch=state.epoch - 1, step=state.step, best_epoch=state.best_epoch, stopped=state.stopped)
        log.close()
    return state


def _train_epoch(
    job: Training, optimizer: Optimizers, state: TrainingState, log: TrainingLog | None, total_steps: int
) -> Sums:
    """Do the steps of an epoch that are left, or those until somebody asks to stop; return its sums."""
    recipe, batches = job.recipe, job.batches
    job.model.train()  # validation left it in evaluation mode
    sums = Sums(state.objects, _as_sums(state.sums))
    begun = time.perf_counter() - state.seconds  # as if what an interruption parted had been done at a stretch
    with job.progress.stage(f"epoch {state.epoch}/{recipe.epochs}", batches.order.steps(state.epoch)) as advance:
        advance(state.step_in_epoch)
        for micro_batches in batches.epoch(state.epoch, state.step_in_epoch):
            set_lr(optimizer, lr_at(state.step, total_steps, recipe.optimizer))
            step_sums = _step(job, optimizer, micro_batches, state)
            sums.add(step_sums)
            state.step, state.step_in_epoch = state.step + 1, state.step_in_epoch + 1
            state.objects, state.sums = sums.objects, dict(sums.values)
            state.seconds = time.perf_counter() - begun
            _log_step(log, state, step_sums, optimizer)
            advance(1, job.objective.tell(sums.means()))
            # Asked of all: processes that disagreed would wait for each other for ever.
            state.stopped = job.processes.any(job.stop())
            if state.stopped or state.step % recipe.checkpoint_steps == 0:
                _save(job, optimizer, state, log)
            if state.stopped:
                break
    return sums


def trained_weights(model: StagedModel) -> dict[str, torch.Tensor]:
    """Return the parameters that train, by name, detached on the CPU: what a checkpoint keeps."""
    return {name: p.detach().cpu().clone() for name, p in model.named_parameters() if p.requires_grad}


def load_trained_weights(model: StagedModel, weights: Mapping[str, torch.Tensor]) -> None:
    """Put trained weights into a model frozen the same way.

    Raises:
        ModelError: the names differ from the parameters that train.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if set(parameters) != set(weights):
        odd = sorted(set(parameters) ^ set(weights))
        raise ModelError(
            f"The checkpoint does not hold the parameters that train under the present settings; {len(odd)} differ, "
            f"the first is '{odd[0]}'. Resume with the settings the run was started with."
        )
    with torch.no_grad():
        for name, value in weights.items():
            parameters[name].copy_(value)


def _step(job: Training, optimizer: Optimizers, micro_batches: list[Batch], state: TrainingState) -> Sums:
    recipe, objective, processes = job.recipe, job.objective, job.processes
    # Of the whole step, so that gradients of batches and processes add up to those of the mean.
    objects = int(processes.sum(torch.tensor(sum(objective.count(batch) for batch in micro_batches))))
    sums = Sums()
    if objects == 0:  # in all processes alike: none waits for another
        return sums
    for batch in micro_batches:
        sums.add(objective.accumulate(batch, objects=objects, step=state.step))
    trainable = [p for p in job.model.parameters() if p.requires_grad]
    processes.sum_gradients(trainable)
    if job.follower is not None:
        job.follower.add_gradients(job.model)
    # Called without clipping too, for the norm.
    norm = torch.nn.utils.clip_grad_norm_(trainable, recipe.optimizer.clip or math.inf)
    if not torch.isfinite(norm):
        raise ModelError(
            f"The gradient of step {state.step + 1} is not a finite number, so training stopped before it could spoil "
            "the weights. The last checkpoint is intact. A lower learning rate usually helps: "
            f"--set optimizer.lr={recipe.optimizer.lr / 3:.1e}."
        )
    optimizer.step(state.step)
    if job.follower is not None:
        job.follower.after_step(job.model, state.step + 1)
    optimizer.zero_grad()
    return _over_processes(sums, objective.names, processes)


def _judge(
    job: Training,
    state: TrainingState,
    log: TrainingLog | None,
    optimizer: Optimizers,
    *,
    train: dict[str, float] | None = None,
) -> None:
    job.model.eval()
    validate = job.validate_start if state.epoch == 0 and job.validate_start is not None else job.validate
    with optimizer.averaged():
        validation = None if validate is None else validate()
        weights = trained_weights(job.model) if state.epoch > 0 and job.processes.is_first else {}
    score = job.processes.share(None if validation is None else score_of(validation))
    is_best = score is None or (state.epoch > 0 and score > state.best_score)
    # By the tuned epochs alone: one that begins below the pretrained model and climbs has not come to its end.
    climbs = state.epoch > 0 and (score is None or score > state.tuned_score)
    if state.epoch == 0:
        state.best_score = -math.inf if score is None else score
        state.pretrained_score = score
    elif is_best:
        state.best_score = -math.inf if score is None else score
        state.best_epoch = state.epoch
    if climbs:
        state.stale, state.tuned_score = 0, -math.inf if score is None else score
        if job.processes.is_first:
            job.checkpoints.save("best", {"weights": weights}, {"epoch": state.epoch, "score": score})
    elif state.epoch > 0 and state.step > steps_of_warmup(job.batches.order.total_steps, job.recipe.optimizer):
        # Before, the rate was still rising: with two steps an epoch patience would end a fit that has hardly begun.
        state.stale += 1
    if log is not None:
        log.write(
            "epoch", epoch=state.epoch, step=state.step, train=train, validation=validation, score=score,
            best=is_best and state.epoch > 0, seconds=round(state.seconds, 3),
        )  # fmt: skip
        log.scalars({f"train/{name}": value for name, value in (train or {}).items()}, state.step)
        for mode, metrics in (validation or {}).items():
            log.scalars({f"validation/{metric}/{mode}": value for metric, value in metrics.items()}, state.step)


def _take_back_best(job: Training, state: TrainingState, log: TrainingLog | None) -> None:
    """Count an epoch whose weights are the best but which a kill kept out of the state, where it is not done again."""
    kept = job.checkpoints.load("best").values if job.processes.is_first and job.checkpoints.has("best") else None
    kept = job.processes.share(kept)
    if kept is None or kept["epoch"] < state.epoch:
        return
    state.tuned_score = -math.inf if kept["score"] is None else kept["score"]
    if kept["score"] is None or kept["score"] > state.best_score:
        state.best_epoch, state.best_score = kept["epoch"], state.tuned_score
        if log is not None:  # its line went with the kill, and the report goes by these; --resume cuts it off again
            log.write("epoch", epoch=kept["epoch"], step=state.step, score=kept["score"], best=True)


def _require_objects(sums: Sums) -> None:
    """Refuse to go on where an epoch had nothing to learn from: its model would be the pretrained one.

    Raises:
        DataError: so it is.
    """
    if not sums.objects:
        raise DataError(
            "A whole epoch had not one object to train on, so nothing was learned. An object must keep 16 pixels or "
            "more in a view of its image, which is brought to the model's side, and fill a cell of the model's output "
            "that is not ignored; these do not. Cut the images into tiles, tune at a larger model.side, or look at the "
            "masks, and what they ignore, with segtune check."
        )


def score_of(validation: Validation) -> float:
    """Return the mean IoU over all prompt modes: what the best epoch is chosen by.

    Raises:
        DataError: nothing was scored.
    """
    if not validation:
        raise DataError(
            "The validation images have no object, so there is nothing to choose the best epoch by. Give a split whose "
            "part 'val' has some."
        )
    return sum(metrics["iou"] for metrics in validation.values()) / len(validation)


def _has_more(state: TrainingState, job: Training) -> bool:
    return state.epoch <= job.recipe.epochs and job.batches.order.steps(state.epoch) > 0


def _is_stale(state: TrainingState, recipe: Recipe) -> bool:
    return recipe.patience is not None and state.stale >= recipe.patience


def _save(job: Training, optimizer: Optimizers, state: TrainingState, log: TrainingLog | None) -> None:
    # Each process has generators of its own, and each must come back. All take part, so none may leave before.
    generators = gather_generators(job.processes, _device_of(job.model))
    if log is None:  # only the first process has one
        return
    # The log first: a checkpoint must not count bytes that a crash could still take.
    log.sync()
    state.log_bytes = log.position
    # JSON has no infinity.
    values = {name: None if value == -math.inf else value for name, value in asdict(state).items()}
    del values["stopped"]  # of this process's run, not of what it has trained
    tensors = {
        "weights": trained_weights(job.model),
        "optimizer": optimizer_state(job.model, optimizer),
        "generators": generators,
    }
    if job.follower is not None:
        tensors["follower"] = job.follower.state()
    job.checkpoints.save("last", tensors, values)


def _restore(job: Training, optimizer: Optimizers) -> TrainingState:
    checkpoint = job.checkpoints.load("last")
    load_trained_weights(job.model, checkpoint.tensors["weights"])
    load_optimizer_state(job.model, optimizer, checkpoint.tensors.get("optimizer", {}))
    if job.follower is not None:
        job.follower.load_state(checkpoint.tensors.get("follower", {}))
    set_generators(checkpoint.tensors["generators"], job.processes, _device_of(job.model), job.recipe.seed)
    values = dict(checkpoint.values)
    for name in ("best_score", "tuned_score"):
        if values[name] is None:
            values[name] = -math.inf
    return TrainingState(**values)


def _device_of(model: StagedModel) -> torch.device:
    return next(model.parameters()).device


def _over_processes(sums: Sums, names: tuple[str, ...], processes: Processes) -> Sums:
    if processes.world == 1:
        return sums
    # By names that are the objective's: a process without an object has none of its own, and all must send alike.
    packed = processes.sum(torch.tensor([sums.objects, *(sums.values[name] for name in names)], dtype=torch.float64))
    objects, *values = packed.tolist()
    return Sums(int(objects), _as_sums(dict(zip(names, values, strict=True))))


def _as_sums(values: Mapping[str, float]) -> dict[str, float]:
    return Sums().values | dict(values)  # still a dictionary that starts names at 0


def _log_step(log: TrainingLog | None, state: TrainingState, sums: Sums, optimizer: Optimizers) -> None:
    if log is None or not sums.objects:
        return
    means, lr = sums.means(), max(group["lr"] for group in optimizer.param_groups)
    log.write("step", step=state.step, epoch=state.epoch, lr=lr, objects=sums.objects, **means)
    log.scalars({f"step/{name}": value for name, value in means.items()} | {"step/lr": lr}, state.step)
