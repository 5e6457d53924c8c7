"""The first look at a pretraining's folders: every image read once, told what is wrong, and remembered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segtune.core.errors import DataError
from segtune.core.files import write_json
from segtune.core.progress import Progress
from segtune.data.dataset import Dataset, SetAside
from segtune.data.duplicates import match
from segtune.data.fingerprints import Fingerprints, Look, look_at_images
from segtune.data.stratify import Unit, independent_units
from segtune.runs.data import seen_by
from segtune.runs.folder import RunFolder
from segtune.runs.pretrain_settings import MAE, PretrainSettings
from segtune.training.examples import generator
from segtune.training.processes import Processes

_TOLD = 3
"""Files that take no part and are told by name before the training begins."""

Folders = Mapping[str, Mapping[str, Dataset]]
"""Data sets by name in the settings: under "data" those with masks, under "mae" those of the start on images alone."""


@dataclass(frozen=True)
class _Seen:
    """What was seen of a folder's images.

    Attributes:
        unreadable: those that take no part.
        digests: of each of the others.
        filled: those of the others that have an object.
    """

    unreadable: list[SetAside] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    filled: set[str] = field(default_factory=set)


Looks = dict[tuple[str, str], _Seen]
"""What was seen, by the folder's place in `Folders`."""


def look_over(
    opened: Folders,
    settings: PretrainSettings,
    folder: RunFolder,
    processes: Processes,
    stop: Callable[[], bool],
    progress: Progress,
) -> None:
    """Read every image once; write what is remembered of them, then what is kept out and what takes no part.

    What is, or nearly is, an image that is kept out, in whichever folder it lies, takes no part either. Where the user
    stops it at an image nothing is written.

    Args:
        opened: the data sets.
        settings: the whole tree.
        folder: of the run.
        processes: those that wait for this one.
        stop: says whether the user asked to stop; once it has, it always does.
        progress: hears of every image, and what takes no part.

    Raises:
        DataError: a folder without an image that can be read, too small to keep some out of, all alike, or with too few
            objects to look at the model by some and train on others.
    """
    looks: Looks = {}
    prints = Fingerprints.gather(_readable(opened, looks, processes, stop, progress))
    if stop():
        return
    found: dict[str, dict[str, Any]] = {kind: {} for kind in opened}
    for (kind, name), seen in looks.items():
        images, bad = opened[kind][name], seen.unreadable
        _tell(name, images, bad, progress)
        usable = without(images, {one.name for one in bad})
        if not len(usable):
            raise DataError(f"None of the {len(images)} images of {images.root} can be read. {bad[0].reason}")
        most, seed = settings.validation.images, settings.training.seed
        kept = draw_held_out(usable, seen.filled, most, seed) if kind == "data" else []
        found[kind][name] = {
            "images": len(usable),
            "held_out": kept,
            "held_out_with_objects": [one for one in kept if one in seen.filled],
            "unreadable": {one.name: one.reason for one in bad},
            "set_aside": {one.name: one.reason for one in images.set_aside},
        }
    for (kind, name), alike in _alike(found, looks, prints, processes, progress).items():
        _tell_alike(name, alike, found[kind][name], progress)
        found[kind][name]["alike"] = alike
        if kind == "data":
            _require_objects(name, looks[kind, name].filled, found[kind][name])
    init = settings.model.init
    earlier = seen_by(init) if init is not None and init != MAE else None
    prints = prints if earlier is None else prints.with_earlier(earlier)
    # Scenes are drawn anew wherever they are wanted, so there may be nothing to keep out.
    if len(prints):
        prints.write(folder.fingerprints)
    else:
        folder.fingerprints.unlink(missing_ok=True)  # of a run that was cut off before it had begun
    # Last: a folder that has it was looked over to the end.
    write_json(folder.sources, found)


def _readable(
    opened: Folders, looks: Looks, processes: Processes, stop: Callable[[], bool], progress: Progress
) -> Iterator[Look]:
    """Look at all images, put what is seen into `looks`, and yield what is remembered of those that can be read.

    The same pixels, in however many folders they lie, are remembered once.
    """
    known: set[str] = set()
    for kind, folders in opened.items():
        for name, images in folders.items():
            seen = looks.setdefault((kind, name), _Seen())
            for one in processes.busy(look_at_images(images, progress)):
                if stop():
                    return
                if isinstance(one, SetAside):
                    seen.unreadable.append(one)
                    continue
                image, digest, picture = one.look
                seen.digests[image] = digest
                if one.has_object:
                    seen.filled.add(image)
                if digest not in known:
                    known.add(digest)
                    # Images of several folders may have the same name.
                    yield str(images.root / image), digest, picture


def _tell(name: str, images: Dataset, unreadable: Sequence[SetAside], progress: Progress) -> None:
    # An error in reading names its file itself.
    broken = [one.reason for one in unreadable]
    aside = [f"{one.name}: {one.reason}" for one in images.set_aside]
    for count, reasons in (
        (f"{len(broken)} of {len(images)} images, for they cannot be read", broken),
        (f"{len(aside)} of its files, when it was opened", aside),
    ):
        if reasons:
            some = "; ".join(reason.rstrip(".") for reason in reasons[:_TOLD])
            more = f"; and {len(reasons) - _TOLD} more" if len(reasons) > _TOLD else ""
            progress.say(f"Left out of {name}: {count} ({some}{more}). The run's sources.json names all of them.")


def _alike(
    found: Mapping[str, Mapping[str, Any]],
    looks: Looks,
    prints: Fingerprints,
    processes: Processes,
    progress: Progress,
) -> dict[tuple[str, str], list[str]]:
    """Return the images of each folder that are, or nearly are, such as are kept out of any, less those themselves."""
    held = {
        name: [looks["data", name].digests[image] for image in one["held_out"]] for name, one in found["data"].items()
    }
    print_of = dict(zip(prints.digests, prints.names, strict=True))
    digest_of = {name: digest for digest, name in print_of.items()}
    alike = {digest for kept in held.values() for digest in kept}
    for kept in processes.busy(held.values()):
        pairs = match(prints.subset(dict.fromkeys(print_of[digest] for digest in kept)), prints, progress)
        alike.update(digest_of[other] for _, other, _ in pairs)
    return {
        (kind, name): [image for image, digest in seen.digests.items() if digest in alike and image not in kept]
        for (kind, name), seen in looks.items()
        for kept in [set(found[kind][name]["held_out"])]
    }


def _tell_alike(name: str, alike: Sequence[str], told: Mapping[str, Any], progress: Progress) -> None:
    if alike and len(alike) + len(told["held_out"]) == told["images"]:
        raise DataError(
            f"All {told['images']} images of {name} are kept out of training or nearly duplicate one that is, so none "
            "is left to train on. Add images of other scenes, or leave this source out."
        )
    if alike:
        some = ", ".join(alike[:_TOLD])
        more = f" and {len(alike) - _TOLD} more" if len(alike) > _TOLD else ""
        progress.say(f"Left out of {name}: {len(alike)} images that nearly duplicate ones kept out ({some}{more}).")


def _require_objects(name: str, filled: set[str], told: Mapping[str, Any]) -> None:
    if not filled.difference(told["held_out"], told["alike"]):
        raise DataError(
            f"Of the {told['images']} images of {name} that can be read those with an object ({len(filled)}) are all "
            "kept out of training to look at the model, or nearly duplicate one that is, so none is left to train on. "
            "Add images with objects, of other scenes and groups, or leave this source out."
        )


def draw_held_out(images: Dataset, filled: set[str], most: int, seed: int) -> list[str]:
    """Draw the images that are kept out of training: a tenth of those with objects, at most `most`, in their order.

    An image without an object says nothing of the model. Images of one group (patient, scene, video) stay together,
    those without objects too, which do not count. Where each group has more than that, the smallest is kept out whole.

    Args:
        images: that can be read.
        filled: names of those with an object.
        most: how many.
        seed: of the draw.

    Raises:
        DataError: fewer than ten images, none with an object, or all of one group.
    """
    require_enough(images)
    if not filled:
        raise DataError(
            f"None of the {len(images)} images of {images.root} that can be read has an object, so there is nothing to "
            "learn from. Add images with objects, or leave this source out."
        )
    names, units = images.names, _units_of_groups(images)
    chosen = _draw_units(names, units, filled, min(most, max(1, len(filled) // 10)), seed)
    if not chosen:
        if len(units) == 1:
            raise DataError(
                f"All {len(images)} images of {images.root} are of one group, so none of them can be kept out of "
                "training to look at the model. Add images of other patients, scenes or videos, or mend its groups."
            )
        # By what it takes from training, then by its files.
        costs = [(len(filled.intersection(unit)), len(unit), unit) for unit in units if not filled.isdisjoint(unit)]
        chosen.update(min(costs)[2])
    return [name for name in names if name in chosen]


def _draw_units(names: Sequence[str], units: Sequence[Unit], filled: set[str], wanted: int, seed: int) -> set[str]:
    """Return the names of units drawn until they have so many images with objects, and never more."""
    unit_of = {name: unit for unit in units for name in unit}
    chosen, asked, shown = set[str](), set[str](), 0
    # By the seed and the images alone, so that a training that goes on from this one keeps out the same.
    for row in generator(seed, "held out", len(names)).permutation(len(names)).tolist():
        if names[row] in filled and names[row] not in asked:
            unit = unit_of.get(names[row], (names[row],))
            asked.update(unit)
            count = len(filled.intersection(unit))
            if shown + count <= wanted:
                chosen.update(unit)
                shown += count
    return chosen


def require_enough(images: Dataset) -> None:
    """Refuse a folder that is too small to keep images out of.

    Raises:
        DataError: fewer than ten images.
    """
    if len(images) < 10:
        raise DataError(
            f"{images.root} has {len(images)} images, of which a tenth is kept out of training to look at the model; "
            "that takes at least 10."
        )


def _units_of_groups(images: Dataset) -> list[Unit]:
    """Return the names that belong together; none where no image has a group, however many there are."""
    groups = images.groups
    return independent_units(images.names, groups, ()) if any(group is not None for group in groups) else []


def without(images: Dataset, names: Collection[str]) -> Dataset:
    """Return a data set less the images of these names."""
    return images.subset(name for name in images.names if name not in names) if names else images
