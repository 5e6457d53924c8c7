"""`segtune curve`: fits on nested subsets of the training part, and whether more labels would help."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtune.core.errors import UsageError
from segtune.core.files import write_json
from segtune.core.progress import SILENT, Progress
from segtune.data.fingerprints import Fingerprints
from segtune.data.scenes import SMALLEST_SIDE
from segtune.evaluation.learning import LearningCurve, trace
from segtune.runs.compare import (
    MANIFEST,
    Compared,
    Fit,
    Plan,
    plan_grid,
    read_trials,
    require_own_folder,
    run_comparison,
)
from segtune.runs.data import learned_besides, prepare_data
from segtune.runs.folder import RunFolder
from segtune.runs.grid import Axis
from segtune.runs.rehearsal import SCENES, open_rehearsal
from segtune.runs.settings import Settings, load_settings

_LEAST = 2
_KEY = "images"


@dataclass(frozen=True)
class Curve:
    """What came of a learning curve.

    Attributes:
        compared: the fits.
        curve: None as long as none is done.
    """

    compared: Compared
    curve: LearningCurve | None

    def to_json(self) -> dict[str, Any]:
        """Return the content of curve.json."""
        told = {"sizes": [int(size) for size in self.compared.plan.axes[0].values], "seeds": self.compared.plan.seeds}
        done = {"asked": len(self.compared.plan.cells), "done": len(self.compared.done)}
        ends = {"failed": dict(self.compared.failed), "stopped": self.compared.stopped, "part": self.compared.part}
        return told | done | ends | ({} if self.curve is None else asdict(self.curve))


def plan_curve(
    sizes: str,
    seeds: int,
    out: Path,
    *,
    preset: str,
    overrides: Sequence[str] = (),
    progress: Progress = SILENT,
    **given: Any,
) -> Plan:
    """Split the data once, and return the fits on nested parts of its training images.

    Args:
        sizes: numbers of images, or shares of the training part with a decimal point, parted by commas.
        seeds: of each size; each has its own draw of training images, of which fewer are among more.
        out: the curve's folder; `split/` in it holds the split, which stays as it is once a fit has begun, and each fit
            has a folder of its own.
        preset: where nothing else is said.
        overrides: "dotted.name=value" for all fits.
        progress: what people see.
        given: what `load_settings` takes besides.

    Raises:
        SegtuneError: sizes, settings or data that cannot be used, or a folder that holds something else.
    """
    parse_sizes(sizes, 1 << 40)  # a mistake is told before the data is looked at
    require_own_folder(out)
    settings = load_settings(preset=preset, out=out, overrides=overrides, **given).settings
    if settings.data.train_images is not None:
        raise UsageError("A learning curve sets data.train_images itself, by --sizes. Leave it out of --set.")
    out.mkdir(parents=True, exist_ok=True)
    if not (out / MANIFEST).exists():
        write_json(out / MANIFEST, {"vary": {_KEY: []}, "seeds": seeds})
    folder = RunFolder(out / "split")
    folder.path.mkdir(exist_ok=True)
    # Kept as soon as a fit has begun on it; before, other data, another seed or a mistake may have made it.
    has_begun = _has_begun(out)
    seen = None if has_begun else _learned_besides(settings, progress)
    data = prepare_data(settings.data, folder, progress, fresh=not has_begun, seen=seen)
    values = tuple(str(size) for size in parse_sizes(sizes, len(data.split.train)))
    axis = Axis(_KEY, "data.train_images", values)
    # Of the curve's own, so that files added later change no part of it.
    fixed = [*overrides, f"data.split={json.dumps(str(folder.split), ensure_ascii=False)}"]
    seeded = ("training.seed", "data.train_seed")
    return plan_grid((axis,), seeds, out, preset=preset, overrides=fixed, seeded=seeded, **given)


def _learned_besides(settings: Settings, progress: Progress) -> Fingerprints | None:
    """Return the fingerprints of what any fit may learn from beside the data, of whatever seeds there will be."""
    training = settings.training
    # Each seed rehearses a draw of its own: all of the folder is kept out of what is tested.
    rehearsal = training.rehearsal.model_copy(update={"images": sys.maxsize})
    whole = settings.model_copy(update={"training": training.model_copy(update={"rehearsal": rehearsal})})
    # Of drawn scenes, whose side this is, nothing need be remembered.
    drawn = training.rehearsal.source == SCENES
    found = None if drawn else open_rehearsal(whole, side=SMALLEST_SIDE)
    return learned_besides(settings.model.base, found, progress)


def _has_begun(out: Path) -> bool:
    return any(RunFolder(place).is_fit for place in out.glob(f"{_KEY}=*/seed-*"))


def run_curve(plan: Plan, fit: Fit, progress: Progress = SILENT) -> Curve:
    """Run the fits that are not done and trace the curve through all that are, into curve.json.

    Args:
        plan: which.
        fit: runs one.
        progress: what people see.

    Raises:
        SegtuneError: no fit could be run; the first one's error.
    """
    compared = run_comparison(plan, fit, progress)
    curve = None
    if compared.done:
        trials, groups = read_trials(compared.done, {})
        scores: dict[int, list[Any]] = {}
        for trial in trials.values():
            scores.setdefault(int(trial.setting[_KEY]), []).append(trial.after)
        before = np.mean([trial.before for trial in trials.values()], axis=0)
        curve = trace(scores, before, groups)
    found = Curve(compared, curve)
    write_json(plan.folder / "curve.json", found.to_json())
    return found


def parse_sizes(text: str, whole: int) -> list[int]:
    """Return the sizes by rising number, the whole training part last.

    Args:
        text: numbers of images, or shares of the whole with a decimal point, parted by commas.
        whole: images of the training part.

    Raises:
        UsageError: something else, a size below 2 or above the whole.
    """
    found = {whole}
    for word in filter(None, (part.strip() for part in text.split(","))):
        try:
            size = round(float(word) * whole) if "." in word else int(word)
        except ValueError:
            size = -1
        if size < 0 or ("." in word and not 0 < float(word) <= 1):
            raise UsageError(
                "--sizes takes numbers of images, or shares of the training part with a decimal point, as in 25,50,100 "
                f"or 0.25,0.5; '{word}' is neither."
            )
        if size > whole:
            raise UsageError(
                f"--sizes {word}: the training part has {whole} images. Leave that size out; all come last."
            )
        if "." not in word and size < _LEAST:
            raise UsageError(f"--sizes {word}: a fit needs at least {_LEAST} training images. Give a larger size.")
        # A small share of little data is as much as a fit needs.
        found.add(max(size, min(_LEAST, whole)))
    return sorted(found)
