"""The far side of `segment.cluster`: a Ray Data pipeline of errands, in the cluster.

A coordinator holds it, for Ray Data does not run beyond a ray:// address. The workers are a pool of actors with the
model in memory; Ray replaces one that dies and sends its errand again. Imports are late: only workers need torch, only
the coordinator Ray Data.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from segtune.core.errors import SegtuneError


@dataclass(frozen=True)
class Pool:
    """How many workers there are and what each has.

    Attributes:
        workers: at least one.
        gpus: of each; none: a CPU.
    """

    workers: int
    gpus: int


class Tally:
    """Remembers what was begun and not ended (`errands.Beginnings`)."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, what: str) -> int:
        """Count one more beginning and return how many there are."""
        self._begun[what] += 1
        return self._begun[what]

    def end(self, what: str) -> None:
        """Forget all beginnings."""
        del self._begun[what]


class Coordinator(Tally):
    """Holds the pipeline, and the tally, since it lives longer than any worker.

    Args:
        shared: a reference to what each worker needs, in a list so that Ray passes it on unread.
        errands: pickled.
        pool: of the workers.
    """

    def __init__(self, shared: Sequence[Any], errands: Sequence[bytes], pool: Pool) -> None:
        super().__init__()
        data, context = import_module("ray.data"), import_module("ray").get_runtime_context()
        data.DataContext.get_current().enable_progress_bars = False
        rows = [{"errand": errand} for errand in errands]
        # An errand is a block of its own: what goes to one worker, and is done again should that die.
        self._answers = iter(
            data.from_items(rows, override_num_blocks=len(rows))
            .map_batches(
                Worker,
                fn_constructor_args=(shared, context.current_actor),
                batch_size=None,
                batch_format="numpy",
                compute=data.ActorPoolStrategy(size=min(pool.workers, len(rows))),
                **({"num_gpus": pool.gpus} if pool.gpus else {"num_cpus": 1}),
            )
            .iter_rows()
        )

    def next(self) -> bytes | None:
        """Return what came of one more errand, pickled, or the error that ends the job; None after the last."""
        row = next(self._answers, None)
        return None if row is None else bytes(row["answers"])


class Worker:
    """Runs errands with a model of its own: Ray Data starts many of these, and another after a death.

    Args:
        shared: as of `Coordinator`.
        coordinator: whose tally all workers share.
    """

    def __init__(self, shared: Sequence[Any], coordinator: Any) -> None:
        import torch

        from segtune.segment.errands import Runner

        model, task, batch = import_module("ray").get(shared[0])
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if task.wishes.finder is not None:
            task = replace(task, wishes=replace(task.wishes, finder=task.wishes.finder.to(device)))
        self._runner = Runner(model.to(device), task, batch, _FarTally(coordinator))

    def __call__(self, rows: Mapping[str, Sequence[bytes]]) -> dict[str, list[bytes]]:
        """Run a block's errands."""
        return {"answers": [self._run(errand) for errand in rows["errand"]]}

    def _run(self, errand: bytes) -> bytes:
        try:
            return pickle.dumps(self._runner.run(pickle.loads(errand)))
        except SegtuneError as error:
            # As a value, or Ray would wrap it and the command would end with another code than on one machine.
            return pickle.dumps(error)


@dataclass(frozen=True)
class _FarTally:
    """The coordinator's tally, as its workers have it."""

    coordinator: Any

    def begin(self, what: str) -> int:
        """Count one more beginning and return how many there are."""
        return int(import_module("ray").get(self.coordinator.begin.remote(what)))

    def end(self, what: str) -> None:
        """Forget all beginnings."""
        self.coordinator.end.remote(what)
