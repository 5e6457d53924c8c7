"""Many images on many machines: errands go to a Ray cluster, and what comes back is written here, as if made here.

This is the near side; the far one is `segment.pipeline`.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from segtune.core.errors import MissingExtraError, ResourceError, SegtuneError, UsageError, unknown_name
from segtune.models.family import PromptableModel
from segtune.segment.batches import Task
from segtune.segment.encoding import batch_size, device_of
from segtune.segment.errands import divide
from segtune.segment.inputs import InputImage
from segtune.segment.outputs import Failed, Result
from segtune.segment.pipeline import Coordinator, Pool

_PLACES = ("local", "auto")
_PATIENCE = 0.5
"""Seconds between two looks at whether somebody asks to stop."""

_CONNECTS = 3
"""Tries: at a ray:// address the process that serves one client now and then dies as it starts (Ray 2.60)."""

_CALLS = 4
"""That the coordinator answers at once: one waits for the next results, the others count beginnings."""


def check_place(on: str) -> None:
    """Refuse what is no place to compute, or cannot be reached from this installation.

    Args:
        on: "local" starts a Ray on this machine, "auto" joins the one that runs here or that RAY_ADDRESS names,
            "ray://HOST:PORT" or, on a machine of the cluster, "HOST:PORT" joins that one.

    Raises:
        UsageError: none of these.
        MissingExtraError: Ray is not installed.
    """
    if on not in _PLACES and ":" not in on:
        raise unknown_name("place to compute", on, [*_PLACES, "ray://HOST:PORT"])
    packages = {"ray": "ray", "pyarrow": "pyarrow"} | ({"grpc": "grpcio"} if on.startswith("ray://") else {})
    for module, package in packages.items():
        if find_spec(module) is None:
            raise MissingExtraError(package, "ray", f"Segmenting on '{on}'")


def answer_on_cluster(
    on: str,
    model: PromptableModel,
    images: Sequence[InputImage],
    task: Task,
    *,
    batch: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[Iterable[Result | Failed], None, None]:
    """Yield what comes of images, errand by errand, in the order in which workers are done with them.

    The same as `batches.answer_images`, of the same batches. An image that workers die of comes as failed.

    Args:
        on: as `check_place` has it.
        model: any promptable model; each worker gets a copy on its own device.
        images: to segment; their paths must hold on all machines.
        task: what is to be done with each.
        batch: as of `batches.answer_images`, by a worker; None: what suits the model and the workers' device.
        stop: asked while waiting; then an empty group is yielded.

    Raises:
        UsageError: no Ray answers there, or this program is connected to one and `on` is not "auto".
        ResourceError: the cluster ended the job.
    """
    if not images:
        return
    with _connected(on) as ray:
        pool = _pool(ray.cluster_resources(), model)
        size = batch or batch_size(model, "cuda" if pool.gpus else "cpu")
        errands = [pickle.dumps(errand) for errand in divide(images, task, size, pool.workers)]
        try:
            start = ray.remote(Coordinator).options(num_cpus=0, max_concurrency=_CALLS).remote
            coordinator = start([ray.put((*_shared(model, task), size))], errands, pool)
            try:
                yield from _drain(ray, coordinator, stop)
            finally:
                ray.kill(coordinator)
        except (ray.exceptions.RayActorError, ImportError) as error:
            raise ResourceError(
                f"The cluster at '{on}' ended the job ({_lines(error)[0]}). What was done is kept, and the same "
                "command goes on from there. All its machines need segtune, in the same version as here."
            ) from error


def _pool(resources: Mapping[str, float], model: PromptableModel) -> Pool:
    """Return the largest pool for the resources of a cluster, as Ray tells them."""
    if gpus := int(resources.get("GPU", 0)):
        return Pool(gpus, 1)
    weights = sum(each.numel() * each.element_size() for each in model.state_dict().values())
    # Weights, activations of a batch, and the libraries: more workers than fit would be killed one after another.
    fit = resources.get("memory", float("inf")) / (4 * weights + (1 << 30))
    return Pool(max(1, int(min(resources.get("CPU", 1), fit))), 0)


def _shared(model: PromptableModel, task: Task) -> tuple[PromptableModel, Task]:
    """Return what all workers need, once for all of them; what is asked of single images comes with the errands."""
    if device_of(model).type != "cpu":
        model = deepcopy(model).to("cpu")  # a worker may have no GPU
    wishes = task.wishes
    finder = None if wishes.finder is None else wishes.finder.to("cpu")
    wishes = replace(wishes, by_name={}, folder=wishes.folder.absolute(), finder=finder)
    return model, replace(task, wishes=wishes)


def _drain(ray: Any, coordinator: Any, stop: Callable[[], bool]) -> Iterator[list[Result | Failed]]:
    """Yield what the coordinator has, until it has no more; the next is on its way while one is being written."""
    upcoming = coordinator.next.remote()
    while True:
        while not ray.wait([upcoming], timeout=_PATIENCE)[0]:
            if stop():
                yield []
        packed = ray.get(upcoming)
        if packed is None:
            return
        upcoming = coordinator.next.remote()
        found = pickle.loads(packed)
        if isinstance(found, SegtuneError):
            raise found
        yield found


@contextmanager
def _connected(on: str) -> Iterator[Any]:
    """Connect to a Ray, or start one, for as long as the context is open."""
    # Never on its own account: a library asks nobody to be counted.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = import_module("ray")
    if ray.is_initialized():
        if on != "auto":
            raise UsageError(
                f"This program is connected to a Ray already, but '{on}' was asked for. Give 'auto' to use the one "
                "that is there, or disconnect first (ray.shutdown())."
            )
        yield ray
        return
    try:
        with _own_signals():
            _connect(ray, on)
    except Exception as error:  # Ray raises all kinds, some of no class of their own
        raise UsageError(
            f"No Ray could be had at '{on}' ({_lines(error)[-1]}). Start one (ray start --head), give the address "
            "of one that runs (ray://HOST:10001), or use this machine alone (local, or no --on at all)."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: Any, on: str) -> None:
    own = {"include_dashboard": False} if on == "local" else {}
    for tries_left in range(_CONNECTS - 1, -1, -1):
        try:
            ray.init(address=on, log_to_driver=False, logging_level=logging.ERROR, **own)
            return
        except ConnectionAbortedError:
            if not tries_left:
                raise


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this program's way with SIGTERM, which Ray would replace by its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _lines(error: Exception) -> list[str]:
    return str(error).strip().splitlines() or [type(error).__name__]
