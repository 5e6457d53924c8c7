"""One process or many under `torchrun`: who this one is, and sums over all of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from segtune.core.progress import Advance, Progress

_BUCKET_BYTES = 32 << 20
_PATIENCE = timedelta(hours=4)
"""How long a process waits for the others: the first one writes while the rest stand still."""

_SIGN_OF_LIFE = 60.0
"""Seconds of long work after which those that wait hear of it."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Processes:
    """The processes that train together.

    Attributes:
        rank: number of this one, from 0.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        """Only the first process writes files."""
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of `value` over all processes."""
        if self.world > 1:
            value = value.clone()  # all_reduce works in place
            dist.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Say whether any process has the flag up."""
        return bool(self.sum(torch.tensor(int(flag))).item()) if self.world > 1 else flag

    def share(self, value: Item) -> Item:
        """Return the first process's value to all of them. It travels as bytes that Python makes of it."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def gather(self, value: Item) -> list[Item]:
        """Return every process's value to all of them, by rank. It travels as bytes that Python makes of it."""
        if self.world == 1:
            return [value]
        values: list[Item] = [value] * self.world
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Return when every process has come this far."""
        if self.world > 1:
            dist.barrier()

    def busy(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items of long work, telling those in `wait_while_busy` once in a while that it goes on."""
        tell = self._signs_of_life()
        for item in items:
            yield item
            tell()

    def busy_with(self, progress: Progress) -> Progress:
        """Return a progress that lets those in `wait_while_busy` hear, too, of long work that reports to it."""
        return _HeardProgress(progress, self._signs_of_life())

    def _signs_of_life(self) -> Callable[[], None]:
        told = time.monotonic()

        def tell() -> None:
            nonlocal told
            if self.world > 1 and time.monotonic() - told > _SIGN_OF_LIFE:
                self.any(True)
                told = time.monotonic()

        return tell

    def wait_while_busy(self) -> None:
        """Return when every process has come this far, however long one of them is `busy`; `wait` would give up."""
        while self.any(False):
            pass

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up gradients over all processes, in place, a few large messages at a time.

        A process whose share of a step has no object has no gradients; it counts as zeros. This is why gradients are
        added by hand rather than by DistributedDataParallel, which wants the same backward passes everywhere.
        """
        if self.world == 1:
            return
        # A parameter that no process has a gradient for keeps none, as it would with one process: zeros would let the
        # optimizer's moments and weight decay go on with it.
        together = list(parameters)
        reached = self.sum(torch.tensor([p.grad is not None for p in together], dtype=torch.int64))
        for bucket in _buckets([p for p, count in zip(together, reached.tolist(), strict=True) if count]):
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            dist.all_reduce(flat)
            for parameter, piece in zip(bucket, torch.split(flat, [p.numel() for p in bucket]), strict=True):
                # A copy, since one view would keep its whole bucket in memory.
                parameter.grad = piece.view_as(parameter).clone()


class _HeardProgress:
    """A progress whose every step is a sign of life."""

    def __init__(self, progress: Progress, tell: Callable[[], None]) -> None:
        self._progress, self._tell = progress, tell

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        with self._progress.stage(name, total) as advance:

            def heard(n: int = 1, note: str = "") -> None:
                advance(n, note)
                self._tell()

            yield heard

    def say(self, text: str) -> None:
        self._progress.say(text)


@contextmanager
def joined(device: str = "cpu") -> Iterator[Processes]:
    """Join the processes that `torchrun` started, for the time of the block; alone without it.

    Args:
        device: this process's own, from `models.device.pick_device`: flags and counts travel between processors,
            gradients between GPUs.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Processes()
        return
    started_here = not dist.is_initialized()  # who joined before us also leaves
    if started_here:
        if device.startswith("cuda"):
            torch.cuda.set_device(device)  # or all would meet on the first GPU
        backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
        store, rank, world = _meeting_place()
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=_PATIENCE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
        if started_here:
            # Gloo's threads may still hold what was sent last, and Python must not end under them. If another failed on
            # the way, it tells why, and there is nothing to wait for.
            with suppress(RuntimeError):
                dist.barrier()
    finally:
        if started_here:
            dist.destroy_process_group()


_meetings: list[tuple[Store, int, int]] = []
"""Where the processes of `torchrun` have met so far, the latest last."""


def _meeting_place() -> tuple[Store, int, int]:
    """Return a store under whose keys the processes have not met before, with this one's rank and their number.

    `torchrun` keeps one store for all its life: a second group under the same keys would find the addresses of the
    first, which nobody answers any more.
    """
    if not _meetings:
        _meetings.append(next(iter(rendezvous("env://", timeout=_PATIENCE))))
    store, rank, world = _meetings[0]
    _meetings.append((PrefixStore(f"segtune {len(_meetings)}", store), rank, world))
    return _meetings[-1]


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    bucket: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        bucket.append(parameter)
        size += parameter.numel() * parameter.element_size()
        if size >= _BUCKET_BYTES:
            yield bucket
            bucket, size = [], 0
    if bucket:
        yield bucket
