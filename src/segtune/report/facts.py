"""Everything beside the matrix as texts: key figures, sizes, empty images, data, split, and how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtune.evaluation.results import Bucket
from segtune.report.glossary import in_order, mode_term, model_label
from segtune.report.log import TrainingLog
from segtune.report.numbers import count, decimal, duration, plain, signed
from segtune.report.run import RunView, Setting

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Fact:
    """One key figure: what it is, the figure, and a remark below it."""

    label: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class BucketLine:
    """One prompt mode: for each size before, after and the change, as texts."""

    mode: str
    sizes: tuple[tuple[str, str, str], ...]


def title_of(run: RunView) -> str:
    """Return a heading: model and data where the run says them, else the folder's name."""
    # An evaluation's record has the same fields, an old or foreign folder may have none.
    base = (run.run.get("model") or {}).get("base")
    data = (run.run.get("data") or {}).get("path")
    return f"{Path(base).name} on {Path(data).name}" if base and data else run.folder.resolve().name


def key_facts(run: RunView) -> list[Fact]:
    """Return the few figures that a reader wants first."""
    facts = [_mean_fact(run), *(_mode_fact(run, mode) for mode in run.leading_modes), _images_fact(run)]
    if run.log is not None and run.log.best is not None:
        last = run.log.epochs[-1].number
        best = run.log.best.number
        facts.append(Fact("Best epoch", f"{best}", f"of {last}" if best else f"of {last}: the pretrained model"))
        facts.append(Fact("Time in training steps", duration(run.log.seconds), _epochs_without_validation(run.log)))
    return [fact for fact in facts if fact is not None]


def _mean_fact(run: RunView) -> Fact | None:
    if len(run.modes) < 2:
        return None
    after, before = (_mean_over_modes(run, model) for model in run.pair)
    return _arrow("Mean IoU of all modes", before, after, "")


def _mode_fact(run: RunView, mode: str) -> Fact | None:
    rows = [run.results.row(model, mode) if model else None for model in run.pair]
    after, before = (row.mean if row else None for row in rows)
    subject, reference = run.pair
    change = run.results.difference(subject, reference, mode) if subject and reference else None
    tone = "" if change is None else "good" if change.better else "bad" if change.worse else ""
    return _arrow(f"IoU, {mode_term(mode).label.lower()}", before, after, tone)


def _arrow(label: str, before: float | None, after: float | None, tone: str) -> Fact | None:
    if after is None:
        return None
    if before is None:
        return Fact(label, decimal(after))
    return Fact(label, f"{decimal(before)} → {decimal(after)}", signed(after - before), tone)


def _mean_over_modes(run: RunView, model: str | None) -> float | None:
    """Mean of the modes in which the whole pair was scored: else the two means would be of different things."""
    shared = [mode for mode in run.modes if all(_mean(run, one, mode) is not None for one in run.pair if one)]
    means = [mean for mode in shared if model and (mean := _mean(run, model, mode)) is not None]
    return sum(means) / len(means) if means else None


def _mean(run: RunView, model: str, mode: str) -> float | None:
    row = run.results.row(model, mode)
    return None if row is None else row.mean


def _images_fact(run: RunView) -> Fact:
    part = run.results.data.get("part")
    return Fact("Images scored", count(run.images), f"part: {part}" if part else "")


def _epochs_without_validation(log: TrainingLog) -> str:
    epochs = len(log.epochs) - 1  # the first is the pretrained model
    return f"{epochs} epochs, without validation" if epochs > 0 else "without validation"


def bucket_table(run: RunView, metric: str = "iou") -> tuple[tuple[tuple[str, str], ...], tuple[BucketLine, ...]]:
    """Return the object sizes with their number of objects, and one line per mode; both empty without buckets."""
    chosen = {(one.model, one.mode, one.bucket): one for one in run.results.buckets if one.metric == metric}
    sizes = in_order((one.bucket for one in chosen.values()), {"small": 0, "medium": 0, "large": 0})
    # The same objects for every model and mode; the largest number, should one have been scored on fewer.
    numbers = {size: max(one.n for one in chosen.values() if one.bucket == size) for size in sizes}
    lines = tuple(
        BucketLine(mode_term(mode).label, tuple(_bucket(run, chosen, mode, size) for size in sizes))
        for mode in run.modes
    )
    return tuple((size, count(numbers[size])) for size in sizes), lines if sizes else ()


def _bucket(run: RunView, chosen: Mapping[tuple[str, str, str], Bucket], mode: str, size: str) -> tuple[str, str, str]:
    found = [chosen.get((model or "", mode, size)) for model in run.pair]
    after, before = (one.mean if one else None for one in found)
    gain = signed(after - before) if after is not None and before is not None else ""
    return decimal(before), decimal(after), gain


def empty_facts(run: RunView) -> Pairs:
    """Return what each model answers on images without objects."""
    return [
        (model_label(one.model), f"{count(one.false_masks)} of {count(one.n)} with a false mask, {decimal(one.share)}")
        for one in run.results.empty
        if one.n
    ]


def warning(run: RunView) -> str:
    """Return why the figures are not those of a fair test; empty where they are."""
    data = run.results.data
    # The graver fault first: one warning is read, two are not.
    if leaks := data.get("leaks"):
        return (
            f"These figures are not to be trusted as a test: {count(leaks)} of the images scored here are, or nearly "
            f"duplicate, images that a compared model was trained or chosen on. {_why_kept(run)}"
        )
    if run.results.crowned is not None and data.get("part") not in (None, "test"):
        return (
            "These figures are not to be trusted as a test: the split has no test images, so the part "
            f"'{data['part']}' was scored, by which the best epoch was chosen. They flatter the tuned model."
        )
    if parted := (data.get("dataset") or {}).get("parted_groups"):
        return (
            f"These figures are not to be trusted as a test: {count(parted)} groups (patients, scenes or videos) have "
            "images in several parts of the split that was given (data.split, --split). They flatter the tuned model."
        )
    return ""


def _why_kept(run: RunView) -> str:
    if run.results.crowned is not None:
        return "They were kept because they lie in the test part of the split that the run was given (data.split)."
    return "They were kept because the part to score was named by hand (--part)."


def unread_images(run: RunView) -> Pairs:
    """Return the images that could not be scored, each with its reason."""
    found = run.results.data.get("set_aside")
    return [(str(one["name"]), str(one["reason"])) for one in found] if isinstance(found, list) else []


def flatten(value: Mapping[str, Any], prefix: str = "") -> Pairs:
    """Return a tree of plain values as dotted names and short texts; long lists as their length."""
    pairs: Pairs = []
    for key, item in value.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(item, Mapping):
            pairs += flatten(item, f"{name}: ")
        elif isinstance(item, Sequence) and not isinstance(item, str) and (len(item) > 8 or _holds_trees(item)):
            pairs.append((name, count(len(item))))
        elif item == []:
            pairs.append((name, "none"))
        else:
            pairs.append((name, plain(item)))
    return pairs


def data_facts(run: RunView) -> Pairs:
    """Return what was scored; the limits of the sizes have their own place."""
    return flatten({key: value for key, value in run.results.data.items() if key != "sizes"})


def size_limits(run: RunView) -> str:
    """Return what the size buckets mean, where the results say so."""
    limits = run.results.data.get("sizes") or {}
    pairs = [(name, limit) for name, limit in limits.items() if isinstance(limit, list) and len(limit) == 2]
    parts = [f"{name}: {100 * low:g} % to {100 * high:g} %" for name, (low, high) in pairs]
    return f"Share of the image that an object covers: {', '.join(parts)}." if parts else ""


def split_facts(run: RunView) -> Pairs:
    """Return the split: sizes of its parts, seed, hash, and what of it was scored."""
    scored = run.results.split or {}
    parts = {name: len(run.split[name]) for name in ("train", "val", "test") if isinstance(run.split.get(name), list)}
    # Of the parts only their sizes: names may be thousands.
    known = parts | {key: value for key, value in run.split.items() if key not in parts}
    told = {"sizes"} | set(known) if known else set()
    return flatten(known) + flatten({key: value for key, value in scored.items() if key not in told})


def settings_by_origin(run: RunView) -> tuple[list[Setting], list[Setting]]:
    """Return the settings that somebody chose, and those left as they come."""
    return [one for one in run.settings if not one.is_default], [one for one in run.settings if one.is_default]


def command_line(run: RunView) -> str:
    """Return the exact command, quoted so that a shell takes it; empty where it is not known."""
    import shlex

    command = run.run.get("command")
    # A list keeps words with blanks whole; joined by blanks alone they would fall apart.
    return command if isinstance(command, str) else shlex.join(command) if command else ""


def provenance(run: RunView) -> list[tuple[str, Pairs]]:
    """Return the rest of `run.json` by topic: times, versions, machine, and hashes of data and model."""
    known = {key: value for key, value in run.run.items() if key != "command"}
    plain_ones = {key: value for key, value in known.items() if not isinstance(value, Mapping)}
    groups = [("Run", flatten(plain_ones))] if plain_ones else []
    return groups + [
        (str(key).replace("_", " ").capitalize(), flatten(value))
        for key, value in known.items()
        if isinstance(value, Mapping)
    ]


def _holds_trees(items: Iterable[Any]) -> bool:
    return any(isinstance(item, Mapping | list) for item in items)
