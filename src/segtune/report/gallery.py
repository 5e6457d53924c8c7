"""Which images are shown, and their pictures: drawn once by whoever has the models, kept beside the report."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from segtune.core.files import hash_file, read_json, write_bytes, write_json
from segtune.core.progress import SILENT, Progress
from segtune.core.types import Image
from segtune.evaluation.per_image import Scores
from segtune.report.collage import Collage, Panel, compose, draw_panels
from segtune.report.run import RunView


class Pictures(Protocol):
    """Returns what the models answer on an image in a prompt mode; None where it cannot be shown."""

    def __call__(self, image: str, mode: str, only: int | None = None, /) -> Collage | None:
        """Return the picture of all objects, or of the subject's answer for `only` that object of the image."""


FOLDER = "figures"
INDEX = "pictures.json"

FAILURES = 10
"""Worst images that are listed per leading mode."""
PICTURED_FAILURES = 4
"""How many of them get a picture."""

LISTED_SUSPECTS = 25
"""Labels worth a second look that are listed, each with a picture; `labels_to_review.csv` has the rest."""

_PANEL_BYTES = 56 * 1024
"""Most of one panel."""
_PAGE_BYTES = 3400 * 1024
"""Most of all panels together, so that the page stays below six megabytes however many models are shown."""
_SUSPECT_WEIGHT = 0.5
"""Share in that of a label worth a second look, beside 1 of an example or failure: there may be many of them."""
_COLLAGE_BYTES = 400 * 1024
_LEAST_SIDE = 64
"""A picture smaller than this, in pixels, is not made smaller for its bytes."""


@dataclass(frozen=True)
class Example:
    """One image worth looking at.

    Attributes:
        title: why: "Best gain", "Median", "Worst", or its rank among the failures.
        mode: prompt mode.
        image: name.
        before: the reference model's IoU, None without one.
        after: the subject's IoU.
    """

    title: str
    mode: str
    image: str
    before: float | None
    after: float

    @property
    def gain(self) -> float | None:
        """IoU gained by tuning, None without a reference."""
        return None if self.before is None else self.after - self.before


@dataclass(frozen=True)
class StoredPanel:
    """One panel's file below the folder of figures, with what stands above it."""

    kind: str
    title: str
    iou: float | None
    file: str


@dataclass(frozen=True)
class StoredPicture:
    """The files of one collage: its panels, all of one width and height in pixels, and all of them in one.

    `only` is the object that is shown alone, None where the image's objects are.
    """

    image: str
    mode: str
    collage: str
    width: int
    height: int
    panels: tuple[StoredPanel, ...]
    only: int | None = None

    @property
    def key(self) -> Place:
        """Where the gallery holds it."""
        return (self.image, self.mode) if self.only is None else (self.image, self.mode, self.only)


Place = tuple[str, str] | tuple[str, str, int]
"""(image name, prompt mode), with an object's number where that is shown alone."""

Gallery = dict[Place, StoredPicture]


def choose_examples(run: RunView, mode: str) -> tuple[Example, ...]:
    """Return the best gain, the median and the worst of one mode; by IoU itself where nothing is compared."""
    scores, (subject, reference) = run.scores, run.pair
    if scores is None:
        return ()
    images = scores.paired(subject, reference if reference is not None else subject, mode)
    after = scores.of(subject, mode)[images]
    gain = after - scores.of(reference, mode)[images] if reference is not None else after
    # By falling gain, and by name in reverse where gains are equal: the same in every report.
    order = _ranked(scores, images, gain)[::-1]
    if not len(order):
        return ()
    places = {
        "Best gain" if reference is not None else "Best": 0,
        "Median": (len(order) - 1) // 2,
        "Worst": len(order) - 1,
    }
    # With one or two images the places fall together.
    chosen = {order[place]: title for title, place in reversed(places.items())}
    return tuple(_example(scores, run.pair, mode, image, title) for image, title in reversed(chosen.items()))


def choose_failures(run: RunView, mode: str) -> tuple[Example, ...]:
    """Return the images of lowest IoU in one mode, the worst first."""
    scores, subject = run.scores, run.pair[0]
    if scores is None:
        return ()
    images = scores.paired(subject, subject, mode)
    order = _ranked(scores, images, scores.of(subject, mode)[images])[:FAILURES]
    return tuple(_example(scores, run.pair, mode, image, f"{rank}") for rank, image in enumerate(order, start=1))


def choose_pictures(run: RunView) -> tuple[Place, ...]:
    """Return what is drawn, each once: examples, failures, and the labels of most doubt."""
    shown: list[Example] = []
    for mode in run.leading_modes:
        shown += [*choose_examples(run, mode), *choose_failures(run, mode)[:PICTURED_FAILURES]]
    doubted = (run.results.review or ())[:LISTED_SUSPECTS]
    places: list[Place] = [(example.image, example.mode) for example in shown]
    return tuple(dict.fromkeys([*places, *((one.image, one.mode, one.object) for one in doubted)]))


def store_pictures(run: RunView, pictures: Pictures, progress: Progress = SILENT) -> Gallery:
    """Draw the chosen images and write them below `figures/`, in place of what was there before.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    folder = run.folder / FOLDER
    # Remembered before new ones are written: what is left over is removed at the very end.
    before = _files(read_gallery(run.folder, check=False))
    gallery: Gallery = {}
    wanted = choose_pictures(run)
    # Bytes are those of the files; in the page base64 makes four of three.
    unit = _PAGE_BYTES / max(1, sum(_weight(place) for place in wanted))
    with progress.stage("pictures", len(wanted)) as advance:
        for number, place in enumerate(wanted, start=1):
            image, mode, *only = place
            collage = pictures(image, mode, *only)
            if collage is not None:
                drawn = draw_panels(collage)
                # The tables' IoU is that of all the image's objects.
                panels = drawn if only else [_with_score(run, panel, image, mode) for panel in drawn]
                most = min(_PANEL_BYTES, int(unit * _weight(place) / len(panels)))
                stored = _store(folder / f"{_safe(mode)}-{number:02d}", panels, image, mode, most)
                stored = replace(stored, only=only[0] if only else None)
                gallery[stored.key] = stored
            advance(1)
    write_json(
        folder / INDEX, {"scores": _scores_hash(run.folder), "pictures": [asdict(one) for one in gallery.values()]}
    )
    # After the index no longer names them.
    for file in before - _files(gallery):
        (folder / file).unlink(missing_ok=True)
    return gallery


def read_gallery(folder: Path, *, check: bool = True) -> Gallery:
    """Read the pictures of an earlier report.

    Args:
        folder: the run folder.
        check: leave out pictures of other scores than `per_image.csv` holds now, and those whose files are gone.
    """
    path = folder / FOLDER / INDEX
    if not path.exists():
        return {}
    index = read_json(path)
    # Pictures of other scores would contradict the tables.
    if check and index["scores"] != _scores_hash(folder):
        return {}
    stored = [
        StoredPicture(**{**entry, "panels": tuple(StoredPanel(**panel) for panel in entry["panels"])})
        for entry in index["pictures"]
    ]
    whole = [one for one in stored if not check or all((path.parent / panel.file).exists() for panel in one.panels)]
    return {one.key: one for one in whole}


def encode_jpeg(pixels: Image, most: int) -> bytes:
    """Return `pixels` as JPEG of at most `most` bytes: of lower quality, then of half the size, where it must be."""
    from PIL import Image as PillowImage

    picture = PillowImage.fromarray(pixels)
    content = b""
    for quality in (88, 80, 70, 58, 45, 30):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality, optimize=True, progressive=True)
        content = file.getvalue()
        if len(content) <= most:
            return content
    # Every other pixel: rough, but this is the last resort.
    return content if min(pixels.shape[:2]) < _LEAST_SIDE else encode_jpeg(pixels[::2, ::2], most)


def _store(place: Path, panels: Sequence[Panel], image: str, mode: str, most: int) -> StoredPicture:
    """Write the files of one picture, whose names begin with `place`; a panel takes at most `most` bytes."""
    collage = f"{place.name}.jpg"
    write_bytes(place.with_name(collage), encode_jpeg(compose(panels), _COLLAGE_BYTES))
    stored = []
    for number, panel in enumerate(panels):
        file = f"{place.name}.{number}.jpg"
        write_bytes(place.with_name(file), encode_jpeg(panel.pixels, most))
        stored.append(StoredPanel(panel.kind, panel.title, panel.iou, file))
    height, width = panels[0].pixels.shape[:2]
    return StoredPicture(image, mode, collage, width, height, tuple(stored))


def _weight(place: Place) -> float:
    return 1 if len(place) == 2 else _SUSPECT_WEIGHT


def _with_score(run: RunView, panel: Panel, image: str, mode: str) -> Panel:
    """Give a panel the IoU of the tables: a picture may show only some of many objects."""
    if run.scores is None or image not in run.scores.images:
        return panel
    score = float(run.scores.of(panel.kind, mode)[run.scores.images.index(image)])
    # NaN: the image was not scored with this model and mode.
    return panel if np.isnan(score) else replace(panel, iou=score)


def _ranked(scores: Scores, images: npt.NDArray[np.int64], values: npt.NDArray[np.float32]) -> list[int]:
    """Return image indices by rising value; equal ones by name, so that two reports show the same."""
    pairs = zip(images.tolist(), values.tolist(), strict=True)
    return [image for image, _ in sorted(pairs, key=lambda pair: (pair[1], scores.images[pair[0]]))]


def _example(scores: Scores, pair: tuple[str | None, str | None], mode: str, image: int, title: str) -> Example:
    after, before = (float(scores.of(model, mode)[image]) for model in pair)
    return Example(title, mode, scores.images[image], None if np.isnan(before) else before, after)


def _files(gallery: Gallery) -> set[str]:
    return {file for one in gallery.values() for file in (one.collage, *(panel.file for panel in one.panels))}


def _scores_hash(folder: Path) -> str | None:
    path = folder / "per_image.csv"
    return hash_file(path) if path.exists() else None


def _safe(name: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", name.lower())
