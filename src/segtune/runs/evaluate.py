"""`segtune evaluate`: models side by side on a data set, without what they were trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segtune.core.errors import DataError, UsageError
from segtune.core.progress import SILENT, Progress
from segtune.core.spec import part_phrase
from segtune.data.dataset import Dataset
from segtune.data.splits import Split, parted_groups, read_split, resolve
from segtune.evaluation.leakage import find_leaks
from segtune.models.allocator import keep_large_blocks
from segtune.models.device import pick_device
from segtune.models.family import PromptableModel
from segtune.models.open import open_model
from segtune.models.preparation import Kind
from segtune.runs.folder import RunFolder, describe_surroundings, now, other_than_a_run, run_of
from segtune.runs.known import is_data_of, known_to, open_as_trained, stored_split
from segtune.runs.proof import Proof, prove
from segtune.runs.settings import read_settings
from segtune.runs.unseen import open_unseen
from segtune.segment.refine import Cleanup, parse_cleanup
from segtune.segment.views import averaged, check_views

Part = Literal["train", "val", "test", "all"]


@dataclass(frozen=True)
class Contestant:
    """A model that takes part.

    Attributes:
        name: in the results.
        spec: as the user named it.
        run: the folder of the fit or pretraining it came of, or None.
        preparation: how images are brought to its square where a fit from it was told so; None: as its files say.
    """

    name: str
    spec: str
    run: RunFolder | None
    preparation: Kind | None = None

    def open(self, device: str) -> PromptableModel:
        """Open the model.

        Raises:
            ModelError: there is no such model.
        """
        return open_model(self.spec, device=device, preparation=self.preparation)


@dataclass(frozen=True)
class Selection:
    """What is scored.

    Attributes:
        dataset: the images.
        split: the split they are a part of, or None.
        part: its name; "all" without a split.
        left_out: what was left out because a compared run knows it, for metrics.json.
        leaks: how many images are scored although a compared run knows them.
    """

    dataset: Dataset
    split: Split | None
    part: Part
    left_out: Mapping[str, Any]
    leaks: int


def evaluate_models(
    model: str,
    data: Path,
    out: Path,
    *,
    against: Sequence[str] = (),
    modes: Sequence[str] | None = None,
    split: Path | None = None,
    part: Part | None = None,
    objects: str | None = None,
    format: str | None = None,  # noqa: A002 - the word users know it by
    seed: int = 0,
    tta: Sequence[str] = (),
    refine: str | None = None,
    unseen: Sequence[Path] = (),
    device: str = "auto",
    progress: Progress = SILENT,
) -> Proof:
    """Score `model` and those it is compared with on a data set, into `out`.

    Without `split`, and where a compared model is a run on this data, that run's stored test part is scored, else all
    of the data. Images that a compared run was trained or chosen on, or that nearly equal one of those, are left out,
    unless `part` is said: then they stay, are counted, and the report says so in red.

    With `tta` or `refine` each model is scored twice, as it is and as it is then, so that what they bring is told like
    any other difference: the results are about the first model with them.

    Args:
        model: a run folder, hub id, local folder, original .pth, or "nano".
        data: the data set.
        out: where metrics.json, matrix.csv, per_image.csv and run.json go.
        against: models to compare with.
        modes: prompt modes; all but `everything` without it.
        split: a split of one's own.
        part: which part of the split.
        objects: what one object is; without it as a compared run on this data has it, else "whole".
        format: name of the data format; without it that of such a run, else detected.
        seed: of the prompts.
        tta: views to average over (`segtune.segment.views.VIEWS`).
        refine: mask clean-up (`segtune.segment.refine.parse_cleanup`).
        unseen: data of other domains, scored in the same way and held against `data`.
        device: "cpu", "cuda", or "auto".
        progress: what people see.

    Raises:
        SegtuneError: a model or data that cannot be used, nothing left to score, or `out` is a run folder.
    """
    folder = other_than_a_run(Path(out))
    cleanup = parse_cleanup(refine) if refine else None
    check_views(tta)
    contestants = name_contestants([model, *against])
    runs = {one.name: one.run for one in contestants}
    dataset, reading = open_as_trained(Path(data), runs.values(), format=format, objects=objects)
    chosen = select(dataset, contestants, split, part, progress)
    domains = open_unseen(unseen, reading, known_to(runs), progress)
    keep_large_blocks()
    extra = name_entrants([one.name for one in contestants], tta, cleanup)
    models = _open_models(contestants, extra, tta, pick_device(device))
    # Before the work: it holds the time of the start.
    surroundings = describe_surroundings()
    has_learned = any(run is not None and is_data_of(dataset, run) for run in runs.values())
    told = _describe_data(data, dataset, chosen, has_learned=has_learned)
    told |= {"tta": list(tta), "refine": cleanup and str(cleanup)} if extra else {}
    proof = prove(
        models, chosen.dataset, folder.path, modes=modes, seed=seed, data=told,
        subject=extra.get(contestants[0].name, contestants[0].name),
        split=None if chosen.split is None else describe_split(chosen.split),
        cleanups=dict.fromkeys(extra.values(), cleanup) if cleanup is not None else {},
        unseen=domains, progress=progress,
    )  # fmt: skip
    specs = {one.name: one.spec for one in contestants}
    folder.write_record(
        **surroundings, finished=now(), model={"base": model, "compared": specs}, data={"path": str(data)}
    )
    return proof


def _describe_data(data: Path, dataset: Dataset, chosen: Selection, *, has_learned: bool) -> dict[str, Any]:
    # Whoever has learned nothing of the data is not flattered by a split that parts what belongs together.
    split = chosen.split if has_learned and chosen.part != "all" else None
    parted = {} if split is None else {"parted_groups": len(parted_groups(split, dataset))}
    return {
        "dataset": {"path": str(data), "format": dataset.format, "objects": dataset.objects, **parted},
        "part": chosen.part, "left_out": dict(chosen.left_out), "leaks": chosen.leaks,
    }  # fmt: skip


def describe_split(split: Split) -> dict[str, Any]:
    """Return what metrics.json says of a split."""
    sizes = {"train": len(split.train), "val": len(split.val), "test": len(split.test)}
    return {"sha256": split.sha256, "seed": split.seed, "sizes": sizes}


def name_contestants(specs: Sequence[str]) -> list[Contestant]:
    """Name the models: "tuned" is the first where it is a fit, "pretrained" that fit's base, others keep their own.

    Raises:
        UsageError: the same model twice.
    """
    if len(set(specs)) < len(specs):
        raise UsageError(f"A model is compared with others, not with itself; it was named twice: {', '.join(specs)}.")
    runs = [run_of(spec) for spec in specs]
    fit = runs[0] if runs[0] is not None and runs[0].is_fit else None
    # By what the run says it started from, so that the figures read "pretrained → tuned".
    start = read_settings(fit.settings).settings.model if fit is not None else None
    found: list[Contestant] = []
    for number, (spec, run) in enumerate(zip(specs, runs, strict=True)):
        is_base = start is not None and spec == start.base
        if number == 0 and fit is not None:
            name = "tuned"
        elif is_base:
            name = "pretrained"
        else:
            path, phrase = part_phrase(spec)
            name = "#".join([Path(path).name, *([phrase] if phrase else [])])
        if name in {one.name for one in found}:
            name = f"{name} ({spec})"
        found.append(Contestant(name, spec, run, start.preparation if start is not None and is_base else None))
    return found


def name_entrants(names: Iterable[str], tta: Sequence[str], cleanup: Cleanup | None) -> dict[str, str]:
    """Return each model's name → what it is called where views are averaged or masks cleaned; empty without either."""
    more = [*tta, *([str(cleanup)] if cleanup is not None else [])]
    return {name: " + ".join([name, *more]) for name in names} if more else {}


def _open_models(
    contestants: Sequence[Contestant], extra: Mapping[str, str], tta: Sequence[str], device: str
) -> dict[str, PromptableModel]:
    models: dict[str, PromptableModel] = {}
    for one in contestants:
        opened = one.open(device)
        # Side by side in the table, the plain one first: it is what the other is held against.
        models |= {one.name: opened} | ({extra[one.name]: averaged(opened, tta)} if extra else {})
    return models


def select(
    dataset: Dataset, contestants: Sequence[Contestant], split: Path | None, part: Part | None, progress: Progress
) -> Selection:
    """Choose the images to score.

    Raises:
        UsageError: a part without a split.
        DataError: nothing is left.
    """
    runs = {one.name: one.run for one in contestants}
    stored = stored_split(dataset, runs.values()) if split is None else resolve(read_split(split), dataset)
    if part not in (None, "all") and stored is None:
        raise UsageError(
            f"--part {part} needs a split: none of the models is a run on {dataset.root}. Give one by --split."
        )
    wanted: Part = part or ("test" if stored is not None else "all")
    scored = dataset if stored is None or wanted == "all" else dataset.subset(stored.part(wanted))
    leakage = find_leaks(scored, known_to(runs), progress)
    # Somebody chose to score them all the same: nothing is left out, but counted.
    if part is not None:
        return Selection(scored, stored, wanted, {}, len(leakage.names))
    if not leakage.kept:
        raise DataError(
            f"Each of the {len(scored)} images is, or nearly duplicates, one that a compared run was trained or chosen "
            "on, so nothing is left for a fair test. Give other data; or --part all to score them all the same."
        )
    return Selection(scored.subset(leakage.kept), stored, wanted, leakage.to_json(), 0)
