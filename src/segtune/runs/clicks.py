"""`segtune clicks`: the interactive benchmark on a data set, without what the models were trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segtune.core.files import write_json
from segtune.core.progress import SILENT, Progress
from segtune.evaluation.clicks import MOST_CLICKS, ClickResult, score_clicks
from segtune.models.allocator import keep_large_blocks
from segtune.models.device import pick_device
from segtune.runs.evaluate import Part, name_contestants, select
from segtune.runs.folder import describe_surroundings, now, other_than_a_run
from segtune.runs.known import open_as_trained


def click_models(
    model: str,
    data: Path,
    out: Path,
    *,
    against: Sequence[str] = (),
    limit: int = MOST_CLICKS,
    split: Path | None = None,
    part: Part | None = None,
    objects: str | None = None,
    format: str | None = None,  # noqa: A002 - the word users know it by
    seed: int = 0,
    device: str = "auto",
    progress: Progress = SILENT,
) -> ClickResult:
    """Click every object of a data set for `model` and those it is compared with; write what came of it into `out`.

    Which images are scored is decided as by `evaluate_models`.

    Args:
        model: a run folder, hub id, local folder, original .pth, or "nano".
        data: the data set.
        out: where clicks.json, clicks_per_object.csv and run.json go.
        against: models to compare with.
        limit: most clicks an object gets.
        split: a split of one's own.
        part: which part of the split.
        objects: what one object is; without it as a compared run on this data has it, else "whole".
        format: name of the data format; without it that of such a run, else detected.
        seed: of the intervals.
        device: "cpu", "cuda", or "auto".
        progress: what people see.

    Raises:
        SegtuneError: a model or data that cannot be used, nothing left to score, or `out` is a run folder.
    """
    folder = other_than_a_run(Path(out))
    contestants = name_contestants([model, *against])
    dataset, _ = open_as_trained(Path(data), (one.run for one in contestants), format=format, objects=objects)
    chosen = select(dataset, contestants, split, part, progress)
    keep_large_blocks()
    place = pick_device(device)
    models = {one.name: one.open(place) for one in contestants}
    surroundings = describe_surroundings()
    folder.path.mkdir(parents=True, exist_ok=True)
    result = score_clicks(models, chosen.dataset, limit=limit, seed=seed, folder=folder.path, progress=progress)
    told = {"part": chosen.part, "left_out": dict(chosen.left_out), "leaks": chosen.leaks}
    write_json(folder.path / "clicks.json", {**result.to_json(), "data": told})
    specs = {one.name: one.spec for one in contestants}
    folder.write_record(
        **surroundings, finished=now(), model={"base": model, "compared": specs}, data={"path": str(data)}
    )
    return result
