"""`segtune blend`: a model between the pretrained and the tuned one that keeps the gain and forgets less."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segtune.core.errors import ModelError, UsageError
from segtune.core.files import read_json, write_json
from segtune.core.progress import SILENT, Progress
from segtune.data.reading import BY_CONTENT
from segtune.evaluation.blending import CurvePoint, choose_blend
from segtune.evaluation.forgetting import PRETRAINED, measure_forgetting
from segtune.evaluation.results import Results
from segtune.models.allocator import keep_large_blocks
from segtune.models.device import pick_device
from segtune.models.fingerprint import hash_weights
from segtune.models.interpolation import interpolate
from segtune.models.open import open_model
from segtune.models.save import BLEND, RECORD, save_model
from segtune.models.sides import at_side
from segtune.runs.base import open_base, open_start
from segtune.runs.blend_curve import Ends, Question, kept_curve
from segtune.runs.data import RunData, stored_data
from segtune.runs.evaluate import describe_split
from segtune.runs.folder import RunFolder, describe_surroundings, now, other_than_a_run
from segtune.runs.general import NONE, GeneralImages, open_general, without_learned
from segtune.runs.known import READING, blend_of, reading_of
from segtune.runs.proof import Proof, prove
from segtune.runs.settings import read_settings

BLENDED, TUNED = "blended", "tuned"

CURVE = "blend.json"
"""The file with the curve, the rule and the choice."""

ALPHAS = tuple(number / 10 for number in range(1, 10))


@dataclass(frozen=True)
class BlendResult:
    """What came of a blend.

    Attributes:
        folder: holds model/ and the report's files.
        alpha: share of the tuned model.
        curve: what was measured on validation and general images.
        proof: pretrained, tuned and blended on the test images.
        summary: the content of blend.json.
    """

    folder: Path
    alpha: float
    curve: tuple[CurvePoint, ...]
    proof: Proof
    summary: dict[str, Any]


def blend(
    run: Path,
    out: Path,
    *,
    alphas: Sequence[float] = ALPHAS,
    fixed: float | None = None,
    keep: float = 0.9,
    general: str | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> BlendResult:
    """Interpolate between a run's base and its result, choose how far, and score the choice once on the test images.

    Each blend is scored on the run's validation images and on general images. Of those that keep at least `keep` of the
    highest gain among them the one is taken that loses least on general images. The general images that are reported
    are others than those it was chosen by, where there are enough of them. Nothing is written into the run.

    Cut off, the same call goes on: the curve is written when it is measured, and taken up where nothing that it depends
    on has changed.

    Args:
        run: the folder of a fit that crowned a model.
        out: gets model/, blend.json, metrics.json and what else a report needs.
        alphas: shares of the tuned model to try.
        fixed: take this one, whatever the curve says.
        keep: share of the highest gain on the curve that must stay, 0 to 1.
        general: "suite" or a folder; as in the run without it.
        device: "cpu", "cuda", or "auto".
        progress: what people see.

    Raises:
        UsageError: an alpha or `keep` outside 0 to 1, or `out` is not free.
        ModelError: `run` is no fit, kept its pretrained weights, or its two models are not of one network.
        DataError: the run's data cannot be read any more.
    """
    for name, value in (("alpha", fixed), ("keep", keep), *(("alphas", one) for one in alphas)):
        if value is not None and not 0 <= value <= 1:
            raise UsageError(f"--{name} is a share between 0 and 1, but was {value:g}.")
    folder = _free(out)
    ends = _open_ends(RunFolder(Path(run)), pick_device(device))
    images = _open_general(ends, general, progress)
    data = stored_data(ends.settings.data, ends.run)
    keep_large_blocks()
    surroundings = describe_surroundings()
    question = Question.of(ends, (fixed,) if fixed is not None else alphas, data, images)
    asked = question.describe()
    if (curve := kept_curve(folder.path / CURVE, asked)) is None:
        curve = question.answer(progress)
    rule = f"given: {fixed:g}" if fixed is not None else _rule(keep)
    point = next(one for one in curve if one.alpha == fixed) if fixed is not None else choose_blend(curve, keep)
    told = {"alpha": point.alpha, "rule": rule, "run": str(run), "base": ends.settings.model.base}
    choice = {"general": images.source, "images": len(images.choice), "same_as_reported": images.is_shared}
    summary = told | {"keep": keep, "chosen_by": choice, "curve": [asdict(one) for one in curve], "measured": asked}
    # Before the proof: cut off there, the same command takes up what took longest.
    write_json(folder.path / CURVE, summary)
    _save(ends, folder, point.alpha, told)
    proof = _prove(ends, folder, data, images, progress)
    summary["kept"] = shares_kept(proof.results)
    write_json(folder.path / CURVE, summary)
    folder.write_record(
        **surroundings, finished=now(), model={"base": ends.settings.model.base, "blended_from": str(run)},
        data=data.describe(), weights_sha256={name: hash_weights(model) for name, model in proof.models.items()},
    )  # fmt: skip
    return BlendResult(folder.path, point.alpha, curve, proof, summary)


def shares_kept(results: Results) -> dict[str, float | None]:
    """Return how much of the tuned model's gain and loss the blended one has, as means of IoU over prompt modes."""
    rows = [row for row in results.rows if row.metric == "iou"]
    general = [row for row in results.general.rows if row.metric == "iou"] if results.general else []
    found: dict[str, float | None] = {}
    for name, scored in (("gain", rows), ("general", general)):
        mean = {}
        for model in (PRETRAINED, TUNED, BLENDED):
            values = [row.mean for row in scored if row.model == model and row.mean is not None]
            mean[model] = sum(values) / len(values) if values else None
        for model in (TUNED, BLENDED):
            before, after = mean[PRETRAINED], mean[model]
            found[f"{name}_{model}"] = None if before is None or after is None else after - before
    return found


def _rule(keep: float) -> str:
    return f"the least lost on general images with at least {100 * keep:g} % of the highest gain kept"


def _free(out: Path) -> RunFolder:
    folder = other_than_a_run(Path(out))
    if folder.model.exists() and not (folder.path / CURVE).is_file() and blend_of(folder) is None:
        raise UsageError(f"{out} holds a model that segtune blend did not write. Give --out another folder.")
    return folder


def _open_ends(run: RunFolder, device: str) -> Ends:
    run.require()
    settings = read_settings(run.settings).settings
    tuned = open_model(run.path, device=device)
    if not read_json(run.model / RECORD).get("crowned"):
        raise ModelError(
            f"The run in {run.path} kept its pretrained weights, since no epoch beat them, so there is nothing to "
            "blend them with. Tune again with other settings."
        )
    pretrained = open_start(settings.model, device)
    if tuned.attached is not None and pretrained.attached is None:
        raise ModelError(
            f"The adapter '{tuned.attached.spec}' of the run in {run.path} cannot be merged: plain weights cannot "
            "express it, so between the run's result and its base there is nothing to blend. Tune by an adapter that "
            "is merged (lora, dora, pissa, …) or the weights themselves (decoder, late:N, full)."
        )
    return Ends(run, settings, device, pretrained, at_side(pretrained, tuned.side), tuned)


def _open_general(ends: Ends, asked: str | None, progress: Progress) -> GeneralImages:
    spec = asked or ends.settings.evaluation.general
    found = open_general(spec, ends.settings.evaluation.general_images, ends.tuned.side)
    if found is None:
        raise UsageError(
            f"How much a blend forgets is seen on general images, but the run says {NONE}. Give --general suite for "
            "drawn ones, or --general FOLDER."
        )
    return without_learned(found, ends.run.fingerprints, progress)


def _save(ends: Ends, folder: RunFolder, alpha: float, told: dict[str, Any]) -> None:
    model = open_base(ends.settings.model, ends.device)
    model.load_state_dict(interpolate(*ends.weights, alpha))
    model.quality_map = None  # of either end, whose quality head was another
    fresh = folder.model.with_name(".model.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    # By its whole path, so that what the run knows is found from anywhere; how it reads images also without it.
    found = {"run": str(ends.run.path.absolute()), READING: (reading_of(ends.run.path) or BY_CONTENT).to_json()}
    save_model(model, fresh, extra={"base": told["base"], BLEND: told | found})
    # Of an earlier blend in this folder, whose model goes now.
    folder.metrics.unlink(missing_ok=True)
    shutil.rmtree(folder.model, ignore_errors=True)
    fresh.rename(folder.model)
    # It has learned from what the run has, and is kept from being tested on that.
    for source, target in ((ends.run.fingerprints, folder.fingerprints), (ends.run.split, folder.split)):
        shutil.copyfile(source, target)


def _prove(ends: Ends, folder: RunFolder, data: RunData, general: GeneralImages, progress: Progress) -> Proof:
    # What is scored is the file that was saved, not the model in memory.
    blended = open_model(folder.model, device=ends.device)
    models = {PRETRAINED: ends.pretrained, TUNED: ends.tuned, BLENDED: blended}
    test, part = (data.test, "test") if len(data.test) else (data.val, "val")
    settings = ends.settings.evaluation
    forgotten = measure_forgetting(
        models, general.reported, subject=BLENDED, source=general.source, modes=settings.general_modes,
        seed=settings.seed, left_out=general.left_out, progress=progress,
    )  # fmt: skip
    return prove(
        models, test, folder.path, modes=settings.modes, seed=settings.seed, subject=BLENDED,
        data={"dataset": data.describe(), "part": part}, split=describe_split(data.split), general=forgotten,
        sensitivity_images=settings.sensitivity_images, progress=progress,
    )  # fmt: skip
