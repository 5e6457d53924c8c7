"""The training log as curves: what `log.jsonl` says of each epoch, and nothing of each step."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Epoch:
    """One epoch; 0 is the pretrained model.

    Attributes:
        number: from 0.
        train: means over the epoch's objects by name ("loss", "iou", …); empty for epoch 0.
        validation: by prompt mode, by metric ("iou", "dice", "loss"); empty without a validation part.
        score: mean IoU over modes, None without a validation part.
        best: whether it was the best so far.
        seconds: time its steps took, without the validation after them; steps done again after a kill count once.
    """

    number: int
    train: Mapping[str, float]
    validation: Mapping[str, Mapping[str, float]]
    score: float | None
    best: bool
    seconds: float


@dataclass(frozen=True)
class TrainingLog:
    """The epochs of a run in order, and how it ended.

    Attributes:
        epochs: each number once, the last writing of it.
        end: fields of the "end" event; empty while a run was not finished.
    """

    epochs: tuple[Epoch, ...]
    end: Mapping[str, Any]

    @property
    def best(self) -> Epoch | None:
        """The epoch whose weights were kept; epoch 0 where none was better; None for an empty log."""
        # Each was the best so far: the last of them is the best of all.
        crowned = [epoch for epoch in self.epochs if epoch.best]
        return crowned[-1] if crowned else (self.epochs[0] if self.epochs else None)

    @property
    def seconds(self) -> float:
        """Time of all training steps, without validation."""
        return sum(epoch.seconds for epoch in self.epochs)

    @property
    def modes(self) -> tuple[str, ...]:
        """Prompt modes that were validated."""
        return tuple(dict.fromkeys(mode for epoch in self.epochs for mode in epoch.validation))

    def validated(self, mode: str, metric: str) -> tuple[list[int], list[float]]:
        """Return epochs and values of a validation metric in one mode, where it was measured."""
        pairs = [(epoch.number, epoch.validation.get(mode, {}).get(metric)) for epoch in self.epochs]
        return _finite(pairs)

    def mean_validated(self, metric: str) -> tuple[list[int], list[float]]:
        """Return epochs and the mean of a validation metric over all modes that have it."""
        pairs = []
        for epoch in self.epochs:
            values = [one[metric] for one in epoch.validation.values() if one.get(metric) is not None]
            pairs.append((epoch.number, sum(values) / len(values) if values else None))
        return _finite(pairs)

    def trained(self, name: str) -> tuple[list[int], list[float]]:
        """Return epochs and values of a training mean."""
        return _finite([(epoch.number, epoch.train.get(name)) for epoch in self.epochs])


def read_log(path: Path) -> TrainingLog | None:
    """Read `log.jsonl` line by line; None where there is no log or no epoch in it.

    A last line cut short by a crash is passed over: it belongs to an epoch that was not finished.
    """
    if not path.exists():
        return None
    epochs: dict[int, Epoch] = {}
    end: Mapping[str, Any] = {}
    for event in _events(path):
        if event.get("event") == "epoch":
            epoch = _epoch(event)
            # A resumed run may write an epoch again: the later line counts.
            epochs[epoch.number] = epoch
        elif event.get("event") == "end":
            end = event
    return TrainingLog(tuple(epochs[number] for number in sorted(epochs)), end) if epochs else None


def _events(path: Path) -> Iterator[Mapping[str, Any]]:
    # Bytes of a line cut short may be no UTF-8.
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            # Steps are most of a log and none of a report.
            if '"event": "step"' in line:
                continue
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, Mapping):
                yield event


def _epoch(event: Mapping[str, Any]) -> Epoch:
    return Epoch(
        number=int(event["epoch"]),
        train=event.get("train") or {},
        validation=event.get("validation") or {},
        score=event.get("score"),
        best=bool(event.get("best")),
        seconds=float(event.get("seconds") or 0.0),
    )


def _finite(pairs: list[tuple[int, float | None]]) -> tuple[list[int], list[float]]:
    # A loss that diverged is NaN or infinite, which has no place on a chart.
    kept = [(number, value) for number, value in pairs if value is not None and math.isfinite(value)]
    return [number for number, _ in kept], [value for _, value in kept]
