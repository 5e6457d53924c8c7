"""Segment many images: read ahead, encode in batches, write as it goes, go on where it was cut off."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from segtune.core.errors import DataError, UsageError, unknown_name
from segtune.core.files import hash_text
from segtune.core.progress import SILENT, Advance, Progress
from segtune.data.formats.regions import OBJECT
from segtune.data.formats.writing import written_names
from segtune.data.reading import Reading, without_number
from segtune.models.family import PromptableModel
from segtune.models.fingerprint import hash_weights
from segtune.segment.batches import Task, answer_images
from segtune.segment.cluster import answer_on_cluster, check_place
from segtune.segment.everything import EverythingSettings
from segtune.segment.inputs import InputImage, find_inputs
from segtune.segment.journal import Journal
from segtune.segment.origin import reading_for
from segtune.segment.outputs import OUTPUTS, Failed, OutputFormat, Result
from segtune.segment.refine import Cleanup
from segtune.segment.tiles import TileSettings
from segtune.segment.wishes import Wish, Wishes


@dataclass(frozen=True)
class ManyResult:
    """What came of a job.

    Attributes:
        folder: of the results.
        images: how many were asked for.
        done: segmented now.
        masks: found on these.
        before: that were done already when the job went on.
        without: for which nothing was asked.
        failed: by name, why.
        seconds: of the work now.
        stopped: somebody asked to stop.
        unknown: names in the file of prompts that are of no image, or of several.
        uncleaned: masks found now that are too large to be cleaned (`batches.Task`), and are as they were found.
    """

    folder: Path
    images: int
    done: int
    masks: int
    before: int
    without: int
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: bool = False
    unknown: tuple[str, ...] = ()
    uncleaned: int = 0


def segment_many(
    model: PromptableModel,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    wishes: Wishes,
    *,
    everything: EverythingSettings | None = None,
    format: str | None = None,  # noqa: A002 - the word users know it by
    batch: int | None = None,
    tiles: TileSettings | None = None,
    cleanup: Cleanup | None = None,
    reading: Reading | None = None,
    on: str | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = SILENT,
) -> ManyResult:
    """Segment what is asked of each image and write the masks, one image after another.

    Called again with the same job it goes on: images that are done are left alone, those that failed are tried again.
    An image that cannot be read, or that a prompt does not fit, is listed and stops nothing.

    Args:
        model: any promptable model, on its device.
        inputs: as `find_inputs` takes them.
        out: folder of the results; its results.jsonl says what was done.
        wishes: what is asked of each image: `read_wishes` of a file, `same_for_all`, or made of `Wish`; `Wishes()` for
            everything.
        everything: find all masks of each image instead, with these settings.
        format: one of `OUTPUTS`; None: "rle" for everything in tiles, else "png".
        batch: images, or windows around objects, encoded at once; None: what suits the model and the device. Tiles of
            everything mode are encoded one by one.
        tiles: read images of any size by window: everything mode tile by tile, prompts in a window around each object.
        cleanup: of all masks but the largest (`batches.Task`).
        reading: how image files are read; None: as the run that the model came of read its data.
        on: compute on a Ray cluster: "local", "auto", "ray://HOST:PORT" (`cluster.check_place`); None: in this process.
            Files are written by this process either way; paths of images must hold on all machines.
        stop: asked after each image, and within one that takes long.
        progress: hears of every image.

    Raises:
        UsageError: an unknown format, nothing asked, or `out` holds the results of another job.
        DataError: no image is there, or what is asked is of none of them.
        MissingExtraError: Ray is not installed.
        ResourceError: the disk is full, or the cluster ended the job; what was complete stays.
    """
    format = format or ("rle" if everything is not None and tiles is not None else "png")  # noqa: A001
    if format not in OUTPUTS:
        raise unknown_name("format", format, OUTPUTS)
    output = OUTPUTS[format]
    out, asked = Path(out), Task(wishes, everything, tiles, cleanup, reading or reading_for(model), output.probability)
    _check_asked(asked)
    if on is not None:
        check_place(on)
    images = find_inputs(inputs, without=out)
    task, unknown = _resolved(asked, images)
    wanted = _wanted(images, wishes, task)
    if not wanted:
        raise DataError(_nothing_asked(images, wishes))
    begun = time.perf_counter()
    with Journal(out, _describe_job(model, asked, format)) as journal:
        before = journal.done()
        left = _images_left(wanted, before, out, task.wishes)
        named = {one.name: one for one in left}
        sink = _Sink(out, journal, output, wishes.labels or [OBJECT], task.wishes, named)
        with progress.stage("segment", len(wanted)) as advance:
            advance(len(wanted) - len(left))
            with closing(_answer(on, model, left, task, batch, stop, partial(advance, 0))) as groups:
                drained = sink.drain(groups, stop, advance)
        stopped = drained.seen < len(left)
        if not stopped:
            sink.finish(wanted)
        known = journal.failed()
    failed = {image.name: known[image.name] for image in wanted if image.name in known}
    return ManyResult(
        out, len(images), drained.done, drained.masks, len(wanted) - len(left), len(images) - len(wanted), failed,
        time.perf_counter() - begun, stopped, unknown, drained.uncleaned,
    )  # fmt: skip


def _resolved(task: Task, images: Sequence[InputImage]) -> tuple[Task, tuple[str, ...]]:
    """Return the task with what is asked of single images under their names, and the keys that are of none."""
    if not task.wishes.by_name:
        return task, ()
    asked = task.wishes.for_images(images)
    return replace(task, wishes=replace(task.wishes, by_name=asked.by_image)), asked.unknown


def _wanted(images: Sequence[InputImage], wishes: Wishes, task: Task) -> list[InputImage]:
    """Return the images of which anything is asked; of a file that could not be opened, also of an image in it.

    Args:
        images: all that were found.
        wishes: as they were given.
        task: the same, as `_resolved` returns it.
    """
    if task.everything is not None or wishes.finder:
        return list(images)
    files: Mapping[str, tuple[Wish, ...]] = {}
    if any(image.fault for image in images):
        by_file = {without_number(name): asked for name, asked in wishes.by_name.items()}
        files = replace(wishes, by_name=by_file).for_images(images).by_image
    return [
        image
        for image in images
        if task.wishes.of(image) or (image.fault and (not image.is_named or files[image.name]))
    ]


def _answer(
    on: str | None,
    model: PromptableModel,
    images: Sequence[InputImage],
    task: Task,
    batch: int | None,
    stop: Callable[[], bool],
    note: Callable[[str], None],
) -> Generator[Iterable[Result | Failed], None, None]:
    if on is None:
        return answer_images(model, images, task, batch=batch, stop=stop, note=note)
    return answer_on_cluster(on, model, images, task, batch=batch, stop=stop)


@dataclass
class _Drained:
    """How many images were looked at and segmented, how many masks were found, and of these not cleaned."""

    seen: int = 0
    done: int = 0
    masks: int = 0
    uncleaned: int = 0


@dataclass(frozen=True)
class _Sink:
    """Writes what comes of images: their files first, then their lines.

    Attributes:
        out: folder of the results.
        journal: gets a line per image.
        output: how masks are written.
        classes: in the order of their numbers.
        wishes: what is asked of each image, by its name.
        images: that are to be done, by name.
    """

    out: Path
    journal: Journal
    output: OutputFormat
    classes: Sequence[str]
    wishes: Wishes
    images: Mapping[str, InputImage]

    def drain(
        self, groups: Iterable[Iterable[Result | Failed]], stop: Callable[[], bool], advance: Advance
    ) -> _Drained:
        """Write all there is, or until somebody asks to stop."""
        drained = _Drained()
        begun = time.perf_counter()
        for group in groups:
            # With nothing left to do, nobody is too late.
            if drained.seen < len(self.images) and stop():
                break
            for one in group:
                drained.seen += 1
                if isinstance(one, Result) and self._write(one):
                    drained.done, drained.masks = drained.done + 1, drained.masks + len(one.objects)
                    drained.uncleaned += one.uncleaned
                elif isinstance(one, Failed):
                    self._list(one.name, one.reason)
                advance(1, f"{drained.done / (time.perf_counter() - begun):.1f} images/s")
                if drained.seen < len(self.images) and stop():
                    return drained
        return drained

    def finish(self, wanted: Sequence[InputImage]) -> None:
        """Write what is about all images."""
        if self.output.finish is not None:
            self.output.finish(self.out, self.journal.results([image.name for image in wanted]), self.classes)

    def _write(self, one: Result) -> bool:
        """Say whether the format can hold its masks; else it is listed."""
        try:
            self.output.write(self.out, one, self.classes)
        except DataError as error:
            self._list(one.name, str(error))
            return False
        image = self.images[one.name]
        told: dict[str, Any] = {"image": one.name, "path": _place(image)}
        # By this a mask prompt that is drawn anew later is noticed.
        masks = self.wishes.hash_masks(image)
        told |= {} if masks is None else {"mask_prompts": masks}
        objects = [self.output.keep(found) for found in one.objects]
        self.journal.add(told | {"stem": one.stem, "size": one.size, "objects": objects})
        return True

    def _list(self, name: str, reason: str) -> None:
        """Note why an image could not be segmented."""
        self.journal.add({"image": name, "path": _place(self.images[name]), "error": reason})


def _place(image: InputImage) -> str:
    return str(image.path.resolve())


def _images_left(
    wanted: Sequence[InputImage], before: Mapping[str, Mapping[str, Any]], out: Path, wishes: Wishes
) -> list[InputImage]:
    """Return the images that are not done, each with a path for its files that no other has.

    Raises:
        UsageError: what was done is of another image of the same name, or of mask prompts that have changed since.
    """
    left = []
    for image in wanted:
        line = before.get(image.name)
        if line is None:
            left.append(image)
        elif line["path"] != _place(image):
            raise UsageError(
                f"{out} holds the masks of {line['path']} under the name {image.name}, which {_place(image)} has too. "
                "Give --out another folder, or segment both images in one command; nothing was touched."
            )
        elif line.get("mask_prompts") != wishes.hash_masks(image):
            raise UsageError(
                f"{out} holds the masks of {image.name}, but the mask files that its prompts name have changed since. "
                "Give --out another folder, or bring the files back; nothing was touched."
            )
    # An image that came later may have what was the name of another alone.
    taken = [line["stem"] for line in before.values()]
    return [replace(image, stem=stem) for stem, image in written_names(left, taken)]


def _check_asked(task: Task) -> None:
    """Refuse what cannot be done before anything is opened."""
    if task.everything is None and not task.wishes:
        raise UsageError(
            "There is nothing to segment: no prompt was given. Give points, boxes or a file of prompts, or ask for "
            "everything."
        )
    if task.everything is not None and task.wishes:
        raise UsageError("Everything mode takes no prompts, but some were given. Leave one of the two out.")
    if task.tiles is not None and task.wishes.finder is not None:
        raise UsageError(
            "Text is looked for in whole images, but tiles were asked for. Leave one of the two out, or give boxes."
        )
    if task.probability and (task.everything is not None or task.tiles is not None):
        raise UsageError(
            "Probabilities are written of what is prompted in whole images, but everything mode or tiles were asked "
            "for, of which masks alone are kept. Give points, boxes, text or a file of prompts, or another format."
        )


def _describe_job(model: PromptableModel, task: Task, format: str) -> dict[str, Any]:  # noqa: A002
    """Return what two runs must share to be the same job."""
    wishes = task.wishes
    # Of prompts that name no file it does not matter where they lie: the command may go on from another folder.
    asked = wishes.to_json() | ({"folder": str(wishes.folder.absolute())} if wishes.names_masks else {})
    job: dict[str, Any] = {"model": hash_weights(model), "format": format, "prompts": hash_text(str(asked))}
    # The same weights may look at an image brought to another size.
    job |= {"preparation": json.loads(json.dumps(model.preparation.to_json()))}
    # By way of JSON, as the journal gives it back.
    whole = None if task.everything is None else json.loads(json.dumps(asdict(task.everything)))
    job |= {"refine": str(task.cleanup)} if task.cleanup is not None else {}
    job |= {"reading": json.loads(json.dumps(told))} if (told := task.reading.to_json()) else {}
    job |= {"tiles": asdict(task.tiles)} if task.tiles else {}
    # Calibrated in the midst of a job, one file would tell two scales of quality.
    job |= {"phrase": model.phrase} if model.phrase else {}
    job |= {"quality": model.quality_map.to_json()} if model.quality_map else {}
    return job | ({"variant": model.variant} if model.variant else {}) | ({"everything": whole} if whole else {})


def _nothing_asked(images: Sequence[InputImage], wishes: Wishes) -> str:
    return (
        f"Nothing is asked of any of the {len(images)} images (the first is {images[0].name}); the file of prompts "
        f"names {next(iter(wishes.by_name))} first. Name images by their path below the folder given, or by their "
        "file's name where one alone has it."
    )
